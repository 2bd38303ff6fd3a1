package security

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// A caller is who calls a method, as the interceptors have found out.
type caller struct {
	role Role
	job  string // of a Job
}

type callerKey struct{}

// MayRead says whether the caller may read a job's data: a task host only that of its own
// job. It is a gRPC status of PermissionDenied else. Where there is no TLS all may.
func MayRead(ctx context.Context, job string) error {
	c, ok := ctx.Value(callerKey{}).(caller)
	if ok && c.role == Job && c.job != job {
		return status.Errorf(codes.PermissionDenied, "a task of job %s asks for data of job %s", c.job, job)
	}
	return nil
}

// admit finds out who calls and whether it may.
func (id *Identity) admit(ctx context.Context, method string) (context.Context, error) {
	c, err := id.caller(ctx)
	if err != nil {
		return nil, err
	}
	if !May(c.role, method) {
		return nil, status.Errorf(codes.PermissionDenied, "a %s may not call %s", c.role, method)
	}
	return context.WithValue(ctx, callerKey{}, c), nil
}

func (id *Identity) caller(ctx context.Context) (caller, error) {
	p, _ := peer.FromContext(ctx)
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return caller{}, status.Error(codes.Unauthenticated, "this connection has no TLS")
	}
	if certs := info.State.PeerCertificates; len(certs) > 0 {
		return caller{role: roleOf(certs[0].URIs)}, nil // checked in the handshake
	}
	md, _ := metadata.FromIncomingContext(ctx)
	job, token := md.Get(jobHeader), md.Get(tokenHeader)
	if len(job) != 1 || len(token) != 1 {
		return caller{}, status.Error(codes.Unauthenticated, "neither a certificate nor a job's token is shown")
	}
	if !hmac.Equal([]byte(token[0]), []byte(bearer+id.Token(job[0]))) {
		return caller{}, status.Errorf(codes.Unauthenticated, "the token is not that of job %q", job[0])
	}
	return caller{Job, job[0]}, nil
}

func (id *Identity) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	ctx, err := id.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(ctx, req)
}

func (id *Identity) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, err := id.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(srv, admitted{ss, ctx})
}

// admitted is a stream whose context names its caller.
type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a admitted) Context() context.Context { return a.ctx }

const (
	jobHeader   = "divisi-job"
	tokenHeader = "authorization"
	bearer      = "Bearer "
)

// Token is what the tasks of a job show to workers: a keyed hash of its name, so that all
// workers of a cluster know it without being told. "" where there is no TLS.
func (id *Identity) Token(job string) string {
	if id == nil {
		return ""
	}
	h := hmac.New(sha256.New, id.current().jobKey)
	h.Write([]byte(job))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// Bundle is ca.pem, for the tasks of jobs; nil where there is no TLS.
func (id *Identity) Bundle() []byte {
	if id == nil {
		return nil
	}
	return id.current().bundle
}

// jobCaller shows a job's token at each call.
type jobCaller struct{ job, token string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (c jobCaller) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{jobHeader: c.job, tokenHeader: bearer + c.token}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: a token is for the
// other side alone.
func (c jobCaller) RequireTransportSecurity() bool { return true }
