package coordinator

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// events of a job that has ended, by their type.
func events(t *testing.T, c *Coordinator, id string) map[string][]*divisipb.Event {
	t.Helper()
	s, err := client(t, c).Events(t.Context(), &divisipb.EventsRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]*divisipb.Event{}
	for {
		e, err := s.Recv()
		if err != nil {
			return all
		}
		all[e.GetType()] = append(all[e.GetType()], e)
	}
}

// once leaves the first attempt at a task running and does all the rest.
func once(stage, index int32) func(*divisipb.TaskSpec) *divisipb.FromWorker {
	met := false
	return func(t *divisipb.TaskSpec) *divisipb.FromWorker {
		if id := t.GetId(); !met && id.GetStage() == stage && id.GetIndex() == index {
			met = true
			return nil
		}
		return succeed(t)
	}
}

// TestCopyOfASlowTask: an attempt that is far behind gets a copy on another worker, and
// is cancelled when the copy has won.
func TestCopyOfASlowTask(t *testing.T) {
	c := start(t, t.TempDir())
	slow := newFake(t, "w1", 3)
	slow.do, slow.mute = once(0, 2), true
	slow.attach(c)
	id := submit(t, c)
	var first *divisipb.TaskID
	slow.await("a task that stays", func() bool {
		for _, s := range slow.running {
			first = s.GetId()
		}
		return slow.count(0) == 3 && len(slow.running) == 1
	})
	other := newFake(t, "w2", 1)
	other.do = succeed
	other.attach(c)
	slow.beat(&divisipb.Heartbeat{Tasks: []*divisipb.TaskProgress{{Id: first, Fraction: 0.1, RowsIn: 1, ElapsedNanos: int64(20 * time.Second)}}})
	other.await("a copy", func() bool { return other.count(0) == 1 })
	slow.await("the end of the slow one", func() bool { return slices.Contains(slow.canceled, name(first)) })
	st := outcome(t, c, id)
	succeeded(t, st)
	if st.GetCopies() != 1 || st.GetRetries() != 0 {
		t.Errorf("%d copies, %d retries", st.GetCopies(), st.GetRetries())
	}
	ev := events(t, c, id)
	if e := ev["task-copied"]; len(e) != 1 || len(ev["task-split"]) != 0 || !strings.Contains(e[0].GetText(), "it has run for 2") {
		t.Errorf("events of copies: %v", e)
	}
	copies := 0
	for _, e := range ev["task-done"] {
		if e.GetPlacement().GetLevel() == "" || e.GetPlacement().GetWhy() == "" {
			t.Errorf("an event does not say why there: %v", e)
		}
		if e.GetPlacement().GetCopy() {
			copies++
		}
	}
	var placed int64
	for _, n := range st.GetPlaced() {
		placed += n
	}
	if copies != 1 || placed != 5 {
		t.Errorf("%d winners are copies; placed %v", copies, st.GetPlaced())
	}
}

// TestCopyAll: every task has a copy on another worker from the start, and whoever ends
// first wins.
func TestCopyAll(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.CopyAll = true })
	one, other := newFake(t, "w1", 4), newFake(t, "w2", 4)
	one.do, other.do = except(0, 1), succeed // what runs on w1 never ends by itself
	one.attach(c)
	other.attach(c)
	id := submit(t, c)
	st := outcome(t, c, id)
	succeeded(t, st)
	// Both were given all tasks of both stages, as first attempts or as copies.
	for _, w := range []*fake{one, other} {
		w.await("all tasks", func() bool { return w.count(0) >= 3 && w.count(1) >= 2 })
	}
	if st.GetRetries() != 0 {
		t.Errorf("%d retries", st.GetRetries())
	}
}

