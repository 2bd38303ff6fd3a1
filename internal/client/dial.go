package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// DialTimeout is how long Dial waits for a coordinator to answer, unless its
// context ends earlier.
const DialTimeout = 5 * time.Second

// DialPatience is how long DialPatiently waits for a coordinator that is not there.
const DialPatience = 3 * time.Second

// standbyPatience is how long DialPatiently waits where there are several addresses: a
// standby takes over within less.
const standbyPatience = 10 * time.Second

// DialPatiently is Dial for those who come to submit: a coordinator that is being
// started again, or a standby that is about to take over, is waited for.
func DialPatiently(ctx context.Context, addr string, options ...Option) (*Client, error) {
	delay, within, patience := 50*time.Millisecond, DialTimeout, DialPatience
	if strings.Contains(addr, ",") {
		within, patience = pulseWithin, standbyPatience
	}
	for begin := time.Now(); ; {
		c, err := dialWithin(ctx, addr, within, options...)
		var away *Unreachable
		if !errors.As(err, &away) || time.Since(begin)+delay > patience {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(delay):
		}
		delay = min(2*delay, time.Second)
	}
}

// A connection over which nothing comes is asked whether it lives after so long, and
// given up after so much more.
const (
	pingAfter  = 10 * time.Second
	pingWithin = 10 * time.Second
)

const (
	lateAnswers     = 100 * time.Millisecond
	outcomePatience = 5 * time.Second
)

// A Client is a connection to one coordinator, or to the one of several that is at work.
// It is safe for many goroutines.
type Client struct {
	// Patience is how long after a job that failed or was cancelled WatchOutcome waits for
	// the end of its clearing up.
	Patience time.Duration

	addr     string
	addrs    []string
	identity *security.Identity
	// away is how long a coordinator may be gone while a job is followed.
	away time.Duration
	// late is how long others are waited for after the first has answered: of two
	// coordinators the one of the later epoch is meant.
	late time.Duration

	mu   sync.Mutex
	link *link
}

// A link is a connection to one address.
type link struct {
	addr  string
	conn  *grpc.ClientConn
	rpc   pb.ClientClient
	hello *pb.HelloReply
}

// Dial connects to the coordinator at addr, or to the one that is at work of several with
// commas between, and compares protocol versions. It fails with an *Unreachable, an
// *Untrusted or a *VersionSkew. The caller closes the client.
func Dial(ctx context.Context, addr string, options ...Option) (*Client, error) {
	if !strings.Contains(addr, ",") {
		return dialWithin(ctx, addr, DialTimeout, options...)
	}
	// One that accepts the connection and says nothing may be stopped, and another about
	// to take its place.
	for begin := time.Now(); ; {
		round := time.Now()
		c, err := dialWithin(ctx, addr, pulseWithin, options...)
		var away *Unreachable
		if !errors.As(err, &away) || time.Since(round) < pulseWithin || time.Since(begin) > DialTimeout {
			return c, err
		}
	}
}

func dialWithin(ctx context.Context, addr string, within time.Duration, options ...Option) (*Client, error) {
	c := &Client{addr: addr, away: time.Minute, late: lateAnswers, Patience: outcomePatience}
	for _, o := range options {
		o(c)
	}
	for a := range strings.SplitSeq(addr, ",") {
		if a = strings.TrimSpace(a); !slices.Contains(c.addrs, a) {
			c.addrs = append(c.addrs, a)
		}
	}
	var err error
	if c.link, err = c.choose(ctx, within); err != nil {
		return nil, err
	}
	return c, nil
}

// choose connects to all addresses, within so long, and keeps the coordinator of the
// latest epoch.
func (c *Client) choose(ctx context.Context, within time.Duration) (*link, error) {
	type answer struct {
		l   *link
		err error
	}
	dctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	answers := make(chan answer, len(c.addrs))
	for _, a := range c.addrs {
		go func() {
			l, err := c.connect(dctx, a)
			answers <- answer{l, err}
		}()
	}
	var best *link
	var errs []error
	late := time.NewTimer(within + time.Second)
	defer late.Stop()
	waiting := len(c.addrs)
	for ; waiting > 0; waiting-- {
		var a answer
		select {
		case a = <-answers:
		case <-late.C:
			cancel()
			a = <-answers
		}
		switch {
		case a.err != nil:
			errs = append(errs, a.err)
			continue
		case best == nil:
			best = a.l
			late.Reset(c.late)
			continue
		case a.l.hello.GetEpoch() > best.hello.GetEpoch():
			best, a.l = a.l, best
		}
		a.l.conn.Close()
	}
	if best != nil {
		return best, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	// The other end keeps the deadline too, and may be the first to see it pass: then the
	// caller's time was up, and nobody was too slow.
	ends, _ := dctx.Deadline()
	if callers, ok := ctx.Deadline(); ok && !callers.After(ends) && slices.ContainsFunc(errs, func(err error) bool { return errors.Is(err, errNoAnswer) }) {
		return nil, context.DeadlineExceeded
	}
	return nil, c.unreachable(errs)
}

// unreachable is why none of the addresses can be used: a coordinator that is there and
// cannot be spoken to counts before those that are not there.
func (c *Client) unreachable(errs []error) error {
	var away *Unreachable
	for _, err := range errs {
		if !errors.As(err, &away) {
			return err
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	var why []string
	for _, err := range errs {
		errors.As(err, &away)
		why = append(why, fmt.Sprintf("%s: %v", away.Addr, away.Err))
	}
	return &Unreachable{Addr: c.addr, Err: errors.New(strings.Join(why, "; "))}
}

// An Option says more of a connection.
type Option func(*Client)

// As is who the caller is, which a cluster with TLS asks for. Nil: nobody.
func As(id *security.Identity) Option { return func(c *Client) { c.identity = id } }

// connect says hello at an address.
func (c *Client) connect(ctx context.Context, addr string) (*link, error) {
	trust := c.identity.Dial(security.Coordinator)
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(trust),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWithin}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: DialTimeout,
		}),
		grpc.WithStaticStreamWindowSize(4<<20), grpc.WithStaticConnWindowSize(16<<20), // as the coordinator's
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, &Unreachable{Addr: addr, Err: err}
	}
	l := &link{addr: addr, conn: conn, rpc: pb.NewClientClient(conn)}
	l.hello, err = l.rpc.Hello(ctx, &pb.HelloRequest{Protocol: version.Protocol, Version: version.String()})
	if err == nil && l.hello.Protocol != version.Protocol {
		err = &VersionSkew{Addr: addr, Have: version.Protocol, Want: l.hello.Protocol, Version: l.hello.Version}
	} else if err = translate(addr, "hello", err); err != nil {
		err = distrusted(err, trust.Err(), c.identity != nil)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

// rpc is the connection as it is now.
func (c *Client) rpc() pb.ClientClient { return c.current().rpc }

func (c *Client) current() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link
}

// Cluster is what the coordinator said of itself when the connection was made:
// its name, the address of its pages ("" for none), platforms and slots.
func (c *Client) Cluster() *pb.HelloReply { return c.current().hello }

// Close ends the connection.
func (c *Client) Close() error { return c.current().conn.Close() }

// follow goes from a link to where a coordinator is at work now; false: nowhere yet. With
// one address there is nowhere to go: its connection is opened again by itself.
func (c *Client) follow(ctx context.Context, from *link) bool {
	if len(c.addrs) < 2 {
		return true
	}
	l, err := c.choose(ctx, pulseWithin)
	if err != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != from { // another call has gone already
		l.conn.Close()
		return true
	}
	c.link = l
	from.conn.Close()
	return true
}
