package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/divisi-data/divisi/dataflow"
)

// Errors that callers test for with errors.Is.
var (
	// ErrOffsetOutOfRange: the log does not hold what was wanted. The error is an
	// *OffsetRangeError.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrTopicChanged: the topic was deleted, or made anew, since the job was
	// planned.
	ErrTopicChanged = errors.New("the topic is another one than when the job was planned")
	// ErrTransactionExpired: the broker gave a transaction up before the job's
	// publish step could commit it.
	ErrTransactionExpired = errors.New("the broker gave the transaction up")
	// ErrUnreachable: in all of the time that default.api.timeout.ms allows no broker
	// answered as it should.
	ErrUnreachable = errors.New("the brokers do not answer")
)

func init() {
	dataflow.RegisterError("offset-out-of-range", ErrOffsetOutOfRange)
	dataflow.RegisterError("topic-changed", ErrTopicChanged)
	dataflow.RegisterError("transaction-expired", ErrTransactionExpired)
	dataflow.RegisterError("brokers-unreachable", ErrUnreachable)
}

// An OffsetRangeError says which offsets of a partition were wanted and which the
// log has; ends are exclusive.
type OffsetRangeError struct {
	Topic              string
	Partition          int32
	WantStart, WantEnd int64
	HaveStart, HaveEnd int64
}

func (e *OffsetRangeError) Error() string {
	return fmt.Sprintf("%v: topic %s, partition %d: wanted offsets %d to %d, the log has %d to %d",
		ErrOffsetOutOfRange, e.Topic, e.Partition, e.WantStart, e.WantEnd, e.HaveStart, e.HaveEnd)
}

// Is makes the error one of ErrOffsetOutOfRange.
func (e *OffsetRangeError) Is(target error) bool { return target == ErrOffsetOutOfRange }

// wrap says where an error happened and what kind it is. An error that says so
// already stays as it is.
func wrap(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var e *dataflow.Error
	if errors.As(err, &e) {
		return err
	}
	return &dataflow.Error{Op: op, Path: path, Kind: kindOf(err), Err: meant(err), Try: try(err)}
}

// planning is wrap for what is asked before the job has begun: brokers that have not
// answered for so long are more likely a wrong address than busy, and nothing is lost
// by saying so at once.
func planning(op, path string, err error) error {
	if errors.Is(err, ErrUnreachable) {
		return &dataflow.Error{Op: op, Path: path, Kind: dataflow.User, Err: err, Try: try(err)}
	}
	return wrap(op, path, err)
}

// meant makes the brokers' answers that have a name in package fs one of these, too.
func meant(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return dataflow.Mark(err, fs.ErrNotExist)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed),
		errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed),
		errors.Is(err, kerr.SaslAuthenticationFailed), untrusted(err):
		return dataflow.Mark(err, fs.ErrPermission)
	case errors.Is(err, kgo.ErrMaxDecompress), errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return dataflow.Mark(err, dataflow.ErrRecordTooLarge)
	}
	return err
}

// userError is the user's to mend: an address, an argument or a setting.
func userError(op, path string, err error) error {
	return &dataflow.Error{Op: op, Path: path, Kind: dataflow.User, Err: dataflow.Mark(err, fs.ErrInvalid)}
}

// finals are answers of a broker that no repetition changes.
var finals = []error{
	kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed,
	kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed,
	kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState, kerr.MessageTooLarge, kerr.RecordListTooLarge,
	kerr.InvalidTransactionTimeout, kerr.UnsupportedCompressionType, kerr.PolicyViolation, kerr.InvalidRecord,
	kerr.InvalidTimestamp, kerr.UnsupportedVersion, kerr.SecurityDisabled,
}

func kindOf(err error) dataflow.Kind {
	switch {
	case errors.Is(err, context.Canceled):
		return dataflow.Canceled
	case errors.Is(err, ErrOffsetOutOfRange), errors.Is(err, ErrTopicChanged), errors.Is(err, ErrTransactionExpired),
		errors.Is(err, dataflow.ErrRecordTooLarge), errors.Is(err, dataflow.ErrMalformed), errors.Is(err, kgo.ErrMaxDecompress):
		return dataflow.User
	case errors.Is(err, kerr.CorruptMessage):
		return dataflow.Corrupt
	}
	for _, f := range finals {
		if errors.Is(err, f) {
			return dataflow.User
		}
	}
	if untrusted(err) {
		return dataflow.User
	}
	if k := dataflow.KindOf(err); k != dataflow.Unknown {
		return k
	}
	return dataflow.Transient
}

// untrusted reports whether the two sides do not agree about certificates.
func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &invalid) || errors.As(err, &verify) || errors.As(err, &record)
}

func try(err error) string {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return "check the topic's name, or create the topic: it is not created for you"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return "check user and password in the file that ?config= names"
	case untrusted(err):
		return "check security.protocol and ssl.truststore.location in the file that ?config= names"
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return "raise the topic's max.message.bytes, and max.request.size in the file that ?config= names"
	case errors.Is(err, ErrOffsetOutOfRange):
		return "choose offsets that the log has, or let the policy count what is lost"
	case errors.Is(err, ErrTransactionExpired):
		return "raise transaction.max.timeout.ms of the brokers so that it covers the job, and run the job again"
	case errors.Is(err, ErrUnreachable):
		return "check the servers' names and ports, security.protocol in the file that ?config= names, and that the brokers are up"
	case errors.Is(err, errStalled):
		return "check that the brokers are up and enough replicas in sync"
	}
	return ""
}

// retriable reports whether asking again may help: the answers that brokers give
// while leaders and coordinators move, and broken connections.
func retriable(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, kgo.ErrClientClosed) {
		return false
	}
	return kindOf(err) == dataflow.Transient && !errors.Is(err, errStalled) && !errors.Is(err, ErrUnreachable)
}