// TestCutOfASlowTask: an attempt that is far behind gives a part of its split away, which
// another worker reads.
func TestCutOfASlowTask(t *testing.T) {
	c := start(t, t.TempDir())
	slow := newFake(t, "w1", 3)
	slow.do, slow.mute = once(0, 2), true
	slow.cut = &divisipb.Cut{Kept: &divisipb.Split{Id: "begun", Bytes: 4}, Rest: &divisipb.Split{Id: "rest", Bytes: 6}}
	slow.attach(c)
	id := submit(t, c)
	var first *divisipb.TaskID
	slow.await("a task that stays", func() bool {
		for _, s := range slow.running {
			first = s.GetId()
		}
		return slow.count(0) == 3 && len(slow.running) == 1
	})
	other := newFake(t, "w2", 1)
	other.do = succeed
	other.attach(c)
	slow.beat(&divisipb.Heartbeat{Tasks: []*divisipb.TaskProgress{{Id: first, Fraction: 0.1, RowsIn: 1, ElapsedNanos: int64(20 * time.Second)}}})
	read := func(f *fake) bool {
		for _, l := range f.launched {
			if l.GetSplit().GetId() == "rest" && l.GetId().GetIndex() == 3 {
				return true
			}
		}
		return false
	}
	other.await("the rest", func() bool { return read(other) })
	done := succeed(&divisipb.TaskSpec{Id: first, Kind: divisipb.TaskKind_TASK_KIND_RUN, Split: slow.cut.GetKept()})
	done.GetResult().Cut = slow.cut
	slow.report(first, done)
	st := outcome(t, c, id)
	if n := slow.count(0) + other.count(0); st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || n != 4 || st.GetTasks() != 6 || st.GetCounters()["records"] != 60 {
		t.Errorf("%d attempts of stage 0; %v", n, st)
	}
	if e := events(t, c, id)["task-split"]; len(e) != 1 || !strings.Contains(e[0].GetText(), "6 bytes, and keeps 4") {
		t.Errorf("events of splits: %v", e)
	}
}

// TestTaskOfASilentWorker: long before the lease of a worker ends that says nothing, what
// runs there has a copy on another, and it is given nothing new.
func TestTaskOfASilentWorker(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Heartbeat, cfg.Lease = 50*time.Millisecond, time.Hour })
	w := newFake(t, "w1", 3)
	w.mute = true
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		if s.GetSplit() != nil {
			return nil
		}
		return succeed(s)
	}
	w.attach(c)
	id := submit(t, c)
	var all []*divisipb.TaskProgress
	w.await("tasks that stay", func() bool {
		all = nil
		for _, s := range w.running {
			all = append(all, &divisipb.TaskProgress{Id: s.GetId(), RowsIn: 5})
		}
		return len(all) == 3
	})
	w.beat(&divisipb.Heartbeat{Tasks: all})
	other := newFake(t, "w2", 3)
	other.do = succeed
	other.attach(c)
	succeeded(t, outcome(t, c, id))
	w.await("the cancels", func() bool { return len(w.canceled) == 3 })
	if n, m := w.count(1), other.count(0); n != 0 || m != 3 {
		t.Errorf("%d later tasks went to the silent worker, %d copies to the other", n, m)
	}
	if e := events(t, c, id)["task-copied"]; len(e) != 3 || !strings.Contains(e[0].GetText(), "nothing was heard of it") {
		t.Errorf("events of copies: %v", e)
	}
}

// TestHungTask: an attempt that gets nowhere is given up, counted and tried again.
func TestHungTask(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Hung = 300 * time.Millisecond })
	w := newFake(t, "w1", 3)
	w.do, w.mute = once(0, 1), true
	w.attach(c)
	id := submit(t, c)
	var hung *divisipb.TaskID
	w.await("a task that stays", func() bool {
		for _, s := range w.running {
			hung = s.GetId()
		}
		return w.count(0) == 3 && len(w.running) == 1
	})
	w.beat(&divisipb.Heartbeat{Tasks: []*divisipb.TaskProgress{{Id: hung, RowsIn: 5}}})
	w.await("the cancel", func() bool { return slices.Contains(w.canceled, name(hung)) })
	st := outcome(t, c, id)
	succeeded(t, st)
	failed := events(t, c, id)["task-failed"]
	if st.GetRetries() != 1 || len(failed) != 1 || !strings.Contains(failed[0].GetText(), "it hangs") {
		t.Errorf("%d retries, %v", st.GetRetries(), failed)
	}
}

