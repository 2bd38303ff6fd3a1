package coordinator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// succeeded checks the sums of a twoStages job, which do not depend on how often what
// was tried.
func succeeded(t *testing.T, st *divisipb.JobStatus) {
	t.Helper()
	if st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || !st.GetCleaned() {
		t.Fatalf("job ended %s, cleaned %v: %s", st.GetState(), st.GetCleaned(), st.GetError())
	}
	if st.GetTasks() != 5 || st.GetCounters()["records"] != 50 || st.GetRecordsIn() != 30 || st.GetRecordsOut() != 10 {
		t.Errorf("5 tasks of 10 records: %d tasks, counters %v, %d in, %d out", st.GetTasks(), st.GetCounters(), st.GetRecordsIn(), st.GetRecordsOut())
	}
}

func TestJobRuns(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 2)
	w.do = succeed
	w.attach(c)
	id := submit(t, c)
	if !strings.HasPrefix(id, "word-count-") {
		t.Errorf("job id %q", id)
	}
	st := outcome(t, c, id)
	succeeded(t, st)
	if st.GetAttempts() != 5 || st.GetRetries() != 0 {
		t.Errorf("%d attempts, %d retries", st.GetAttempts(), st.GetRetries())
	}
	w.await("EndJob", func() bool { return len(w.ended) == 1 })
	for _, l := range w.launched {
		switch l.GetKind() {
		case divisipb.TaskKind_TASK_KIND_PUBLISH:
			if len(l.GetReceipts()) != 2 || !strings.Contains(string(l.GetReceipts()[1]), `"index":1`) {
				t.Errorf("receipts %s", l.GetReceipts())
			}
		case divisipb.TaskKind_TASK_KIND_RUN:
			if l.GetId().GetStage() == 1 && l.GetExchangeVersions()[0] == 0 {
				t.Errorf("%v reads exchange 0 without a version", l)
			}
		}
	}
}

func TestSubmitTwice(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	req := twoStages(t)
	req.IdempotencyKey = "once"
	first, err := client(t, c).Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := client(t, c).Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again.GetJob() != first.GetJob() || !again.GetExisted() || first.GetExisted() {
		t.Errorf("first %v, again %v", first, again)
	}
	c.Close()
	c = start(t, dir)
	again, err = client(t, c).Submit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if again.GetJob() != first.GetJob() || !again.GetExisted() {
		t.Errorf("after a restart: %v", again)
	}
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestRestart stops the coordinator in the middle of a job, in an orderly way and by a
// copy of its state as a kill would leave it: nothing that was done is done again, what
// runs is adopted.
func TestRestart(t *testing.T) {
	for _, how := range []string{"close", "kill"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			c := start(t, dir)
			w := newFake(t, "w1", 4)
			w.do = except(1)
			w.attach(c)
			id := submit(t, c)
			w.await("stage 1", func() bool { return w.count(1) == 2 })
			next := dir
			if how == "kill" {
				next = copyDir(t, dir)
			}
			c.Close()
			<-w.over
			done := append([]*divisipb.TaskSpec(nil), w.launched...)
			c = start(t, next)
			w.reregister().attach(c)
			for _, l := range done {
				if l.GetId().GetStage() == 1 {
					w.report(l.GetId(), succeed(l))
				}
			}
			w.mu.Lock()
			w.do = succeed
			w.mu.Unlock()
			st := outcome(t, c, id)
			succeeded(t, st)
			if w.count(0) != 3 || w.count(1) != 2 {
				t.Errorf("%d attempts of stage 0, %d of stage 1: some ran again", w.count(0), w.count(1))
			}
			seen := map[string]bool{}
			for _, l := range w.launched {
				if seen[name(l.GetId())] {
					t.Errorf("attempt %s was launched twice", name(l.GetId()))
				}
				seen[name(l.GetId())] = true
			}
		})
	}
}

// TestRestartWithoutWorkers: a worker that does not come back is lost, with all it held.
func TestRestartWithoutWorkers(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	w := newFake(t, "w1", 4)
	w.do = except(1)
	w.attach(c)
	id := submit(t, c)
	w.await("stage 1", func() bool { return w.count(1) == 2 })
	c.Close()
	c = start(t, dir, func(cfg *Config) { cfg.Lease = 300e6 })
	w2 := newFake(t, "w2", 4)
	w2.do = succeed
	w2.attach(c)
	succeeded(t, outcome(t, c, id))
	if w2.count(0) != 3 || w2.count(1) != 2 {
		t.Errorf("%d attempts of stage 0, %d of stage 1", w2.count(0), w2.count(1))
	}
}

func TestWorkerLost(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Reattach = 1e6 })
	w1, w2 := newFake(t, "w1", 4), newFake(t, "w2", 4)
	w1.do = except(1)
	w1.attach(c)
	id := submit(t, c)
	w1.await("stage 1", func() bool { return w1.count(1) == 2 })
	w2.do = succeed
	w2.attach(c)
	w1.detach()
	st := outcome(t, c, id)
	succeeded(t, st)
	if w2.count(0) != 3 || w2.count(1) != 2 {
		t.Errorf("%d attempts of stage 0, %d of stage 1", w2.count(0), w2.count(1))
	}
	if err := w1.tryAttach(c); status.Code(err) != codes.Aborted {
		t.Errorf("a lost incarnation comes back: %v", err)
	}
	w1.reg.Incarnation = "another"
	w1.reg.Held, w1.reg.Running = nil, nil
	w1.attach(c)
}

