package worker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/divisi-data/divisi/internal/security"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// Config of a worker. Coordinator and Dir are needed; the rest has good defaults.
type Config struct {
	Coordinator string // host:port, or several with commas between: of standbys
	Listen      string // of the exchange; "": a free port on loopback; others only with an Identity
	// Identity is what the worker proves to others who it is; nil: no TLS.
	Identity  *security.Identity
	Advertise string // where others reach the exchange, if not at Listen
	ID        string // "": kept in Dir, random at first
	Dir       string // blocks, artifacts, logs; used by one worker at a time
	SpillDirs []string
	Slots     int    // "0": the number of cores
	Memory    int64  // of each task host, bytes; 0: three quarters of what there is
	Host      string // the name that locality compares with; "": the machine's
	Rack      string
	// Machine: workers with the same one read each other's files. "": found out; any
	// other name keeps workers of one machine from doing so.
	Machine string
	// Programs is a folder of programs and files of jobs, each under its SHA-256 as the
	// coordinator keeps them. What is there need not be fetched. "": none.
	Programs string
	Log      *slog.Logger
	// LowWater is the room that must stay free in every folder, in bytes; below it no
	// task is taken. 0: 64 MiB.
	LowWater int64
	// SweepEvery is how often leftovers of jobs are looked for, 0: 10 min.
	SweepEvery time.Duration
	// CancelGrace is how long a cancelled task may take to end before its host is killed,
	// 0: 10 s.
	CancelGrace time.Duration
	// DiskFree measures the room in a folder, in bytes; nil: the system's answer.
	DiskFree func(dir string) int64
	// KeepReady is how long a program that was started once more when its short job had ended
	// waits for another job of the same program and environment; 0: that is not done.
	KeepReady time.Duration
	// shortJob is what a job may take for that; 0: a second.
	shortJob time.Duration
	// silence after which a task host is taken for stopped; 0: 5 s.
	silence time.Duration
	// StartHost starts a task host; nil: the job's program as a child process.
	StartHost func(ctx context.Context, s HostStart) (HostProcess, error)
}

// HostStart is what a task host is started with.
type HostStart struct {
	Job    *pb.JobSpec
	Binary string   // the job's program
	Conn   *os.File // the host's end of its connection to the worker; the starter closes it
	Dir    string   // its working folder
	Host   string   // the host's name, as in Config
	Output *os.File // for what it prints; stays the caller's
}

// A HostProcess is a running task host.
type HostProcess interface {
	PID() int
	// Wait returns when it has ended, with how it did: nil for a clean end.
	Wait() error
	// Kill ends it at once, with all processes it has started.
	Kill()
}

// A Worker is a running one.
type Worker struct {
	cfg       Config
	log       *slog.Logger
	id        string
	folder    *folder
	listener  net.Listener
	server    *grpc.Server
	artifacts *artifacts

	ctx     context.Context // ends with the worker
	cancel  context.CancelFunc
	done    chan struct{}
	closing sync.WaitGroup // jobs being ended
	waiting sync.WaitGroup // programs that are ready; none is added once closing is done for good

	mu             sync.Mutex
	err            error // why it ended
	incarnation    string
	session        *session      // nil while there is no coordinator
	sessionChanged chan struct{} // closed and made anew whenever session changes
	jobs           map[string]*job
	tasks          map[string]*task // by attempt
	queue          []*task          // waiting for a slot, in order of arrival
	busy           int              // slots in use
	epoch          uint64
	drain          bool
	ending         map[string]int // jobs that are being ended
	ready          *readyProgram  // nil: none
}