// TestDrainMovesOutputs: what a drained worker holds and others have still to read is
// copied before it goes; nothing that was done is done again.
func TestDrainMovesOutputs(t *testing.T) {
	c := start(t, t.TempDir())
	leaving, staying := newFake(t, "w1", 2), newFake(t, "w2", 2)
	leaving.do, staying.do = except(1), except(1)
	leaving.attach(c)
	staying.attach(c)
	id := submit(t, c)
	held := 0
	leaving.await("a reader", func() bool { held = len(leaving.held[id]); return leaving.count(1) > 0 })
	if held == 0 {
		t.Fatal("the worker that leaves holds nothing: the test says nothing")
	}
	if _, err := client(t, c).DrainWorker(t.Context(), &divisipb.DrainWorkerRequest{Worker: "w1"}); err != nil {
		t.Fatal(err)
	}
	leaving.await("the drain", func() bool {
		return slices.ContainsFunc(leaving.got, func(m *divisipb.ToWorker) bool { return m.GetDrain() != nil })
	})
	staying.mu.Lock()
	staying.do = succeed
	before := make([]*divisipb.TaskSpec, 0, 2)
	for _, s := range staying.running {
		before = append(before, s)
	}
	staying.mu.Unlock()
	leaving.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Drained{Drained: &divisipb.Drained{}}})
	<-leaving.over
	if status.Code(leaving.err) != codes.Aborted || !strings.Contains(leaving.err.Error(), "drained") {
		t.Errorf("the worker that leaves is told %v", leaving.err)
	}
	for _, s := range before {
		staying.report(s.GetId(), succeed(s))
	}
	st := outcome(t, c, id)
	succeeded(t, st)
	if n := leaving.count(0) + staying.count(0); n != 3 {
		t.Errorf("%d attempts at 3 tasks whose outputs were moved", n)
	}
	moved := events(t, c, id)["output-moved"]
	if len(moved) != held {
		t.Errorf("%d outputs were moved of %d", len(moved), held)
	}
	for _, e := range moved {
		if e.GetWorker() != "w2" {
			t.Errorf("%s", e.GetText())
		}
	}
}

// TestCopiesAreHeardOfFirst: a worker comes back with outputs that it has copied and with
// the failure of a reader that could not have them before. No producer runs again for it.
func TestCopiesAreHeardOfFirst(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Reattach, cfg.Lease = 10e9, 20e9 })
	leaving, staying := newFake(t, "w1", 4), newFake(t, "w2", 4)
	leaving.do = except(1)
	leaving.attach(c)
	id := submit(t, c)
	leaving.await("readers", func() bool { return leaving.count(1) == 2 })
	staying.silent, staying.do = true, succeed
	staying.attach(c)
	leaving.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Drained{Drained: &divisipb.Drained{}}})
	staying.await("what to copy", func() bool { return len(staying.held[id]) == 3 })
	staying.detach()
	for away := false; !away; { // and while it is away nobody gives its copies up
		var going bool
		var err error
		if away, err = ask(t.Context(), c.box, func(s *state) bool {
			if s.workers["w2"].session != nil {
				return false
			}
			s.leave(s.workers["w1"], s.clock())
			going = s.workers["w1"].leaving.going
			return true
		}); err != nil || going {
			t.Fatalf("the drained worker goes before the other is back (%v)", err)
		}
	}
	f := &divisipb.TaskFailure{ErrorKind: int32(dataflow.InputLost), Message: "it was not here"}
	leaving.mu.Lock()
	for _, l := range leaving.launched {
		if l.GetId().GetStage() == 1 {
			f.Id = l.GetId()
		}
	}
	leaving.mu.Unlock()
	f.LostInputs, f.LostAt = staying.held[id], []string{leaving.reg.ExchangeAddress, leaving.reg.ExchangeAddress, leaving.reg.ExchangeAddress}
	staying.reregister().reg.UnackedFailures = []*divisipb.TaskFailure{f}
	staying.attach(c)
	<-leaving.over
	succeeded(t, outcome(t, c, id))
	if n := leaving.count(0) + staying.count(0); n != 3 {
		t.Errorf("%d attempts at 3 tasks whose outputs were copied", n)
	}
}

