package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	_ "github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/text"
	"github.com/divisi-data/divisi/dataflow"
	_ "github.com/divisi-data/divisi/dataflow/ops"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	_ "github.com/divisi-data/divisi/storage/local"
	taskhost "github.com/divisi-data/divisi/worker/task"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--task-host" {
		taskhost.ServeProcess(build)
	}
	goleak.VerifyTestMain(m)
}

// fakeCoordinator speaks to one worker as a script says.
type fakeCoordinator struct {
	pb.UnimplementedControlServer
	t      *testing.T
	server *grpc.Server
	addr   string

	mu       sync.Mutex
	stream   pb.Control_AttachServer
	register *pb.Register
	hangUp   chan error // ends the stream
	epoch    uint64
	pages    atomic.Int64        // of the last registration
	from     chan *pb.FromWorker // without heartbeats
	attached chan struct{}

	// Set before the worker comes.
	refuse    func(*pb.Register) error
	lease     time.Duration // 0: 5 s
	mute      bool          // do not acknowledge heartbeats
	artifacts func(*pb.GetArtifactRequest, pb.Control_GetArtifactServer) error
}

func newFake(t *testing.T, addr string, epoch uint64) *fakeCoordinator {
	t.Helper()
	return newFakeWith(t, addr, epoch, func(*fakeCoordinator) {})
}

func newFakeWith(t *testing.T, addr string, epoch uint64, change func(*fakeCoordinator)) *fakeCoordinator {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeCoordinator{t: t, server: grpc.NewServer(), addr: l.Addr().String(), epoch: epoch,
		from: make(chan *pb.FromWorker, 1000), attached: make(chan struct{}, 10)}
	change(f)
	pb.RegisterControlServer(f.server, f)
	go f.server.Serve(l)
	t.Cleanup(f.stop)
	return f
}

func (f *fakeCoordinator) stop() { f.server.Stop() }

func (f *fakeCoordinator) Attach(s pb.Control_AttachServer) error {
	register := &pb.Register{More: true}
	for pages := 1; register.More; pages++ {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		register.More = false
		proto.Merge(register, m.GetRegister()) // what is repeated is appended
		f.pages.Store(int64(pages))
	}
	if f.refuse != nil {
		if err := f.refuse(register); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.stream, f.register, f.hangUp = s, register, make(chan error, 1)
	hangUp := f.hangUp
	f.mu.Unlock()
	lease := cmp.Or(f.lease, 5*time.Second)
	if err := s.Send(&pb.ToWorker{Epoch: f.epoch, Body: &pb.ToWorker_Welcome{Welcome: &pb.Welcome{HeartbeatMillis: 50, LeaseMillis: lease.Milliseconds()}}}); err != nil {
		return err
	}
	received := make(chan error, 1)
	go func() { received <- f.receive(s) }()
	select {
	case err := <-received:
		return err
	case err := <-hangUp:
		return err
	}
}

// Epoch implements the service.
func (f *fakeCoordinator) Epoch(context.Context, *pb.EpochRequest) (*pb.EpochReply, error) {
	return &pb.EpochReply{Epoch: f.epoch}, nil
}

// GetArtifact implements the service.
func (f *fakeCoordinator) GetArtifact(r *pb.GetArtifactRequest, s pb.Control_GetArtifactServer) error {
	return f.artifacts(r, s)
}

func (f *fakeCoordinator) receive(s pb.Control_AttachServer) error {
	f.attached <- struct{}{}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if b := m.GetHeartbeat(); b != nil {
			if f.mute {
				continue
			}
			f.send(&pb.ToWorker{Body: &pb.ToWorker_Ack{Ack: &pb.Ack{Heartbeat: b.Sequence}}})
			continue
		}
		f.from <- m
	}
}

func (f *fakeCoordinator) send(m *pb.ToWorker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Epoch == 0 {
		m.Epoch = f.epoch
	}
	f.stream.Send(m) // a broken stream is seen by who waits for an answer
}

