package coordinator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestEndIsToldWhenDurable: the journal is stuck with the end of a job, and fails. Who
// follows the job, or asks for it, has not been told that it succeeded: the next
// coordinator would not know.
func TestEndIsToldWhenDurable(t *testing.T) {
	errDead := errors.New("dead")
	var stuck atomic.Bool
	release := make(chan struct{})
	dir := t.TempDir()
	c, err := Start(context.Background(), Config{Listen: "127.0.0.1:0", State: dir, Hook: func(step string) error {
		if stuck.Load() && step == "before-sync" {
			<-release
			return errDead
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := newFake(t, "w1", 4)
	w.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		if s.GetKind() == divisipb.TaskKind_TASK_KIND_PUBLISH {
			return nil
		}
		return succeed(s)
	}
	w.attach(c)
	id := submit(t, c)
	var publish *divisipb.TaskSpec
	w.await("the publish task", func() bool {
		for _, s := range w.running {
			publish = s
		}
		return publish != nil && publish.GetKind() == divisipb.TaskKind_TASK_KIND_PUBLISH
	})
	stuck.Store(true)
	w.report(publish.GetId(), succeed(publish))
	inside := func(f func(*jobState) bool) {
		t.Helper()
		for met := false; !met; {
			if met, err = query(t.Context(), c, func(s *state) (bool, error) { return f(s.jobs[id]), nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	inside(func(js *jobState) bool { return ended(js.state()) })
	before := 0
	inside(func(*jobState) bool { before = len(c.state.outbox); return true })
	cl := client(t, c)
	watch, err := cl.WatchJob(t.Context(), &divisipb.WatchJobRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	inside(func(js *jobState) bool { return len(js.watchers) > 0 })
	told := make(chan string, 2)
	go func() {
		st, err := cl.GetJob(t.Context(), &divisipb.GetJobRequest{Job: id})
		told <- fmt.Sprint("GetJob: ", st.GetState(), err == nil)
	}()
	go func() {
		l, err := cl.ListJobs(t.Context(), &divisipb.ListJobsRequest{})
		told <- fmt.Sprint("ListJobs: ", len(l.GetJobs()), err == nil)
	}()
	// All three wait, or have said it.
	inside(func(*jobState) bool { return len(c.state.outbox)+len(told) >= before+3 })
	close(release)
	for {
		st, err := watch.Recv()
		if err != nil {
			break
		}
		if ended(st.GetState()) {
			t.Errorf("the follower is told that the job has %v, and the journal does not know", st.GetState())
		}
	}
	for range 2 {
		if what := <-told; strings.HasSuffix(what, "true") {
			t.Errorf("told what the journal does not know: %s", what)
		}
	}
	if err := c.Wait(); !errors.Is(err, errDead) {
		t.Errorf("the coordinator ended with %v", err)
	}
	c = start(t, dir)
	w.reregister().attach(c)
	succeeded(t, outcome(t, c, id))
}
