package task

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A stub is a source and a sink that do as their job's name says, and write down what
// is done with them.
type stub struct {
	say string // where to fail or wait

	mu     sync.Mutex
	done   []string
	memory *dataflow.Memory // of the last attempt
	at     chan struct{}    // gets a token when something waits
	on     chan struct{}    // lets "pause next" go on
}

var current struct { // the stub of the running test
	sync.Mutex
	*stub
}

func (s *stub) note(what string) error {
	s.mu.Lock()
	s.done = append(s.done, what)
	s.mu.Unlock()
	switch s.say {
	case "fail " + what:
		return errors.New("as asked at " + what)
	case "panic " + what:
		panic("as asked at " + what)
	case "notfound " + what:
		return &fs.PathError{Op: "open", Path: "input", Err: fs.ErrNotExist}
	case "full " + what:
		return &dataflow.Error{Op: "write", Kind: dataflow.DiskFull, Err: dataflow.ErrDiskFull}
	}
	return nil
}

func (s *stub) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, d := range s.done {
		if d == what {
			n++
		}
	}
	return n
}

func init() {
	dataflow.RegisterSource(dataflow.SourceKind{Kind: "stub", Summary: "for tests", Build: func([]byte) (dataflow.Source, error) { return stubSource{}, nil }})
	dataflow.RegisterSink(dataflow.SinkKind{Kind: "stub", Summary: "for tests", Build: func([]byte) (dataflow.Sink, error) { return stubSink{}, nil }})
}

func stubOf() *stub {
	current.Lock()
	defer current.Unlock()
	return current.stub
}

var stubSchema = arrow.NewSchema([]arrow.Field{{Name: "value", Type: arrow.PrimitiveTypes.Int64}}, nil)

type stubSource struct{}

func (stubSource) Schema(context.Context) (*arrow.Schema, error) { return stubSchema, nil }

func (stubSource) Splits(context.Context, dataflow.SplitHint) ([]dataflow.Split, error) {
	return []dataflow.Split{{ID: "only"}}, stubOf().note("splits")
}

func (stubSource) Open(env *dataflow.Env, _ dataflow.Split) (dataflow.Stream, error) {
	s := stubOf()
	s.memory = env.Memory
	if err := s.note("open"); err != nil {
		return nil, err
	}
	if !env.Memory.TryReserve(1000) {
		return nil, errors.New("no memory")
	}
	f, err := env.Temp.Create("stub")
	if err != nil {
		return nil, err
	}
	f.Close() // and left where it is
	return &stubStream{env: env, stub: s}, nil
}

type stubStream struct {
	env    *dataflow.Env
	stub   *stub
	n      int
	closed bool
}

func (s *stubStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if err := s.stub.note("next"); err != nil {
		return nil, err
	}
	if s.stub.say == "wait next" {
		s.stub.at <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.stub.say == "pause next" && s.n == 0 {
		s.stub.at <- struct{}{}
		<-s.stub.on
	}
	if s.n == 3 {
		return nil, io.EOF
	}
	s.n++
	s.env.Counters.Get("batches").Inc()
	b := array.NewRecordBuilder(s.env.Alloc, stubSchema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, int64(s.n)}, nil)
	return b.NewRecordBatch(), nil
}

func (s *stubStream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.env.Memory.Release(1000) // of what has been given back this would be a panic
	return s.stub.note("close")
}

type stubSink struct{}

func (stubSink) Prepare(context.Context, dataflow.Commit) ([]byte, error) {
	return []byte("said by prepare"), stubOf().note("prepare")
}

func (stubSink) Open(env *dataflow.Env) (dataflow.Writer, error) {
	s := stubOf()
	if string(env.Output.Commit.Prepared) != "said by prepare" || env.Output.Part != 4 {
		return nil, errors.New("the writer was not told what prepare said, or its part")
	}
	return &stubWriter{s}, s.note("open sink")
}

func (stubSink) Publish(_ context.Context, c dataflow.Commit, won []dataflow.Receipt) error {
	if len(won) != 1 || won[0].Rows != 9 || string(won[0].Payload) != "sealed" {
		return errors.New("publish got other receipts than the one that was sealed")
	}
	return stubOf().note("publish")
}

