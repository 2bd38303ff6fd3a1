package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// progressEvery is how often running attempts report.
const progressEvery = time.Second

// messageMax is the largest message between worker and host, in bytes.
const messageMax = 64 << 20

// A host is one process's share of one job.
type host struct {
	conn    *grpc.ClientConn
	stream  pb.Host_AttachClient
	sending sync.Mutex

	init      *pb.HostInit
	job       *pb.JobSpec
	program   *plan.Program
	broken    error // why there is no program
	memory    *budget
	shared    *dataflow.Shared
	keep      bool // outputs in memory, see shuffle.Options
	fetcher   *exchange.Fetcher
	locations *locations

	mu       sync.Mutex
	prepared map[int32][]byte
	running  map[string]*attempt
	wg       sync.WaitGroup
}

// Serve is a task host's whole life: it speaks to the worker at the other end of conn
// and runs what it is told, until told to stop, the connection ends, or ctx does.
// build is the job's; it is called once. Serve owns conn. When it returns, all attempts
// have ended and what they had not sealed is gone.
func Serve(ctx context.Context, conn net.Conn, build func(*dataflow.Job)) error {
	return serve(ctx, conn, build, false, func(error) {})
}

// ServeLocal is Serve in the worker's own process, with which all its outputs end: small
// ones are kept in memory.
func ServeLocal(ctx context.Context, conn net.Conn, build func(*dataflow.Job)) error {
	return serve(ctx, conn, build, true, func(error) {})
}

// ServeProcess is Serve for a process that is nothing but a task host: its connection
// is file 3, and the process exits when that ends, whatever user code is doing then.
func ServeProcess(build func(*dataflow.Job)) {
	f := os.NewFile(3, "worker")
	conn, err := net.FileConn(f)
	if err != nil {
		fmt.Fprintln(os.Stderr, "task host: file 3 is no connection: a worker starts this, not a person:", err)
		os.Exit(2)
	}
	f.Close()
	exit := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	exit(serve(context.Background(), conn, build, false, exit))
}

// serve is Serve; keep says that small outputs are kept in memory, and over is called when the worker has gone or said stop, before the
// running attempts are waited for.
func serve(ctx context.Context, conn net.Conn, build func(*dataflow.Job), keep bool, over func(error)) error {
	h := &host{keep: keep, locations: newLocations(), prepared: map[int32][]byte{}, running: map[string]*attempt{}}
	once := make(chan net.Conn, 1)
	once <- conn
	cc, err := grpc.NewClient("passthrough:///worker",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, errors.New("the worker has gone")
			}
		}),
		grpc.WithStaticStreamWindowSize(4<<20), grpc.WithStaticConnWindowSize(16<<20), // as the worker's
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
	)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer conn.Close()
	defer cc.Close()
	h.conn = cc
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if h.stream, err = pb.NewHostClient(cc).Attach(ctx); err != nil {
		return fmt.Errorf("task host: attach to the worker: %w", err)
	}
	defer func() { // attempts end before the connections do
		cancel()
		h.wg.Wait()
		if h.fetcher != nil {
			h.fetcher.Close()
			h.memory.close()
		}
	}()
	warm()
	err = h.run(ctx, build)
	over(err)
	return err
}

// run answers the worker's messages.
func (h *host) run(ctx context.Context, build func(*dataflow.Job)) error {
	first, err := h.stream.Recv()
	if err != nil {
		return fmt.Errorf("task host: the worker's first message: %w", err)
	}
	if h.init = first.GetInit(); h.init == nil {
		return errors.New("task host: the worker's first message is not an init")
	}
	h.start(build)
	h.wg.Go(func() { h.memory.watch(ctx) })
	h.wg.Go(func() { h.report(ctx) })
	h.wg.Go(func() { h.guardDisk(ctx) })
	var launches pb.Launches
	for {
		m, err := h.stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("task host: the worker has gone: %w", err)
		}
		switch b := m.Body.(type) {
		case *pb.ToHost_Run:
			if spec := launches.Add(b.Run); spec != nil {
				h.launch(ctx, spec)
			}
		case *pb.ToHost_Cancel:
			h.cancel(b.Cancel)
		case *pb.ToHost_CutTask:
			h.cut(b.CutTask)
		case *pb.ToHost_Locations:
			h.locations.told(b.Locations)
		case *pb.ToHost_JobUpdate:
			h.mu.Lock()
			for sink, what := range b.JobUpdate.Prepared {
				h.prepared[sink] = what
			}
			h.mu.Unlock()
		case *pb.ToHost_Stop:
			return nil
		}
	}
}