// TestReattach: a stream that breaks for a moment costs nothing.
func TestReattach(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Reattach = 10e9; cfg.Lease = 20e9 })
	w := newFake(t, "w1", 4)
	w.do = except(1)
	w.attach(c)
	id := submit(t, c)
	w.await("stage 1", func() bool { return w.count(1) == 2 })
	w.detach()
	w.reregister()
	// One attempt ended meanwhile; the other's result comes later.
	var runs []*divisipb.TaskSpec
	for _, l := range w.launched {
		if l.GetId().GetStage() == 1 {
			runs = append(runs, l)
		}
	}
	w.reg.UnackedResults = []*divisipb.TaskResult{succeed(runs[0]).GetResult()}
	w.reg.Running = []*divisipb.TaskID{runs[1].GetId()}
	w.attach(c)
	w.mu.Lock()
	w.do = succeed
	w.mu.Unlock()
	w.report(runs[1].GetId(), succeed(runs[1]))
	succeeded(t, outcome(t, c, id))
	if w.count(0) != 3 || w.count(1) != 2 {
		t.Errorf("%d attempts of stage 0, %d of stage 1", w.count(0), w.count(1))
	}
	w.await("acks", func() bool {
		a, okA := w.acked[name(runs[0].GetId())]
		b, okB := w.acked[name(runs[1].GetId())]
		return okA && okB && !a && !b
	})
}

// TestOnlyWorkerFails: much that fails on a worker is no reason to do without it when
// there is no other.
func TestOnlyWorkerFails(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	w.do = func(task *divisipb.TaskSpec) *divisipb.FromWorker {
		// Three tasks fail twice each.
		if task.GetId().GetStage() == 0 && w.count(0) <= 6 {
			return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: task.GetId(), ErrorKind: int32(dataflow.Transient), Message: "again"}}}
		}
		return succeed(task)
	}
	w.attach(c)
	id := submit(t, c)
	st := outcome(t, c, id)
	succeeded(t, st)
	if w.count(0) != 9 {
		t.Errorf("%d attempts of stage 0, want 9", w.count(0))
	}
}

func TestCancel(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	w.do = except(0)
	w.attach(c)
	id := submit(t, c)
	w.await("stage 0", func() bool { return w.count(0) == 3 })
	r, err := client(t, c).CancelJob(t.Context(), &divisipb.CancelJobRequest{Job: id[:12]})
	if err != nil || r.GetState() != divisipb.JobState_JOB_STATE_CANCELED {
		t.Fatalf("%v, %v", r, err)
	}
	st := outcome(t, c, id)
	if st.GetState() != divisipb.JobState_JOB_STATE_CANCELED || !st.GetCleaned() || st.GetError() != "cancelled by its user" {
		t.Errorf("%v", st)
	}
	w.await("clean", func() bool { return w.count(-4) == 1 && len(w.ended) == 1 && len(w.running) == 0 })
}

func TestHandshakes(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 1)
	w.reg.Protocol = 99
	err := w.tryAttach(c)
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), "coordinator 1") {
		t.Errorf("protocol 99: %v", err)
	}
	_, err = client(t, c).Hello(t.Context(), &divisipb.HelloRequest{Protocol: 98})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "98") {
		t.Errorf("client with protocol 98: %v", err)
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":7070", "10.0.0.5:7070", "[::]:1", "example.org:80"} {
		_, err := Start(t.Context(), Config{Listen: addr, State: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), "refusing to listen on "+addr+" without TLS and authentication") {
			t.Errorf("%s: %v", addr, err)
		}
		_, err = Start(t.Context(), Config{Listen: "127.0.0.1:0", HTTP: addr, State: t.TempDir()})
		if err == nil {
			t.Errorf("http on %s", addr)
		}
	}
	if _, err := os.Stat(filepath.Join(t.TempDir(), "journal")); err == nil {
		t.Error("a refused start leaves something")
	}
}

// TestSilentWorker: a stream that is open but says nothing is no sign of life.
func TestSilentWorker(t *testing.T) {
	c := start(t, t.TempDir(), func(cfg *Config) { cfg.Lease = 400e6 })
	w1, w2 := newFake(t, "w1", 4), newFake(t, "w2", 4)
	w1.do = except(0)
	w1.mute = true
	w1.attach(c)
	id := submit(t, c)
	w1.await("stage 0", func() bool { return w1.count(0) == 3 })
	w2.do = succeed
	w2.attach(c)
	st := outcome(t, c, id)
	succeeded(t, st)
	if st.GetRetries() != 3 {
		t.Errorf("%d retries of 3 lost attempts", st.GetRetries())
	}
	<-w1.over
	if status.Code(w1.err) != codes.Aborted || !strings.Contains(w1.err.Error(), "silent") {
		t.Errorf("the silent worker is told %v", w1.err)
	}
}

// TestStaleEpoch: a message of another epoch ends the stream and has no effect.
func TestStaleEpoch(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 4)
	w.do = except(0)
	w.attach(c)
	id := submit(t, c)
	w.await("stage 0", func() bool { return w.count(0) == 3 })
	w.mu.Lock()
	w.epoch += 7
	w.mu.Unlock()
	w.send(succeed(w.launched[0]))
	<-w.over
	if status.Code(w.err) != codes.Aborted || !strings.Contains(w.err.Error(), "stale epoch") {
		t.Errorf("a stale worker is told %v", w.err)
	}
	st, err := client(t, c).GetJob(t.Context(), &divisipb.GetJobRequest{Job: id})
	if err != nil || st.GetStages()[0].GetDone() != 0 {
		t.Errorf("%v, %v", st, err)
	}
}