func (stubSink) Clean(ctx context.Context, _ dataflow.Commit) error {
	s := stubOf()
	if s.say == "wait clean" {
		return advanceAndWait(ctx)
	}
	return s.note("clean")
}

func advanceAndWait(ctx context.Context) error {
	for range 3 {
		dataflow.Advance(ctx)
	}
	<-ctx.Done()
	return ctx.Err()
}

type stubWriter struct{ s *stub }

func (w *stubWriter) Write(ctx context.Context, b dataflow.Batch) error {
	if w.s.say == "wait write" {
		return advanceAndWait(ctx)
	}
	return w.s.note("write")
}

func (w *stubWriter) Seal(context.Context) (dataflow.Receipt, error) {
	return dataflow.Receipt{Rows: 9, Bytes: 99, Hash: 999, Payload: []byte("sealed")}, w.s.note("seal")
}

func (w *stubWriter) Abort(ctx context.Context) error {
	if ctx.Err() != nil {
		w.s.note("abort with a dead context")
	}
	return w.s.note("abort")
}

func copyJob(j *dataflow.Job) {
	same := dataflow.MapTask(dataflow.Read(j, dataflow.CustomSource[int64]("stub", nil)), func(t *dataflow.Task) func(int64) int64 {
		if err := stubOf().note("factory"); err != nil {
			t.Fail(err)
		}
		return func(n int64) int64 { return n }
	})
	dataflow.Write(same, dataflow.CustomSink[int64]("stub", nil))
}

// rig is a worker's end of one host.
type rig struct {
	pb.UnimplementedHostServer
	t      *testing.T
	stub   *stub
	dir    string
	stream chan pb.Host_AttachServer
	from   chan *pb.FromHost // without progress
	beats  chan *pb.HostProgress
	conn   net.Conn // the host's end
	served chan error
	s      pb.Host_AttachServer
	n      int32
}

func (r *rig) Attach(s pb.Host_AttachServer) error {
	r.stream <- s
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if p := m.GetProgress(); p != nil {
			select {
			case r.beats <- p:
			default:
			}
			continue
		}
		r.from <- m
	}
}

