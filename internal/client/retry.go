package client

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Where there are several coordinators one that is stopped keeps its connections. While a
// call is under way it is asked so often whether it is there, and given up for another
// when it does not answer within so long.
const (
	pulseEvery  = 500 * time.Millisecond
	pulseWithin = 1500 * time.Millisecond
)

var errSilent = status.Error(codes.Unavailable, "the coordinator does not answer any more")

// silent says that a call was ended because its coordinator does not answer any more.
func silent(ctx context.Context) bool { return context.Cause(ctx) == errSilent }

// guarded calls f on a link. Where there are several coordinators, the call ends when its
// one does not answer any more, or when another call has found that out and left the link;
// gone says so.
func guarded[T any](ctx context.Context, c *Client, l *link, f func(context.Context, pb.ClientClient) (T, error)) (r T, gone bool, err error) {
	if len(c.addrs) < 2 {
		r, err = f(ctx, l.rpc)
		return r, false, err
	}
	gctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		pulse(gctx, l, cancel)
	}()
	r, err = f(gctx, l.rpc)
	gone = silent(gctx) || ctx.Err() == nil && status.Code(err) == codes.Canceled && c.current() != l
	if gone && err != nil {
		err = errSilent
	}
	cancel(nil)
	<-over
	return r, gone, err
}

// pulse asks a coordinator again and again whether it is there, and cancels when it is not.
func pulse(ctx context.Context, l *link, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		hctx, stop := context.WithTimeout(ctx, pulseWithin)
		_, err := l.rpc.Hello(hctx, &pb.HelloRequest{Protocol: version.Protocol, Version: version.String()})
		stop()
		if err != nil && ctx.Err() == nil {
			cancel(errSilent)
			return
		}
	}
}

// retry calls f again while the coordinator is away, up to c.away. Calls must be
// safe to repeat.
func retry[T any](ctx context.Context, c *Client, f func(context.Context, pb.ClientClient) (T, error)) (T, error) {
	delay := 50 * time.Millisecond
	begin := time.Now()
	for {
		l := c.current()
		r, gone, err := guarded(ctx, c, l, f)
		if status.Code(err) != codes.Unavailable {
			if gone {
				c.follow(ctx, l)
			}
			return r, err
		}
		for elsewhere := false; !elsewhere; delay = min(2*delay, time.Second) {
			if time.Since(begin) > c.away {
				return r, err
			}
			select {
			case <-ctx.Done():
				return r, err
			case <-time.After(delay):
			}
			elsewhere = c.follow(ctx, l)
		}
	}
}
