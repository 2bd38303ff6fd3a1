package coordinator

import (
	"strings"
	"testing"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestUnreachableSink: an output that can neither be written nor cleaned. The failure is
// told before the cleaning is over, with what is left so far; the tries to clean are
// bounded, and what they could not do stays with the job, also after a restart.
func TestUnreachableSink(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	w := newFake(t, "w1", 2)
	cleans := 0
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		fail := func(kind dataflow.Kind, text string) *divisipb.FromWorker {
			return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: s.GetId(), TaskKind: s.GetKind(), ErrorKind: int32(kind), Message: text}}}
		}
		switch s.GetKind() {
		case divisipb.TaskKind_TASK_KIND_PREPARE:
			return fail(dataflow.User, "no right to write")
		case divisipb.TaskKind_TASK_KIND_CLEAN:
			if cleans++; cleans == 2 {
				return nil // until the test says so
			}
			return fail(dataflow.Transient, "nobody answers")
		}
		return succeed(s)
	}
	w.attach(c)
	id := submit(t, c)
	watch, err := client(t, c).WatchJob(t.Context(), &divisipb.WatchJobRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	var told, last *divisipb.JobStatus
	for {
		st, err := watch.Recv()
		if err != nil {
			break
		}
		if last = st; st.GetLeft() != "" && told == nil {
			told = st
			w.await("the second clean", func() bool { return len(w.running) == 1 })
			w.mu.Lock()
			again := w.launched[len(w.launched)-1]
			w.mu.Unlock()
			w.report(again.GetId(), &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: again.GetId(), TaskKind: again.GetKind(), ErrorKind: int32(dataflow.Transient), Message: "nobody answers"}}})
		}
	}
	if told.GetState() != divisipb.JobState_JOB_STATE_FAILED || told.GetCleaned() || told.GetError() != "no right to write" || !strings.Contains(told.GetLeft(), "(out): nobody answers") {
		t.Errorf("told at first: %v", told)
	}
	if last.GetState() != divisipb.JobState_JOB_STATE_FAILED || !last.GetCleaned() || !strings.Contains(last.GetLeft(), "nobody answers") {
		t.Errorf("told at last: %v", last)
	}
	w.mu.Lock()
	if n := w.count(job.StageClean); n != 5 {
		t.Errorf("%d tries to clean", n)
	}
	w.mu.Unlock()
	c.Close()
	<-w.over
	c = start(t, dir)
	if st := outcome(t, c, id); st.GetLeft() != last.GetLeft() {
		t.Errorf("after a restart %q is left, before %q", st.GetLeft(), last.GetLeft())
	}
}

// TestSettledOutputs: a job's end is told as soon as nothing of it writes any more and its
// outputs are cleaned, though a worker has not dropped what it has of it; that is waited
// for by those who ask for the whole end.
func TestSettledOutputs(t *testing.T) {
	c := start(t, t.TempDir())
	w := newFake(t, "w1", 2)
	w.busy = true
	w.do = succeed
	w.attach(c)
	id := submit(t, c)
	watch, err := client(t, c).WatchJob(t.Context(), &divisipb.WatchJobRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	for {
		st, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if st.GetCleaned() {
			t.Fatalf("nothing is left of the job, says %v", st)
		}
		if !st.GetOutputsCleaned() {
			continue
		}
		w.mu.Lock()
		if n := w.count(job.StageClean); st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || st.GetLeft() != "" || n != 1 {
			t.Errorf("after %d tasks that clean: %v", n, st)
		}
		w.mu.Unlock()
		break
	}
	w.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_JobGone{JobGone: &divisipb.JobGone{Job: id}}})
	if st := outcome(t, c, id); !st.GetOutputsCleaned() {
		t.Errorf("at last: %v", st)
	}
}
