package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
)

// fault is why a request failed for good. Its text is this package's own, with
// nothing of the request but what the server names it by.
type fault struct {
	is       error // one of storage's, or nil
	final    bool  // no repetition changes it
	code     string
	text     string
	request  string // the server's id for it
	attempts int
}

func (e *fault) Unwrap() error {
	if e.is == nil && e.final {
		return storage.ErrInvalid
	}
	return e.is
}

func (e *fault) Error() string {
	var b strings.Builder
	if e.is != nil {
		b.WriteString(e.is.Error() + ": ")
	}
	b.WriteString(e.text)
	if e.request != "" {
		b.WriteString(" [request " + e.request + "]")
	}
	if e.attempts > 1 {
		fmt.Fprintf(&b, " [after %d attempts]", e.attempts)
	}
	return b.String()
}

// call is one attempt of a request.
type call struct {
	ctx   context.Context
	n     int    // counts from 1
	moved func() // says that bytes move
}

var errStalled = errors.New("the server is silent")

// try carries out a request until it succeeds, fails for good, or its time is up.
// do may be called again after any failure, and has to be ready for its request
// having been carried out all the same.
func (f *FS) try(ctx context.Context, op, name string, do func(c call) error) error {
	return f.tryFor(ctx, f.set.idle, op, name, do)
}

func (f *FS) tryFor(ctx context.Context, idle time.Duration, op, name string, do func(c call) error) error {
	if err := ctx.Err(); err != nil {
		return f.failed(op, name, err)
	}
	if len(name) > keyMax || !utf8.ValidString(name) {
		return f.failed(op, name, &fault{is: storage.ErrNotExist, text: "S3 has no keys of more than 1,024 bytes or that are not UTF-8"})
	}
	began, pause := time.Now(), f.set.pause
	f.repeats.First()
	for n := 1; ; n++ {
		err := f.once(ctx, idle, n, do)
		storage.Advance(ctx)
		if err == nil {
			f.reached.Do(func() { close(f.alive) })
			return nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return f.failed(op, name, cerr)
		}
		if e, ok := errors.AsType[*storage.Error](err); ok {
			return e // a request within the request has judged already
		}
		if e, ok := errors.AsType[*fault](err); ok {
			e.attempts = n
			return f.failed(op, name, e)
		}
		e, again := f.judge(err, n)
		e.attempts = n
		// The pause is random so that those who failed together do not come back
		// together.
		pause = min(pause*2, f.set.pauseMax)
		delay := time.Duration(rand.Int64N(int64(pause) + 1))
		if !again {
			return f.failed(op, name, e)
		}
		if delay = max(delay, f.repeats.Take()); time.Since(began)+delay > f.budget() {
			f.repeats.Return()
			e.is = f.passing()
			return f.failed(op, name, e)
		}
		if err := wait(ctx, delay); err != nil {
			return f.failed(op, name, err)
		}
	}
}

// once makes one attempt, which ends when no byte has moved for too long.
func (f *FS) once(ctx context.Context, idle time.Duration, n int, do func(c call) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(idle, func() { cancel(errStalled) })
	defer watch.Stop()
	err := do(call{ctx: ctx, n: n, moved: func() { watch.Reset(idle); storage.Advance(ctx) }})
	if err != nil && errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w for %v", errStalled, idle)
	}
	return err
}

// passing is what a failure that may pass is called.
func (f *FS) passing() error {
	select {
	case <-f.alive:
		return storage.ErrTransient
	default:
		return storage.ErrUnreachable
	}
}

// budget is the time for all attempts. A server that has never answered is more
// likely a wrong address than a busy one.
func (f *FS) budget() time.Duration {
	select {
	case <-f.alive:
		return f.set.budget
	default:
		return min(f.set.first, f.set.budget)
	}
}

// judge says what an error means and whether it may pass.
func (f *FS) judge(err error, n int) (e *fault, again bool) {
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return f.judgeResponse(r, n)
	}
	// The address in a url.Error is long and says nothing that the path does not.
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e = &fault{text: f.creds.redact(err.Error())}
	if strings.HasPrefix(e.text, "Connection closed by foreign host") {
		e.text = "the server closed the connection"
	}
	var (
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		dns         *net.DNSError
	)
	switch {
	case errors.As(err, &certificate), errors.As(err, &authority):
		e.text += " (AWS_CA_BUNDLE names further authorities)"
		e.final = true
		return e, false
	case errors.As(err, &dns) && dns.IsNotFound:
		e.text += " (is AWS_ENDPOINT_URL_S3 or AWS_REGION right?)"
		return e, n < 3
	case strings.Contains(e.text, "server gave HTTP response to HTTPS client"):
		e.final = true
		return e, false
	}
	return e, true // resets, time-outs, truncated bodies, answers that are no XML
}

func (f *FS) judgeResponse(r minio.ErrorResponse, n int) (e *fault, again bool) {
	e = &fault{code: r.Code, text: f.creds.redact(strings.TrimSpace(r.Code + ": " + r.Error())), request: r.RequestID}
	switch r.Code {
	case "SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException",
		"RequestLimitExceeded", "RequestThrottled", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict":
		return e, true
	case "ExpiredToken", "ExpiredTokenException":
		e.is = storage.ErrPermission
		f.refresh() // a role's are renewed; what is written in a file may be, too
		return e, n < 3
	case "InvalidBucketName", "InvalidArgument", "InvalidRequest", "KeyTooLongError", "EntityTooLarge", "MethodNotAllowed",
		"NotImplemented", "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException":
		e.final = true
	case "NoSuchKey":
		e.is = storage.ErrNotExist
		return e, false
	case "NoSuchBucket":
		e.is, e.text = storage.ErrNotExist, "the bucket does not exist"
		return e, false
	}
	switch r.StatusCode {
	case http.StatusForbidden, http.StatusUnauthorized:
		e.is = storage.ErrPermission
		if why := f.creds.lacking(); why != "" {
			e.text += " (" + why + ")"
		}
		return e, false
	case http.StatusMovedPermanently, http.StatusBadRequest:
		if r.Region != "" {
			e.text += " (the bucket is in " + r.Region + ": set AWS_REGION)"
		}
		return e, false
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return e, true
	}
	return e, r.StatusCode >= 500 && r.StatusCode != http.StatusNotImplemented
}

// failed puts the operation and the object's name before an error.
func (f *FS) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &storage.Error{Op: op, Path: scheme + f.bucket + "/" + name, Err: err}
}

// code is the S3 error code of a failed request, or "".
func code(err error) string {
	if e, ok := errors.AsType[*fault](err); ok {
		return e.code
	}
	if r, ok := errors.AsType[minio.ErrorResponse](err); ok {
		return r.Code
	}
	return ""
}