// newRig starts a host and tells it of a job, whose plan is as planned makes it.
func newRig(t *testing.T, say string, build, planned func(*dataflow.Job)) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), stub: &stub{say: say, at: make(chan struct{}, 10), on: make(chan struct{})},
		stream: make(chan pb.Host_AttachServer, 1), from: make(chan *pb.FromHost, 100), beats: make(chan *pb.HostProgress, 1), served: make(chan error, 1)}
	current.Lock()
	current.stub = r.stub
	current.Unlock()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	pb.RegisterHostServer(g, r)
	serving := make(chan struct{})
	go func() { defer close(serving); g.Serve(l) }()
	if r.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	go func() { r.served <- Serve(context.WithoutCancel(t.Context()), r.conn, build) }()
	t.Cleanup(func() {
		g.Stop() // the worker has gone, which ends the host
		<-serving
		<-r.served
	})
	r.s = <-r.stream
	j := dataflow.NewJob("copy", nil)
	planned(j)
	graph, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(graph, plan.Options{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Plan.JSON()
	if err != nil {
		t.Fatal(err)
	}
	r.send(&pb.ToHost{Body: &pb.ToHost_Init{Init: &pb.HostInit{
		Job:  &pb.JobSpec{Id: "copy-1", Name: "copy", Plan: raw, Fingerprint: p.Plan.Fingerprint, Prepared: map[int32][]byte{0: []byte("said by prepare")}, Check: true},
		Dirs: []string{r.dir}, LogDir: filepath.Join(r.dir, "logs"), FilesDir: filepath.Join(r.dir, "files"), Slots: 2, MemoryBytes: 1 << 30, ExchangeAddress: "127.0.0.1:1",
	}}})
	return r
}

func (r *rig) send(m *pb.ToHost) {
	r.t.Helper()
	if err := r.s.Send(m); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) next() *pb.FromHost {
	r.t.Helper()
	select {
	case m := <-r.from:
		return m
	case <-time.After(30 * time.Second):
		r.t.Fatal("the host says nothing")
		return nil
	}
}

func (r *rig) ready() *pb.HostReady {
	r.t.Helper()
	m := r.next().GetReady()
	if m == nil {
		r.t.Fatal("the host's first word is not that it is ready")
	}
	return m
}

func (r *rig) spec(kind pb.TaskKind) *pb.TaskSpec {
	r.n++
	return &pb.TaskSpec{Id: &pb.TaskID{Job: "copy-1", Attempt: r.n}, Kind: kind, Split: &pb.Split{Id: "only"}, Part: 4}
}

func (r *rig) run(spec *pb.TaskSpec) (*pb.TaskResult, *pb.TaskFailure) {
	r.t.Helper()
	r.send(&pb.ToHost{Body: &pb.ToHost_Run{Run: spec}})
	m := r.next()
	return m.GetResult(), m.GetFailure()
}

// clean checks that an attempt has left nothing: neither memory nor files.
func (r *rig) clean() {
	r.t.Helper()
	if m := r.stub.memory; m != nil && m.Used() != 0 {
		r.t.Errorf("%d bytes are still reserved", m.Used())
	}
	left, _ := filepath.Glob(filepath.Join(r.dir, "spill", "*"))
	if len(left) > 0 {
		r.t.Errorf("spill files are left: %v", left)
	}
}

func TestTaskFromSourceToSink(t *testing.T) {
	r := newRig(t, "", copyJob, copyJob)
	if m := r.ready(); m.Error != "" || m.Fingerprint == "" || m.Pid == 0 || m.PlanText == "" {
		t.Errorf("ready: %v", m)
	}
	for _, kind := range []pb.TaskKind{pb.TaskKind_TASK_KIND_SPLITS, pb.TaskKind_TASK_KIND_PREPARE} {
		res, f := r.run(r.spec(kind))
		if f != nil {
			t.Fatal(f)
		}
		if kind == pb.TaskKind_TASK_KIND_SPLITS && (len(res.Splits) != 1 || res.Splits[0].Id != "only") || kind == pb.TaskKind_TASK_KIND_PREPARE && string(res.Prepared) != "said by prepare" {
			t.Errorf("%v gives %v", kind, res)
		}
	}
	spec := r.spec(pb.TaskKind_TASK_KIND_RUN)
	res, f := r.run(spec)
	if f != nil {
		t.Fatal(f)
	}
	if s := res.Stats; s.RowsIn != 9 || s.RowsOut != 9 || s.BytesOut != 99 || s.PeakMemoryBytes < 1000 || s.HostRssBytes == 0 || s.WallNanos <= 0 {
		t.Errorf("stats: %v", s)
	}
	if res.Counters["batches"] != 3 || res.RowHash != 999 {
		t.Errorf("result: %v", res)
	}
	var receipt dataflow.Receipt
	if err := json.Unmarshal(res.Receipt, &receipt); err != nil || receipt.Task != taskID(spec.Id) {
		t.Errorf("receipt: %v, %v", receipt, err)
	}
	if r.stub.count("abort") != 0 || r.stub.count("close") != 1 {
		t.Errorf("a good attempt does: %v", r.stub.done)
	}
	r.clean()
	log, err := os.ReadFile(filepath.Join(r.dir, "logs", "quiet.log")) // it has said nothing else
	if err != nil || !strings.Contains(string(log), "0-0.3 time=") || !strings.Contains(string(log), "attempt begins") || !strings.Contains(string(log), "attempt ends") || strings.Contains(string(log), "not released") {
		t.Errorf("the attempt's log, %v:\n%s", err, log)
	}
	publish := r.spec(pb.TaskKind_TASK_KIND_PUBLISH)
	publish.Receipts = [][]byte{res.Receipt}
	for _, spec := range []*pb.TaskSpec{publish, r.spec(pb.TaskKind_TASK_KIND_CLEAN)} {
		if _, f := r.run(spec); f != nil {
			t.Error(f)
		}
	}
	if r.stub.count("publish") != 1 || r.stub.count("clean") != 1 {
		t.Errorf("control tasks do: %v", r.stub.done)
	}
}

// Wherever an attempt fails, what it wrote is thrown away once, its streams are closed,
// its memory is given back, its files go, and the host serves the next.
func TestWhereverItFails(t *testing.T) {
	for _, c := range []struct {
		say   string
		kind  dataflow.Kind
		abort int
	}{
		{"fail open", dataflow.Unknown, 1},
		{"notfound open", dataflow.User, 1},
		{"panic open", dataflow.User, 1},
		{"fail factory", dataflow.User, 1},
		{"panic factory", dataflow.User, 1},
		{"fail next", dataflow.Unknown, 1},
		{"panic next", dataflow.User, 1},
		{"fail close", dataflow.Unknown, 1},
		{"panic close", dataflow.User, 1},
		{"fail open sink", dataflow.Unknown, 0},
		{"panic open sink", dataflow.User, 0},
		{"fail write", dataflow.Unknown, 1},
		{"panic write", dataflow.User, 1},
		{"full write", dataflow.DiskFull, 1},
		{"fail seal", dataflow.Unknown, 1},
		{"panic seal", dataflow.User, 1},
	} {
		t.Run(c.say, func(t *testing.T) {
			r := newRig(t, c.say, copyJob, copyJob)
			r.ready()
			_, f := r.run(r.spec(pb.TaskKind_TASK_KIND_RUN))
			if f == nil {
				t.Fatal("the attempt ended well")
			}
			if dataflow.Kind(f.ErrorKind) != c.kind || len(f.LogTail) == 0 || !strings.Contains(f.LogTail, "attempt fails") {
				t.Errorf("failure: %v", f)
			}
			if strings.HasPrefix(c.say, "panic") && (!strings.Contains(f.Message, "as asked") || !strings.Contains(f.Stack, "serve_test.go") && !strings.Contains(f.Message, "serve_test.go")) {
				t.Errorf("a panic is told as %q, stack %q", f.Message, f.Stack)
			}
			if n := r.stub.count("abort"); n != c.abort || r.stub.count("abort with a dead context") > 0 {
				t.Errorf("aborted %d times, want %d: %v", n, c.abort, r.stub.done)
			}
			if (r.stub.count("next") > 0 || r.stub.count("factory") > 0) && r.stub.count("close") != 1 {
				t.Errorf("the source was closed %d times: %v", r.stub.count("close"), r.stub.done)
			}
			r.clean()
			r.stub.say = ""
			if _, f := r.run(r.spec(pb.TaskKind_TASK_KIND_RUN)); f != nil {
				t.Errorf("the next attempt: %v", f)
			}
		})
	}
}

func TestCancelAborts(t *testing.T) {
	r := newRig(t, "wait next", copyJob, copyJob)
	r.ready()
	spec := r.spec(pb.TaskKind_TASK_KIND_RUN)
	r.send(&pb.ToHost{Body: &pb.ToHost_Run{Run: spec}})
	<-r.stub.at
	if p := <-r.beats; len(p.Tasks) != 1 || p.Tasks[0].Id.Attempt != spec.Id.Attempt || p.RssBytes == 0 || p.MemoryUsedBytes != 1000 {
		t.Errorf("progress: %v", p)
	}
	r.send(&pb.ToHost{Body: &pb.ToHost_Cancel{Cancel: &pb.CancelTask{Id: &pb.TaskID{Job: "copy-1", Attempt: 99}, Why: "nobody's"}}})
	r.send(&pb.ToHost{Body: &pb.ToHost_Cancel{Cancel: &pb.CancelTask{Id: spec.Id, Why: "enough"}}})
	f := r.next().GetFailure()
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Canceled || !strings.Contains(f.Message, "enough") {
		t.Errorf("failure: %v", f)
	}
	if r.stub.count("abort") != 1 || r.stub.count("abort with a dead context") > 0 {
		t.Errorf("it does: %v", r.stub.done)
	}
	r.clean()
}

// A control task, and a writer within a batch, tell what they have done so far, and can
// be cancelled.
func TestStepsAreTold(t *testing.T) {
	for what, kind := range map[string]pb.TaskKind{"clean": pb.TaskKind_TASK_KIND_CLEAN, "write": pb.TaskKind_TASK_KIND_RUN} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t, "wait "+what, copyJob, copyJob)
			r.ready()
			spec := r.spec(kind)
			r.send(&pb.ToHost{Body: &pb.ToHost_Run{Run: spec}})
			for p := range r.beats { // one may have been on its way
				if len(p.Tasks) == 1 && p.Tasks[0].Steps == 3 {
					break
				}
			}
			r.send(&pb.ToHost{Body: &pb.ToHost_Cancel{Cancel: &pb.CancelTask{Id: spec.Id, Why: "it hangs"}}})
			if f := r.next().GetFailure(); f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Canceled || !strings.Contains(f.Message, "it hangs") {
				t.Errorf("failure: %v", f)
			}
			r.clean()
		})
	}
}