// TestDrainOfTheLast: where nobody is left to take the outputs the worker may go at once.
func TestDrainOfTheLast(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	w.do = except(1)
	w.attach(c)
	id := submit(t, c)
	w.await("readers", func() bool { return w.count(1) == 2 })
	w.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Drained{Drained: &divisipb.Drained{}}})
	<-w.over
	next := newFake(t, "w2", 4)
	next.do = succeed
	next.attach(c)
	succeeded(t, outcome(t, c, id))
	if next.count(0) != 3 {
		t.Errorf("%d producers ran again of 3", next.count(0))
	}
}

// TestFullDisk: a worker low on disk runs control tasks alone, and says why.
func TestFullDisk(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	w.do, w.mute = succeed, true
	w.attach(c)
	w.beat(&divisipb.Heartbeat{DiskLow: "/data has 5 bytes free", Jobs: []string{"nobody-knows"}})
	w.await("the end of a job that is not known", func() bool { return slices.Contains(w.ended, "nobody-knows") })
	id := submit(t, c)
	w.await("control tasks", func() bool { return w.count(-1) == 1 && w.count(-2) == 1 && len(w.running) == 0 })
	cl := client(t, c)
	list, err := cl.ListWorkers(t.Context(), &divisipb.ListWorkersRequest{})
	if err != nil || list.GetWorkers()[0].GetState() != "full" {
		t.Errorf("%v, %v", list, err)
	}
	st, err := cl.GetJob(t.Context(), &divisipb.GetJobRequest{Job: id})
	if err != nil || !strings.Contains(st.GetWaiting(), "/data has 5 bytes free") {
		t.Errorf("it waits for %q, %v", st.GetWaiting(), err)
	}
	w.beat(&divisipb.Heartbeat{})
	succeeded(t, outcome(t, c, id))
}

func TestReadQueues(t *testing.T) {
	name := filepath.Join(t.TempDir(), "queues.json")
	for text, want := range map[string]string{
		`{"queues": [{"name": "etl", "weight": 2, "max_slots": 4}, {"name": "etl/nightly", "min_slots": 1, "priority": 3}]}`: "",
		`{"queues": [{"name": "a"}, {"name": "a"}]}`:                  "there twice",
		`{"queues": [{"name": "/a"}]}`:                                "no path",
		`{"queues": [{"name": "a", "min_slots": 3, "max_slots": 2}]}`: "more than its max_slots",
		`{"queues": [{"name": "a", "wieght": 3}]}`:                    "wieght",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q, err := ReadQueues(name)
		switch {
		case want == "" && (err != nil || len(q) != 2 || q[0] != Queue{Name: "etl", Weight: 2, MaxSlots: 4}):
			t.Errorf("%s: %v, %v", text, q, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestQueues: the number of slots that jobs of a queue use is bounded; a queue that is
// not there is refused.
func TestQueues(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Queues = []Queue{{Name: "small", MaxSlots: 1}} })
	w := newFake(t, "w1", 4)
	w.do = except(0)
	w.attach(c)
	req := twoStages(t)
	req.Queue = "nowhere"
	if _, err := client(t, c).Submit(t.Context(), req); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "there are small") {
		t.Errorf("a queue that is not there: %v", err)
	}
	req.Queue, req.Priority = "small", 7
	r, err := client(t, c).Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 3; n++ {
		w.await("one task more", func() bool { return w.count(0) == n && len(w.running) == 1 })
		w.mu.Lock()
		var one *divisipb.TaskSpec
		for _, s := range w.running {
			one = s
		}
		w.mu.Unlock()
		w.report(one.GetId(), succeed(one))
	}
	st := outcome(t, c, r.GetJob())
	succeeded(t, st)
	if st.GetQueue() != "small" || st.GetPriority() != 7 {
		t.Errorf("queue %q, priority %d", st.GetQueue(), st.GetPriority())
	}
}
