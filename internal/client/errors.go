package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors that callers test for with errors.Is.
var (
	ErrNotFound   = errors.New("not found")
	ErrNotAllowed = errors.New("not allowed")
)

// errNoAnswer is why a coordinator is unreachable that was silent for as long as was waited.
var errNoAnswer = errors.New("no answer in time")

// An Unreachable says that no coordinator answers at an address.
type Unreachable struct {
	Addr string
	Err  error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("cluster %s cannot be reached: %v (is the coordinator running there? "+
		"\"divisi up\" starts a local cluster; --cluster or DIVISI_CLUSTER name another)", e.Addr, e.Err)
}

func (e *Unreachable) Unwrap() error { return e.Err }

// An Untrusted says that a coordinator answers, and that one of both sides does not trust
// the other.
type Untrusted struct {
	Addr string
	Err  error
}

func (e *Untrusted) Error() string { return fmt.Sprintf("cluster %s: %v", e.Addr, e.Err) }
func (e *Untrusted) Unwrap() error { return e.Err }

// distrusted makes an Untrusted of an Unreachable whose handshake failed, with the reason
// this side has seen; one that closes the connection may only be about to end.
func distrusted(err, handshake error, secure bool) error {
	var away *Unreachable
	if !errors.As(err, &away) {
		return err
	}
	var header tls.RecordHeaderError
	switch text := away.Err.Error(); {
	case errors.As(handshake, &header):
		return &Untrusted{away.Addr, errors.New("the coordinator there has no TLS: leave --security and DIVISI_SECURITY out, or start it with --security")}
	case handshake != nil && !cutOff(handshake):
		return &Untrusted{away.Addr, handshake}
	case secure && strings.Contains(text, "remote error: tls:"): // its alert, which comes after this side's handshake
		return &Untrusted{away.Addr, fmt.Errorf("the coordinator there does not accept this side's certificate; its log says why: %w", away.Err)}
	case !secure && strings.Contains(text, "server preface"): // or it died just then
		return &Unreachable{away.Addr, fmt.Errorf("%w: if the coordinator there has TLS, name the folder of your certificate by --security DIR or DIVISI_SECURITY", away.Err)}
	}
	return err
}

// cutOff reports whether a handshake did not come to its end, which says nothing of trust.
func cutOff(handshake error) bool {
	var network net.Error // also of a context that has ended
	return errors.As(handshake, &network) || slices.ContainsFunc([]error{io.EOF, io.ErrUnexpectedEOF, context.Canceled},
		func(why error) bool { return errors.Is(handshake, why) })
}

// A VersionSkew says that client and coordinator speak different protocols.
type VersionSkew struct {
	Addr       string
	Have, Want int32  // protocol versions: the client's, the coordinator's
	Version    string // the coordinator's release
}

func (e *VersionSkew) Error() string {
	return fmt.Sprintf("cluster %s speaks protocol %d (release %s), this program speaks %d: "+
		"build it against the cluster's release, or upgrade the cluster", e.Addr, e.Want, e.Version, e.Have)
}

// translate turns an RPC's error into one of this package's, with the words of the
// coordinator and without the words of gRPC.
func (c *Client) translate(op string, err error) error { return translate(c.current().addr, op, err) }

func translate(addr, op string, err error) error {
	if err == nil {
		return nil
	}
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", op, err)
	}
	text := errors.New(st.Message())
	switch st.Code() {
	case codes.Unavailable:
		return &Unreachable{Addr: addr, Err: text}
	case codes.Unimplemented:
		return &Unreachable{Addr: addr, Err: fmt.Errorf("no divisi coordinator of this release answers there: %w", text)}
	case codes.DeadlineExceeded:
		if op == "hello" {
			return &Unreachable{Addr: addr, Err: errNoAnswer}
		}
		return fmt.Errorf("%s: %w", op, context.DeadlineExceeded)
	case codes.Canceled:
		return fmt.Errorf("%s: %w", op, context.Canceled)
	case codes.NotFound:
		return fmt.Errorf("%s: %w: %w", op, ErrNotFound, text)
	case codes.PermissionDenied, codes.Unauthenticated:
		return fmt.Errorf("%s: %w: %w", op, ErrNotAllowed, text)
	}
	return fmt.Errorf("%s: %w", op, text)
}
