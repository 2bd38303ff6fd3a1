package coordinator

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/version"
	"github.com/divisi-data/divisi/proto/divisipb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, dir string, change ...func(*Config)) *Coordinator {
	t.Helper()
	cfg := Config{Listen: "127.0.0.1:0", HTTP: "127.0.0.1:0", State: dir, Lease: 5 * time.Second, Heartbeat: 100 * time.Millisecond}
	for _, f := range change {
		f(&cfg)
	}
	c, err := Start(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

func dial(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func client(t *testing.T, c *Coordinator) divisipb.ClientClient {
	return divisipb.NewClientClient(dial(t, c.Addr()))
}

// fake is a worker that speaks the protocol and runs nothing: what a task does is up to
// the test.
type fake struct {
	t      *testing.T
	reg    *divisipb.Register
	before []*divisipb.Register // messages of the registration that come before reg
	stream divisipb.Control_AttachClient
	cancel context.CancelFunc
	epoch  uint64
	mute   bool          // it sends no heartbeats
	twice  bool          // it says everything two times
	cut    *divisipb.Cut // what it gives away when it is asked to
	silent bool          // it does not say which outputs it has copied
	busy   bool          // it does not say that it has dropped a job
	// do answers a Launch; nil, or a nil answer, leaves the attempt running.
	do func(*divisipb.TaskSpec) *divisipb.FromWorker

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every message
	got      []*divisipb.ToWorker
	acked    map[string]bool // attempts; true: lost
	ended    []string        // jobs ended entirely
	running  map[string]*divisipb.TaskSpec
	launched []*divisipb.TaskSpec
	canceled []string
	held     map[string][]*divisipb.TaskID
	err      error
	over     chan struct{}
}

func newFake(t *testing.T, id string, slots int32) *fake {
	return &fake{
		t: t, changed: make(chan struct{}), acked: map[string]bool{}, running: map[string]*divisipb.TaskSpec{}, held: map[string][]*divisipb.TaskID{},
		reg: &divisipb.Register{
			Protocol: version.Protocol, Version: "test", Worker: id, Incarnation: id + "-1", Host: id, Slots: slots, MemoryBytes: 1 << 30,
			ExchangeAddress: "127.0.0.1:1#" + id, Os: "linux", Arch: "amd64",
		},
	}
}

// attach begins a stream and returns once welcomed.
func (f *fake) attach(c *Coordinator) *fake {
	f.t.Helper()
	if err := f.tryAttach(c); err != nil {
		f.t.Fatal(err)
	}
	return f
}

func (f *fake) tryAttach(c *Coordinator) error {
	conn := dial(f.t, c.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := divisipb.NewControlClient(conn).Attach(ctx)
	if err != nil {
		cancel()
		return err
	}
	for _, r := range append(f.before, f.reg) {
		if err := stream.Send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Register{Register: r}}); err != nil {
			break // Recv has the reason
		}
	}
	first, err := stream.Recv()
	if err != nil {
		cancel()
		return err
	}
	if first.GetWelcome() == nil {
		f.t.Errorf("the first answer is %T", first.GetBody())
	}
	f.mu.Lock()
	f.stream, f.cancel, f.epoch, f.over, f.err = stream, cancel, first.GetEpoch(), make(chan struct{}), nil
	f.got = append(f.got, first)
	f.mu.Unlock()
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		tick := time.NewTicker(time.Duration(first.GetWelcome().GetHeartbeatMillis()) * time.Millisecond)
		defer tick.Stop()
		for n := uint64(1); ; n++ {
			select {
			case <-stream.Context().Done():
				return
			case <-tick.C:
				if f.mute {
					continue
				}
				f.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Heartbeat{Heartbeat: &divisipb.Heartbeat{Sequence: n}}})
			}
		}
	}()
	go func() {
		defer close(f.over)
		for {
			m, err := stream.Recv()
			if err != nil {
				f.mu.Lock()
				f.err = err
				f.tell()
				f.mu.Unlock()
				cancel()
				<-beats
				return
			}
			f.take(m)
		}
	}()
	f.t.Cleanup(f.detach)
	return nil
}

// detach breaks the stream.
func (f *fake) detach() {
	f.cancel()
	<-f.over
}