// Start starts a worker: it listens when Start returns, and registers, and registers
// again whenever it has lost its coordinator, until ctx ends or Close is called.
func Start(ctx context.Context, cfg Config) (*Worker, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if cfg.Slots <= 0 {
		cfg.Slots = runtime.NumCPU()
	}
	if cfg.Memory <= 0 {
		cfg.Memory = DefaultMemory()
	}
	if cfg.StartHost == nil {
		cfg.StartHost = startChild
	}
	if cfg.LowWater == 0 {
		cfg.LowWater = lowWater
	}
	if cfg.SweepEvery == 0 {
		cfg.SweepEvery = sweepEvery
	}
	if cfg.CancelGrace == 0 {
		cfg.CancelGrace = 10 * time.Second
	}
	if cfg.DiskFree == nil {
		cfg.DiskFree = diskFree
	}
	if cfg.shortJob <= 0 {
		cfg.shortJob = shortJob
	}
	if cfg.silence <= 0 {
		cfg.silence = hostSilence
	}
	if cfg.Machine == "" {
		cfg.Machine = machine()
	}
	if cfg.Host == "" {
		cfg.Host, _ = os.Hostname()
	}
	if cfg.Identity == nil {
		if err := security.LoopbackOnly(cfg.Listen); err != nil {
			return nil, err
		}
	}
	// Hosts run in other folders, and other workers read ours: names have to be whole.
	if err := cfg.wholeNames(); err != nil {
		return nil, err
	}
	f, err := openFolder(cfg.Dir)
	if err != nil {
		return nil, err
	}
	id := cfg.ID
	if id == "" {
		if id, err = f.id(); err != nil {
			return nil, errors.Join(err, f.close())
		}
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker: %w", err), f.close())
	}
	w := &Worker{
		cfg: cfg, log: cfg.Log, id: id, incarnation: randomID(), folder: f, listener: l,
		done: make(chan struct{}), sessionChanged: make(chan struct{}), ending: map[string]int{}, jobs: map[string]*job{}, tasks: map[string]*task{},
		server: grpc.NewServer(append(cfg.Identity.Serve(security.Worker, security.Coordinator, security.Job),
			grpc.MaxConcurrentStreams(1024),
			grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
			grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
			grpc.InitialWindowSize(4<<20), grpc.InitialConnWindowSize(16<<20),
		)...),
	}
	if w.artifacts, err = newArtifacts(f.artifacts(), cfg.Programs); err == nil {
		err = w.sweepSpill()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("worker: %w", err), l.Close(), f.close())
	}
	pb.RegisterExchangeServer(w.server, &exchange.Server{Dir: cfg.Dir, Live: w.runs})
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.inherit(f.left)
	go w.run(w.ctx)
	return w, nil
}

// wholeNames makes the names of folders absolute.
func (c *Config) wholeNames() (err error) {
	if c.Dir == "" {
		return nil // openFolder says so
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	if c.Programs != "" {
		if c.Programs, err = filepath.Abs(c.Programs); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	c.SpillDirs = slices.Clone(c.SpillDirs)
	for i, d := range c.SpillDirs {
		if c.SpillDirs[i], err = filepath.Abs(d); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
	return nil
}

// run is the worker's life; it owns all goroutines.
func (w *Worker) run(ctx context.Context) {
	defer close(w.done)
	var serving, registered, sweeping sync.WaitGroup
	sweeping.Go(func() { w.sweepAlways(ctx) })
	sweeping.Go(func() { w.cfg.Identity.Watch(ctx) })
	serving.Go(func() {
		if err := w.server.Serve(w.listener); err != nil && ctx.Err() == nil {
			w.fail(fmt.Errorf("worker: exchange: %w", err))
		}
	})
	registered.Go(func() { w.keepRegistered(ctx) })
	<-ctx.Done()
	registered.Wait() // nothing begins any more
	sweeping.Wait()
	w.endAllJobs()
	w.waiting.Wait()
	w.server.Stop()
	serving.Wait()
	if err := errors.Join(w.sweepSpill(), w.folder.close()); err != nil {
		w.fail(err)
	}
}

// fail ends the worker for a reason. The first counts.
func (w *Worker) fail(err error) {
	w.mu.Lock()
	if w.err == nil {
		w.err = err
	}
	w.mu.Unlock()
	w.cancel()
}

// runs reports whether an attempt has not ended yet.
func (w *Worker) runs(id *pb.TaskID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[attemptKey(id)]
	return t != nil && !t.ended()
}

// Addr is where the exchange listens.
func (w *Worker) Addr() string { return w.listener.Addr().String() }

// advertised is where others reach the exchange.
func (w *Worker) advertised() string {
	if w.cfg.Advertise != "" {
		return w.cfg.Advertise
	}
	return w.Addr()
}

// ID names the worker; it stays when the process is started again in the same folder.
func (w *Worker) ID() string { return w.id }

// Wait returns when the worker has ended and why: nil after Close, the end of its
// context, or when it was drained.
func (w *Worker) Wait() error {
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Close ends the worker: task hosts are killed and the folders of jobs removed.
func (w *Worker) Close() error {
	w.cancel()
	return w.Wait()
}

func randomID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