// The end of the worker ends attempts, and they clean up.
func TestWorkerGone(t *testing.T) {
	r := newRig(t, "wait next", copyJob, copyJob)
	r.ready()
	r.send(&pb.ToHost{Body: &pb.ToHost_Run{Run: r.spec(pb.TaskKind_TASK_KIND_RUN)}})
	<-r.stub.at
	r.conn.Close()
	err := <-r.served
	r.served <- nil // for the clean-up
	if err == nil || !strings.Contains(err.Error(), "the worker has gone") {
		t.Errorf("the host ends with %v", err)
	}
	if r.stub.count("abort") != 1 {
		t.Errorf("it does: %v", r.stub.done)
	}
	r.clean()
}

func TestStop(t *testing.T) {
	r := newRig(t, "", copyJob, copyJob)
	r.ready()
	r.send(&pb.ToHost{Body: &pb.ToHost_Stop{Stop: &pb.HostStop{Why: "no more"}}})
	if err := <-r.served; err != nil {
		t.Error(err)
	}
	r.served <- nil
}

func TestGraphsThatDoNotFit(t *testing.T) {
	for name, c := range map[string]struct {
		build func(*dataflow.Job)
		want  string
	}{
		"another": {func(j *dataflow.Job) {
			dataflow.Write(dataflow.Read(j, dataflow.CustomSource[int64]("stub", nil)), dataflow.CustomSink[int64]("stub", nil))
		}, "another graph"},
		"wrong":  {func(j *dataflow.Job) { j.Errorf("no such luck") }, "no such luck"},
		"panics": {func(*dataflow.Job) { panic("in build") }, "panic: in build"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "", c.build, copyJob)
			if m := r.ready(); !strings.Contains(m.Error, c.want) {
				t.Errorf("ready says %q, want %q", m.Error, c.want)
			}
			_, f := r.run(r.spec(pb.TaskKind_TASK_KIND_RUN))
			if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Fatal || !strings.Contains(f.Message, c.want) {
				t.Errorf("a task there: %v", f)
			}
		})
	}
}