func (f *fake) send(m *divisipb.FromWorker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m.Epoch = f.epoch
	if f.twice {
		_ = f.stream.Send(m)
	}
	_ = f.stream.Send(m) // a broken stream is seen by its receiver
}

func (f *fake) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) take(m *divisipb.ToWorker) {
	var answers []*divisipb.FromWorker
	f.mu.Lock()
	f.got = append(f.got, m)
	switch b := m.GetBody().(type) {
	case *divisipb.ToWorker_Launch:
		t := b.Launch.GetTask()
		f.launched = append(f.launched, t)
		f.running[name(t.GetId())] = t
		if f.do != nil {
			if a := f.do(t); a != nil {
				f.finish(t.GetId(), a)
				answers = append(answers, a)
			}
		}
	case *divisipb.ToWorker_Ack:
		if t := b.Ack.GetTask(); t != nil {
			f.acked[name(t)] = b.Ack.GetLost()
		}
	case *divisipb.ToWorker_AdoptBlocks:
		a := b.AdoptBlocks
		f.held[a.GetJob()] = append(f.held[a.GetJob()], a.GetTasks()...)
		if f.silent {
			break
		}
		answers = append(answers, &divisipb.FromWorker{Body: &divisipb.FromWorker_BlocksAdopted{BlocksAdopted: &divisipb.BlocksAdopted{Job: a.GetJob(), Tasks: a.GetTasks()}}})
	case *divisipb.ToWorker_CutTask:
		answers = append(answers, &divisipb.FromWorker{Body: &divisipb.FromWorker_TaskCut{TaskCut: &divisipb.TaskCut{Id: b.CutTask.GetId(), Cut: f.cut}}})
	case *divisipb.ToWorker_CancelTask:
		f.canceled = append(f.canceled, name(b.CancelTask.GetId()))
		delete(f.running, name(b.CancelTask.GetId()))
	case *divisipb.ToWorker_EndJob:
		for k, t := range f.running {
			if t.GetId().GetJob() == b.EndJob.GetJob() {
				delete(f.running, k)
			}
		}
		if !b.EndJob.GetHostsOnly() {
			f.ended = append(f.ended, b.EndJob.GetJob())
			delete(f.held, b.EndJob.GetJob())
			if f.busy {
				break
			}
		}
		answers = append(answers, &divisipb.FromWorker{Body: &divisipb.FromWorker_JobGone{JobGone: &divisipb.JobGone{Job: b.EndJob.GetJob(), HostsOnly: b.EndJob.GetHostsOnly()}}})
	}
	f.tell()
	f.mu.Unlock()
	for _, a := range answers {
		f.send(a)
	}
}

// finish does the worker's own books; mu is held.
func (f *fake) finish(id *divisipb.TaskID, a *divisipb.FromWorker) {
	delete(f.running, name(id))
	if a.GetResult().GetOutput() != nil {
		f.held[id.GetJob()] = append(f.held[id.GetJob()], id)
	}
}

// report ends an attempt that was left running.
func (f *fake) report(id *divisipb.TaskID, a *divisipb.FromWorker) {
	f.mu.Lock()
	f.finish(id, a)
	f.mu.Unlock()
	f.send(a)
}

// await waits until what is asked for has come, with the fake's books locked.
func (f *fake) await(what string, ok func() bool) {
	f.t.Helper()
	late := time.After(20 * time.Second)
	for {
		f.mu.Lock()
		yes, changed := ok(), f.changed
		f.mu.Unlock()
		if yes {
			return
		}
		select {
		case <-changed:
		case <-late:
			f.t.Fatalf("worker %s: %s did not come; got %d messages, error %v", f.reg.GetWorker(), what, len(f.got), f.err)
		}
	}
}

// reregister is what this incarnation says when it comes back.
func (f *fake) reregister() *fake {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reg.Running, f.reg.Held = nil, nil
	for _, t := range f.running {
		f.reg.Running = append(f.reg.Running, t.GetId())
	}
	for j, ids := range f.held {
		f.reg.Held = append(f.reg.Held, &divisipb.HeldOutput{Job: j, Tasks: ids})
	}
	return f
}

// beat sends a heartbeat of the test's own.
func (f *fake) beat(h *divisipb.Heartbeat) {
	f.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Heartbeat{Heartbeat: h}})
}