// registered is how the worker registered last.
func (f *fakeCoordinator) registered() *pb.Register {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.register
}

// next waits for a message that is not a heartbeat.
func (f *fakeCoordinator) next() *pb.FromWorker {
	f.t.Helper()
	select {
	case m := <-f.from:
		return m
	case <-time.After(30 * time.Second):
		f.t.Fatal("the worker says nothing")
		return nil
	}
}

func (f *fakeCoordinator) await() {
	f.t.Helper()
	select {
	case <-f.attached:
	case <-time.After(30 * time.Second):
		f.t.Fatal("the worker does not attach")
	}
}

// run launches a task and waits for its end.
func (f *fakeCoordinator) run(spec *pb.TaskSpec) (*pb.TaskResult, *pb.TaskFailure) {
	f.t.Helper()
	f.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: spec}}})
	return f.ended(spec.Id)
}

func (f *fakeCoordinator) ended(id *pb.TaskID) (*pb.TaskResult, *pb.TaskFailure) {
	f.t.Helper()
	m := f.next()
	var r *pb.TaskResult
	var fail *pb.TaskFailure
	switch {
	case m.GetResult() != nil && attemptKey(m.GetResult().Id) == attemptKey(id):
		r = m.GetResult()
	case m.GetFailure() != nil && attemptKey(m.GetFailure().Id) == attemptKey(id):
		fail = m.GetFailure()
	default:
		f.t.Fatalf("while waiting for %s: %v", attemptKey(id), m)
	}
	f.send(&pb.ToWorker{Body: &pb.ToWorker_Ack{Ack: &pb.Ack{Task: id}}})
	return r, fail
}

func (f *fakeCoordinator) mustRun(spec *pb.TaskSpec) *pb.TaskResult {
	f.t.Helper()
	r, fail := f.run(spec)
	if fail != nil {
		f.t.Fatalf("%s failed: %s\n%s", attemptKey(spec.Id), fail.Message, fail.LogTail)
	}
	return r
}

// inProcess runs task hosts as goroutines.
func inProcess(build func(*dataflow.Job)) func(context.Context, HostStart) (HostProcess, error) {
	return func(ctx context.Context, s HostStart) (HostProcess, error) {
		conn, err := net.FileConn(s.Conn)
		s.Conn.Close()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		p := &goroutineHost{cancel: cancel, done: make(chan error, 1)}
		go func() { p.done <- taskhost.Serve(ctx, conn, build) }()
		return p, nil
	}
}

type goroutineHost struct {
	cancel context.CancelFunc
	done   chan error
}

func (g *goroutineHost) PID() int    { return os.Getpid() }
func (g *goroutineHost) Wait() error { return <-g.done }
func (g *goroutineHost) Kill()       { g.cancel() }

// cluster is a worker and its fake coordinator with a job told.
type cluster struct {
	*fakeCoordinator
	w       *Worker
	dir     string
	in, out string
	job     *pb.JobSpec
	plan    *plan.Plan
	attempt int32
}

func start(t *testing.T, text string, children bool) *cluster {
	t.Helper()
	return startWith(t, text, children, func(*fakeCoordinator, *Config) {})
}

func startWith(t *testing.T, text string, children bool, change func(*fakeCoordinator, *Config)) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir()}
	c.in, c.out = filepath.Join(c.dir, "in.txt"), filepath.Join(c.dir, "out")
	if err := os.WriteFile(c.in, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c.fakeCoordinator = newFake(t, "127.0.0.1:0", 7)
	cfg := Config{Coordinator: c.addr, Dir: filepath.Join(c.dir, "worker"), Slots: 2, Memory: 1 << 30, Host: "h1", StartHost: inProcess(build)}
	if children {
		cfg.StartHost = nil
	}
	change(c.fakeCoordinator, &cfg)
	w, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.w = w
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	c.await()
	c.tell()
	return c
}

// tell tells the worker of the job.
func (c *cluster) tell() {
	c.tellJob("wordcount", plan.Options{Partitions: 3, Check: true}, c.in, c.out)
}

