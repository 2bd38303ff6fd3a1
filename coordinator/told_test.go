package coordinator

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestEndIsToldWhenDurable: the journal is stuck with the end of a job, and fails. Who
// follows the job has not been told that it succeeded: the next coordinator would not know.
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
	cl := client(t, c)
	status := func() divisipb.JobState {
		st, err := cl.GetJob(t.Context(), &divisipb.GetJobRequest{Job: id})
		if err != nil {
			t.Fatal(err)
		}
		return st.GetState()
	}
	for status() != divisipb.JobState_JOB_STATE_SUCCEEDED {
	}
	watch, err := cl.WatchJob(t.Context(), &divisipb.WatchJobRequest{Job: id})
	if err != nil {
		t.Fatal(err)
	}
	for followed := false; !followed; {
		if followed, err = query(t.Context(), c, func(s *state) (bool, error) { return len(s.jobs[id].watchers) > 0, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 { // time enough to be told, if it were
		status()
	}
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
	if err := c.Wait(); !errors.Is(err, errDead) {
		t.Errorf("the coordinator ended with %v", err)
	}
	c = start(t, dir)
	w.reregister().attach(c)
	succeeded(t, outcome(t, c, id))
}
