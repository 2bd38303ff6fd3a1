// Package faultproxy puts a bad network between two programs on this machine: a TCP
// proxy on loopback that delays, slows, swallows, cuts and damages what passes, by
// rules that change while it runs.
//
// The choices come from a seed. They are the same for the same pieces of data, which
// the kernel cuts as it likes: the seed makes runs alike, not equal.
package faultproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Config of a proxy.
type Config struct {
	Listen string // a loopback address; "": a free port
	Target string // host:port; it may be set later
	Seed   uint64
	Rules  Rules
}

// A Proxy is a running one. Its methods may be called from many goroutines.
type Proxy struct {
	listener net.Listener
	seed     uint64
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu      sync.Mutex
	target  string
	rules   Rules
	changed chan struct{} // closed and made anew when the rules change
	conns   map[*conn]bool
	made    uint64 // connections so far

	up, down, resets, flips atomic.Int64
}

// Stats are what has passed so far.
type Stats struct {
	Conns  uint64 // connections
	Up     int64  // bytes passed on to the target
	Down   int64  // bytes passed on to clients
	Resets int64  // connections cut
	Flips  int64  // bits turned over
}

// Start listens; the proxy runs until ctx ends or Close is called.
func Start(ctx context.Context, cfg Config) (*Proxy, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if err := cfg.Rules.check(); err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("fault proxy: listen address %q: %w", cfg.Listen, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("fault proxy: refusing to listen on %s: it is for tests on one machine, on a loopback address", cfg.Listen)
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("fault proxy: %w", err)
	}
	p := &Proxy{listener: l, seed: cfg.Seed, target: cfg.Target, rules: cfg.Rules, changed: make(chan struct{}), conns: map[*conn]bool{}}
	ctx, p.cancel = context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	p.wg.Go(func() {
		defer stop()
		defer l.Close()
		p.accept(ctx)
	})
	return p, nil
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Rules are those in force.
func (p *Proxy) Rules() Rules {
	r, _ := p.now()
	return r
}

// Set changes the rules, for connections that exist too.
func (p *Proxy) Set(r Rules) error {
	if err := r.check(); err != nil {
		return fmt.Errorf("fault proxy: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = r
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// SetTarget changes where new connections go.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Cut resets all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.reset()
	}
}

// Stats are what has passed so far.
func (p *Proxy) Stats() Stats {
	p.mu.Lock()
	made := p.made
	p.mu.Unlock()
	return Stats{made, p.up.Load(), p.down.Load(), p.resets.Load(), p.flips.Load()}
}

// Close ends the proxy with all connections, and waits for it.
func (p *Proxy) Close() error {
	p.cancel()
	p.wg.Wait()
	return nil
}

// now are the rules, and what is closed when they change.
func (p *Proxy) now() (Rules, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rules, p.changed
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
				continue // the client has gone already
			}
			return
		}
		p.mu.Lock()
		p.made++
		n := p.made
		p.mu.Unlock()
		p.wg.Go(func() { p.serve(ctx, c.(*net.TCPConn), n) })
	}
}

// serve is one connection's life.
func (p *Proxy) serve(ctx context.Context, client *net.TCPConn, n uint64) {
	p.mu.Lock()
	target, refuse := p.target, p.rules.Refuse
	p.mu.Unlock()
	if refuse || target == "" {
		cut(client)
		return
	}
	var d net.Dialer
	t, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		cut(client)
		return
	}
	c := &conn{p: p, client: client, target: t.(*net.TCPConn)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	p.mu.Lock()
	p.conns[c] = true
	p.mu.Unlock()
	c.run(n)
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

// cut closes a connection so that the other side sees a reset.
func cut(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}