// start builds the job's graph and says whether it is the one that was submitted.
func (h *host) start(build func(*dataflow.Job)) {
	h.job = h.init.Job
	if err := os.MkdirAll(h.init.LogDir, 0o755); err != nil {
		slog.Warn("task host: no logs can be written", "err", err)
	}
	for sink, what := range h.job.Prepared {
		h.prepared[sink] = what
	}
	h.memory = newBudget("task host of "+h.job.Id, h.init.MemoryBytes, int(h.init.Slots))
	h.shared = dataflow.NewShared(h.memory.shared("what tasks share"))
	dial, badTrust := security.DialAsJob(h.init.Authorities, h.job.Id, h.init.JobToken)
	h.fetcher = exchange.NewFetcher(exchange.FetcherConfig{
		Dial: dial,
		Job:  h.job.Id, Own: h.init.ExchangeAddress, Dir: filepath.Join(h.init.Dirs[0], "shuffle"), Near: h.locations.near(h.init.Machine, h.job.Id), Reading: h.locations.read,
	})
	ready := &pb.HostReady{Protocol: version.Protocol, Version: version.String(), Pid: int32(os.Getpid())}
	p, err := compile(h.job, build)
	if err = errors.Join(badTrust, err); err != nil {
		ready.Error, h.broken = err.Error(), err
	} else {
		h.program = p
		ready.Fingerprint, ready.PlanText = p.Plan.Fingerprint, p.Plan.Text()
	}
	h.send(&pb.FromHost{Body: &pb.FromHost_Ready{Ready: ready}})
}

// compile makes the program of the submitted job, or says how this binary's differs.
func compile(job *pb.JobSpec, build func(*dataflow.Job)) (p *plan.Program, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("building the job's graph: panic: %v\n%s", v, debug.Stack())
		}
	}()
	submitted, err := plan.Parse(job.Plan)
	if err != nil {
		return nil, err
	}
	j := dataflow.NewJob(job.Name, job.Args)
	build(j)
	g, err := j.Graph()
	if err != nil {
		return nil, fmt.Errorf("building the job's graph again: %w", err)
	}
	if p, err = plan.Compile(g, submitted.Options); err != nil {
		return nil, err
	}
	if p.Plan.Fingerprint != submitted.Fingerprint {
		return nil, fmt.Errorf("this program builds another graph than the one that was submitted: a job must build the same graph from the same arguments\n%s",
			difference(submitted.Text(), p.Plan.Text()))
	}
	return p, nil
}

// difference lists the lines that only one of two texts has.
func difference(submitted, built string) string {
	var b strings.Builder
	list := func(mark, a, other string) {
		have := map[string]bool{}
		for line := range strings.Lines(other) {
			have[line] = true
		}
		for line := range strings.Lines(a) {
			if !have[line] {
				b.WriteString(mark + line)
			}
		}
	}
	list("- ", submitted, built)
	list("+ ", built, submitted)
	return b.String()
}

// launch begins an attempt.
func (h *host) launch(ctx context.Context, spec *pb.TaskSpec) {
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{host: h, spec: spec, id: taskID(spec.Id), cancel: cancel, started: time.Now()}
	a.log = &attemptLog{dir: h.init.LogDir, attempt: shuffle.Name(a.id)}
	a.moved(0)
	h.mu.Lock()
	h.running[a.id.String()] = a
	h.mu.Unlock()
	h.wg.Go(func() {
		defer cancel(nil)
		a.run(ctx)
		h.mu.Lock()
		delete(h.running, a.id.String())
		h.mu.Unlock()
	})
}

func (h *host) cancel(c *pb.CancelTask) {
	h.mu.Lock()
	a := h.running[taskID(c.Id).String()]
	h.mu.Unlock()
	if a != nil {
		a.cancel(&dataflow.Error{Op: "task", Task: a.id.String(), Kind: dataflow.Canceled, Err: errors.New(c.Why)})
	}
}

func (h *host) preparedFor(sink int) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.prepared[int32(sink)]
}

// send passes a message to the worker. A failure is seen by the receiving side too,
// which ends the host.
func (h *host) send(m *pb.FromHost) {
	h.sending.Lock()
	defer h.sending.Unlock()
	if err := h.stream.Send(m); err != nil {
		slog.Debug("task host: send", "err", err)
	}
}

// report sends the progress of all attempts until ctx ends.
func (h *host) report(ctx context.Context) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p := &pb.HostProgress{MemoryUsedBytes: h.memory.root.Used(), RssBytes: h.memory.rss.Load()}
		h.mu.Lock()
		for _, a := range h.running {
			a.log.show()
			p.Tasks = append(p.Tasks, a.progress())
		}
		h.mu.Unlock()
		h.send(&pb.FromHost{Body: &pb.FromHost_Progress{Progress: p}})
	}
}
