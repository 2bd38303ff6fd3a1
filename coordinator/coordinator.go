// Package coordinator is the shell around the machines below it: gRPC, HTTP, timers and
// the journal. It opens no storage and runs no user code; it carries out what
// coordinator/job and coordinator/sched ask for, and acknowledges nothing before the
// journal has it.
//
// One goroutine (see loop.go) owns all state. Everything else posts to it.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// Limits on what peers may send.
const (
	messageBytesMax  = 16 << 20
	headerBytesMax   = 16 << 10
	streamsMax       = 256
	artifactBytesMax = 512 << 20
	splitsMax        = 1_000_000
)

// Config of a coordinator.
type Config struct {
	Listen string // of gRPC, loopback only without an Identity; "127.0.0.1:0" is allowed
	HTTP   string // of pages, JSON and metrics, loopback only; "": none
	// Identity is what the coordinator proves to others who it is; nil: no TLS.
	Identity *security.Identity
	State    string // folder of the journal and the artifacts
	// TakeOver takes the journal from another coordinator that has it and may be stopped;
	// that one is fenced off and ends, with journal.ErrFenced, when it goes on.
	TakeOver bool
	// Standby waits, if another coordinator has the journal, until it has gone or was silent
	// for so long, and takes its place. 0: Start fails with journal.ErrLocked.
	Standby time.Duration
	Log     *slog.Logger // nil: discarded
	// Lease is the silence after which a worker is lost, 0: 5 s. After a restart workers
	// have as long to come back.
	Lease time.Duration
	// Heartbeat is how often workers are to be heard of, 0: 1 s.
	Heartbeat time.Duration
	// Reattach is how long a worker whose stream broke may take to come back, 0: 500 ms.
	Reattach time.Duration
	// CleanWait is how long the end of a job waits for any worker to clean up on, 0: 30 s.
	CleanWait time.Duration
	// Rehome is how long a drained worker is kept without any of its outputs being copied
	// to another, 0: 1 min.
	Rehome time.Duration
	// Hung is how long an attempt may get nowhere before it counts as failed, 0: 5 min.
	Hung time.Duration
	// CopyAll starts a copy of each task as soon as it runs, where a slot is idle, so that
	// tests see what two attempts at the same task do to each other.
	CopyAll bool
	// TaskBytes is how much of a shuffle a task is to read, 0: 64 MiB. Less lets tests see
	// with little data what is done with much.
	TaskBytes int64
	// Queues that are known, see ReadQueues. None: any queue may be named, all weigh alike.
	Queues []Queue
	// Pages serves on the HTTP port what is not health, metrics or JSON; nil: the
	// coordinator's own pages.
	Pages func(Reader) http.Handler
	// SnapshotBytes is how much the journal grows before it is replaced by a snapshot of
	// what matters, 0: 64 MiB; see journal.Options.
	SnapshotBytes int64
	// Lull is how long results wait to be written together, 0: 10 ms; see journal.Options.
	Lull time.Duration
	// Hook is the journal's, for tests.
	Hook func(step string) error
}

// A Coordinator is running.
type Coordinator struct {
	cfg       Config
	log       *slog.Logger
	journal   *journal.Journal
	artifacts *artifacts
	secrets   *secrets // nil in a Core
	box       *mailbox
	state     *state // the loop's own
	grpc      *grpc.Server
	listener  net.Listener
	web       *http.Server
	webAddr   string

	cancel context.CancelFunc
	parts  sync.WaitGroup
	ended  chan struct{}
	mu     sync.Mutex
	err    error
}