func (f *fake) count(stage int32) int {
	n := 0
	for _, t := range f.launched {
		if t.GetId().GetStage() == stage {
			n++
		}
	}
	return n
}

func name(t *divisipb.TaskID) string {
	return fmt.Sprintf("%s/%d/%d.%d", t.GetJob(), t.GetStage(), t.GetIndex(), t.GetAttempt())
}

// succeed is a task host that does everything at once: three splits, two partitions.
func succeed(t *divisipb.TaskSpec) *divisipb.FromWorker {
	r := &divisipb.TaskResult{Id: t.GetId(), Kind: t.GetKind()}
	switch t.GetKind() {
	case divisipb.TaskKind_TASK_KIND_SPLITS:
		for i := range 3 {
			r.Splits = append(r.Splits, &divisipb.Split{Id: fmt.Sprintf("s%d", i), Bytes: 10})
		}
	case divisipb.TaskKind_TASK_KIND_PREPARE:
		r.Prepared = []byte("prepared")
	case divisipb.TaskKind_TASK_KIND_RUN:
		r.Counters = map[string]int64{"records": 10}
		r.Stats = &divisipb.TaskStats{RowsIn: 10, RowsOut: 5}
		r.RowHash = uint64(t.GetId().GetIndex()) + 1
		if t.GetSplit() != nil {
			r.Output = &divisipb.PartitionSizes{Bytes: []int64{100, 100}, Rows: []int64{5, 5}}
		} else {
			r.Receipt, _ = json.Marshal(dataflow.Receipt{Task: dataflow.TaskID{Job: t.GetId().GetJob(), Index: int(t.GetPart())}, Rows: 5})
		}
	}
	return &divisipb.FromWorker{Body: &divisipb.FromWorker_Result{Result: r}}
}

// only leaves the tasks of the given stages running and does all others.
func except(stages ...int32) func(*divisipb.TaskSpec) *divisipb.FromWorker {
	return func(t *divisipb.TaskSpec) *divisipb.FromWorker {
		if slices.Contains(stages, t.GetId().GetStage()) {
			return nil
		}
		return succeed(t)
	}
}

// twoStages reads a source, exchanges two fixed partitions, writes a sink.
func twoStages(t *testing.T) *divisipb.SubmitRequest {
	t.Helper()
	return twoStagesOf(t, 2)
}

// twoStagesOf has so many partitions.
func twoStagesOf(t *testing.T, partitions int) *divisipb.SubmitRequest {
	t.Helper()
	p := &plan.Plan{
		Version: plan.Version, Job: "count", Fingerprint: "f",
		Sources: []plan.Source{{Name: "in"}}, Sinks: []plan.Sink{{Name: "out"}},
		Exchanges: []plan.Exchange{{Exchange: dataflow.Exchange{Kind: dataflow.Hash, Partitions: partitions}, Fixed: true, Producers: []int{0}, Consumers: []int{1}}},
		Stages: []plan.Stage{
			{ID: 0, Name: "read", Inputs: []plan.Input{{Mode: plan.BySplit, Source: 0, Exchange: -1}}, Output: plan.Output{Exchange: 0, Sink: -1, Sample: -1}},
			{ID: 1, Name: "write", Inputs: []plan.Input{{Mode: plan.ByPartition, Source: -1, Exchange: 0}}, Output: plan.Output{Exchange: -1, Sink: 0, Sample: -1}},
		},
	}
	b, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return &divisipb.SubmitRequest{Job: &divisipb.JobSpec{Name: "Word Count", Plan: b, Fingerprint: "f"}, Owner: "ann"}
}

func submit(t *testing.T, c *Coordinator) string {
	t.Helper()
	r, err := client(t, c).Submit(t.Context(), twoStages(t))
	if err != nil {
		t.Fatal(err)
	}
	return r.GetJob()
}

// outcome waits for the job's final status.
func outcome(t *testing.T, c *Coordinator, id string) *divisipb.JobStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := client(t, c).WatchJob(ctx, &divisipb.WatchJobRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	var last *divisipb.JobStatus
	for {
		st, err := w.Recv()
		if err != nil {
			if last == nil || !last.GetCleaned() {
				t.Fatalf("watch ended with %v after %v", err, last)
			}
			return last
		}
		last = st
	}
}