func TestSpecsThatDoNotFit(t *testing.T) {
	r := newRig(t, "", copyJob, copyJob)
	r.ready()
	for name, change := range map[string]func(*pb.TaskSpec){
		"no stage":  func(s *pb.TaskSpec) { s.Id.Stage = 7 },
		"negative":  func(s *pb.TaskSpec) { s.Id.Stage = -1 },
		"a share":   func(s *pb.TaskSpec) { s.Share, s.ShareOf = 0, 2 },
		"no split":  func(s *pb.TaskSpec) { s.Split = nil },
		"no source": func(s *pb.TaskSpec) { s.Kind, s.Target = pb.TaskKind_TASK_KIND_SPLITS, 3 },
		"no sink":   func(s *pb.TaskSpec) { s.Kind, s.Target = pb.TaskKind_TASK_KIND_CLEAN, -1 },
		"no kind":   func(s *pb.TaskSpec) { s.Kind = 77 },
		"receipts":  func(s *pb.TaskSpec) { s.Kind, s.Receipts = pb.TaskKind_TASK_KIND_PUBLISH, [][]byte{[]byte("{")} },
	} {
		spec := r.spec(pb.TaskKind_TASK_KIND_RUN)
		change(spec)
		if _, f := r.run(spec); f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Fatal || f.Stack != "" {
			t.Errorf("%s: %v", name, f)
		}
	}
}
