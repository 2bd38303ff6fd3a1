package security

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// Credentials are a connection's to a server of a role. They keep why a handshake failed,
// which gRPC makes words of.
type Credentials struct {
	credentials.TransportCredentials
	failure *failure
}

type failure struct {
	mu  sync.Mutex
	err error
}

// Dial are the credentials to call a server of a role; of a nil identity, those without
// TLS.
func (id *Identity) Dial(server Role) Credentials {
	if id == nil {
		return Credentials{insecure.NewCredentials(), &failure{}}
	}
	return Credentials{credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		// A host name says nothing here: VerifyConnection wants authority and role.
		InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return id.certificate()
		},
		VerifyConnection: func(cs tls.ConnectionState) error { return id.verify(cs, server) },
	}), &failure{}}
}

// Err is why the last handshake failed; nil: it has not.
func (c Credentials) Err() error {
	c.failure.mu.Lock()
	defer c.failure.mu.Unlock()
	return c.failure.err
}

// ClientHandshake implements credentials.TransportCredentials.
func (c Credentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ClientHandshake(ctx, authority, raw)
	c.failure.mu.Lock()
	defer c.failure.mu.Unlock()
	c.failure.err = err
	return conn, info, err
}

// Clone implements credentials.TransportCredentials.
func (c Credentials) Clone() credentials.TransportCredentials {
	return Credentials{c.TransportCredentials.Clone(), c.failure}
}

func (id *Identity) certificate() (*tls.Certificate, error) {
	m := id.current()
	if err := id.expired(m); err != nil {
		return nil, err
	}
	return &m.cert, nil
}

// Serve are the options of a server of this identity that those roles call. Among them Job:
// a caller may come without a certificate and show a job's token. A nil identity serves
// everybody without TLS.
func (id *Identity) Serve(callers ...Role) []grpc.ServerOption {
	if id == nil {
		return nil
	}
	auth := tls.RequireAnyClientCert
	for _, r := range callers {
		if r == Job {
			auth = tls.RequestClientCert
		}
	}
	c := credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: auth,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return id.certificate()
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 && auth == tls.RequestClientCert {
				return nil // it has to show a token at each call
			}
			return id.verify(cs, callers...)
		},
	})
	return []grpc.ServerOption{
		grpc.Creds(&serving{TransportCredentials: c, log: id.log}),
		grpc.ChainUnaryInterceptor(id.unary), grpc.ChainStreamInterceptor(id.stream),
	}
}

// serving are a server's credentials, which tell the log who could not come in.
type serving struct {
	credentials.TransportCredentials
	log *slog.Logger

	mu   sync.Mutex
	told time.Time
}

// ServerHandshake implements credentials.TransportCredentials.
func (s *serving) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := s.TransportCredentials.ServerHandshake(raw)
	if err != nil && s.mayTell() {
		s.log.Warn("a connection is refused", "from", raw.RemoteAddr().String(), "err", err)
	}
	return conn, info, err
}

// mayTell is true once a second: anybody can fill a log otherwise.
func (s *serving) mayTell() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.told) >= time.Second {
		s.told = now
		return true
	}
	return false
}

// Clone implements credentials.TransportCredentials.
func (s *serving) Clone() credentials.TransportCredentials {
	return &serving{TransportCredentials: s.TransportCredentials.Clone(), log: s.log}
}

// DialAsJob are the options of connections to workers of a job's task host, which has no
// certificate: the authorities that it trusts, in PEM, and its job's token. Without an
// authority there is no TLS.
func DialAsJob(bundle []byte, job, token string) ([]grpc.DialOption, error) {
	if len(bundle) == 0 {
		return []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, nil
	}
	trust, err := pool("the worker's "+caFile, bundle)
	if err != nil {
		return nil, err
	}
	return dialAsJob(trust, job, token), nil
}

func dialAsJob(trust *x509.CertPool, job, token string) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithPerRPCCredentials(jobCaller{job, token}),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			MinVersion:         tls.VersionTLS13,
			InsecureSkipVerify: true, // as in Dial
			VerifyConnection:   func(cs tls.ConnectionState) error { return verify(cs, trust, time.Now(), Worker) },
		})),
	}
}