// Start replays the journal and listens; both are done when it returns. It runs until
// ctx is cancelled, Close is called, or the journal fails. Another coordinator on the same
// state folder is an error, journal.ErrLocked, that names it.
func Start(ctx context.Context, cfg Config) (_ *Coordinator, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.setTimes()
	if cfg.Identity == nil {
		if err := security.LoopbackOnly(cfg.Listen); err != nil {
			return nil, err
		}
	}
	if err := security.PagesOnLoopback(cfg.HTTP); err != nil {
		return nil, err
	}
	c := &Coordinator{cfg: cfg, log: cfg.Log, box: newMailbox(), ended: make(chan struct{})}
	c.state = newState(c)
	// The journal first: nothing in the folder is this process's before it has it.
	if c.journal, err = c.state.recover(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.journal.Close()
		}
	}()
	if c.artifacts, err = openArtifacts(filepath.Join(cfg.State, "artifacts")); err != nil {
		return nil, err
	}
	if c.secrets, err = openSecrets(filepath.Join(cfg.State, "secrets")); err != nil {
		return nil, err
	}
	var page http.Handler
	if cfg.Pages != nil {
		page = cfg.Pages(c.Reader())
	} else if page, err = pages(c.Reader()); err != nil {
		return nil, err
	}
	var envs []map[string]string
	for _, js := range c.state.jobs {
		envs = append(envs, js.req.GetJob().GetEnv())
	}
	if err = c.secrets.sweep(envs); err != nil {
		return nil, err
	}
	if c.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, err
	}
	c.journal.SetAddress(c.listener.Addr().String())
	var webListener net.Listener
	if cfg.HTTP != "" {
		if webListener, err = net.Listen("tcp", cfg.HTTP); err != nil {
			c.listener.Close()
			return nil, err
		}
		c.webAddr = webListener.Addr().String()
		c.web = &http.Server{Handler: c.handler(page), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: headerBytesMax}
	}
	c.grpc = grpc.NewServer(append(cfg.Identity.Serve(security.Client, security.Worker),
		grpc.WaitForHandlers(true),
		grpc.MaxRecvMsgSize(messageBytesMax), grpc.MaxHeaderListSize(headerBytesMax), grpc.MaxConcurrentStreams(streamsMax),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: cfg.Lease}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		// Windows that are not measured: else each small message is answered by a ping.
		grpc.StaticStreamWindowSize(4<<20), grpc.StaticConnWindowSize(16<<20),
	)...)
	divisipb.RegisterClientServer(c.grpc, &clientService{c: c})
	divisipb.RegisterControlServer(c.grpc, &controlService{c: c})

	ctx, c.cancel = context.WithCancel(ctx)
	c.state.resume()
	c.parts.Go(func() { c.loop(ctx) })
	c.parts.Go(func() { cfg.Identity.Watch(ctx) })
	c.parts.Go(func() {
		if err := c.grpc.Serve(c.listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			c.fail(fmt.Errorf("grpc: %w", err))
		}
	})
	if c.web != nil {
		c.parts.Go(func() {
			if err := c.web.Serve(webListener); err != nil && !errors.Is(err, http.ErrServerClosed) {
				c.fail(fmt.Errorf("http: %w", err))
			}
		})
	}
	go c.end(ctx)
	return c, nil
}

// end waits for the reason to stop and stops everything, once.
func (c *Coordinator) end(ctx context.Context) {
	<-ctx.Done()
	c.box.close()
	c.grpc.Stop()
	if c.web != nil {
		c.web.Close()
	}
	c.parts.Wait()
	if err := c.journal.Close(); err != nil {
		c.fail(err)
	}
	close(c.ended)
}

// setTimes gives the times that are not set their defaults.
func (cfg *Config) setTimes() {
	for d, or := range map[*time.Duration]time.Duration{
		&cfg.Lease: 5 * time.Second, &cfg.Heartbeat: time.Second, &cfg.Reattach: 500 * time.Millisecond, &cfg.CleanWait: 30 * time.Second,
		&cfg.Hung: 5 * time.Minute, &cfg.Rehome: time.Minute,
	} {
		if *d == 0 {
			*d = or
		}
	}
}

// fail stops the coordinator for a reason. The first counts.
func (c *Coordinator) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.cancel()
}

// Addr is where gRPC is served, HTTPAddr where pages are ("" for none).
func (c *Coordinator) Addr() string     { return c.listener.Addr().String() }
func (c *Coordinator) HTTPAddr() string { return c.webAddr }

// Wait returns when the coordinator has ended, with the reason if it is an error.
func (c *Coordinator) Wait() error {
	<-c.ended
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the coordinator and waits for it. What was acknowledged is in the journal;
// jobs go on when another is started on the same folder.
func (c *Coordinator) Close() error {
	c.cancel()
	return c.Wait()
}