func (c *cluster) tellJob(name string, o plan.Options, args ...string) {
	c.t.Helper()
	j := dataflow.NewJob(name, args)
	build(j)
	g, err := j.Graph()
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := plan.Compile(g, o)
	if err != nil {
		c.t.Fatal(err)
	}
	raw, err := p.Plan.JSON()
	if err != nil {
		c.t.Fatal(err)
	}
	c.plan = p.Plan
	c.job = &pb.JobSpec{Id: name + "-1", Name: name, Args: args, Plan: raw, Fingerprint: p.Plan.Fingerprint, Mode: "fail", Check: true}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
}

func (c *cluster) id(stage, index int) *pb.TaskID {
	c.attempt++
	return &pb.TaskID{Job: c.job.Id, Stage: int32(stage), Index: int32(index), Attempt: c.attempt}
}

func (c *cluster) control(kind pb.TaskKind) *pb.TaskSpec {
	return &pb.TaskSpec{Id: c.id(-int(kind), 0), Kind: kind, Slots: 2}
}

// prepare runs the control tasks that come first and gives the splits.
func (c *cluster) prepare() []*pb.Split {
	c.t.Helper()
	splits := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits
	prepared := c.mustRun(c.control(pb.TaskKind_TASK_KIND_PREPARE)).Prepared
	c.send(&pb.ToWorker{Body: &pb.ToWorker_JobUpdate{JobUpdate: &pb.JobUpdate{Job: c.job.Id, Prepared: map[int32][]byte{0: prepared}}}})
	return splits
}

// count runs the job to its end and compares the output with a plain count.
func (c *cluster) count(text string) {
	c.t.Helper()
	blocks := c.mapAll(c.prepare())
	c.finish(blocks, text)
}

func (c *cluster) mapAll(splits []*pb.Split) []*pb.BlockLocation {
	c.t.Helper()
	var blocks []*pb.BlockLocation
	for i, s := range splits {
		r := c.mustRun(&pb.TaskSpec{Id: c.id(0, i), Kind: pb.TaskKind_TASK_KIND_RUN, Split: s})
		if len(r.Output.GetBytes()) != 3 {
			c.t.Fatalf("a task of 3 partitions reports %v", r.Output)
		}
		blocks = append(blocks, &pb.BlockLocation{Task: r.Id, Worker: c.w.ID(), Address: c.w.Addr()})
	}
	return blocks
}

func (c *cluster) finish(blocks []*pb.BlockLocation, text string) {
	c.t.Helper()
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Locations{Locations: &pb.Locations{Job: c.job.Id, Version: 1, Blocks: blocks}}})
	publish := c.control(pb.TaskKind_TASK_KIND_PUBLISH)
	for p := range int32(3) {
		r := c.mustRun(&pb.TaskSpec{Id: c.id(1, int(p)), Kind: pb.TaskKind_TASK_KIND_RUN, PartitionLo: p, PartitionHi: p + 1, Part: p, ExchangeVersions: map[int32]int64{0: 1}})
		publish.Receipts = append(publish.Receipts, r.Receipt)
	}
	if _, err := os.Stat(c.out); !errors.Is(err, os.ErrNotExist) {
		c.t.Errorf("the output is visible before it is published: %v", err)
	}
	c.mustRun(publish)
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_CLEAN))
	compare(c.t, c.out, text)
}

// compare holds an output against a plain count.
func compare(t *testing.T, out, text string) {
	t.Helper()
	counts := map[string]int{}
	for w := range strings.FieldsSeq(text) {
		counts[w]++
	}
	var want, got []string
	for w, n := range counts {
		want = append(want, fmt.Sprintf("%s\t%d\n", w, n))
	}
	parts, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, strings.SplitAfter(string(b), "\n")...)
	}
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the output has %d lines, want %d:\n%v\n%v", len(got), len(want), got, want)
	}
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		t.Error(err)
	}
}
