package worker

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// recordPIDs starts children and notes their numbers.
func recordPIDs(pids *[]int) func(context.Context, HostStart) (HostProcess, error) {
	return func(ctx context.Context, s HostStart) (HostProcess, error) {
		p, err := startChild(ctx, s)
		if err == nil {
			*pids = append(*pids, p.PID())
		}
		return p, err
	}
}

// A worker that was given up comes back as another incarnation, with nothing.
func TestGivenUp(t *testing.T) {
	c := start(t, text, false)
	c.mapAll(c.prepare())
	first := c.register.Incarnation
	c.stop()
	second := newFakeWith(t, c.addr, 8, func(f *fakeCoordinator) {
		f.refuse = func(r *pb.Register) error {
			if r.Incarnation == first {
				return status.Error(codes.Aborted, "this incarnation was given up")
			}
			return nil
		}
	})
	second.await()
	r := second.register
	if r.Incarnation == first || r.Worker != c.w.ID() || !heldBy(r, c.job.Id, 1) || len(r.Running) != 0 || len(r.UnackedResults) != 0 {
		t.Errorf("after it was given up the worker registers %v", r)
	}
	if left := files(t, filepath.Join(c.dir, "worker", "jobs")); len(left) != 2 {
		t.Errorf("left of the first incarnation: %v", left)
	}
	// It works as before.
	c.fakeCoordinator = second
	c.tell()
	c.count(text)
}

func TestRefusedAtFirst(t *testing.T) {
	f := newFakeWith(t, "127.0.0.1:0", 7, func(f *fakeCoordinator) {
		f.refuse = func(*pb.Register) error {
			return status.Error(codes.FailedPrecondition, "worker speaks protocol 1, this coordinator 2")
		}
	})
	w, err := Start(t.Context(), Config{Coordinator: f.addr, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Wait(); err == nil || !strings.Contains(err.Error(), "protocol 1") || !strings.Contains(err.Error(), f.addr) {
		t.Errorf("a worker of another protocol ends with %v", err)
	}
}

// A coordinator that takes messages and answers none is given up after the lease.
func TestSilentCoordinator(t *testing.T) {
	c := startWith(t, text, false, func(f *fakeCoordinator, _ *Config) { f.lease, f.mute = 100*time.Millisecond, true })
	incarnation := c.registered().Incarnation
	c.await() // attached again
	if c.registered().Incarnation != incarnation {
		t.Error("for the worker's own doubt it has another incarnation")
	}
}

func TestDrain(t *testing.T) {
	c := startWith(t, text, false, func(*fakeCoordinator, *Config) {})
	splits := c.prepare()
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Drain{Drain: &pb.Drain{}}})
	if m := c.next(); m.GetDrained() == nil {
		t.Fatalf("an idle worker that is drained says %v", m)
	}
	_, f := c.run(&pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]})
	if f == nil || !strings.Contains(f.Message, "drains") {
		t.Errorf("a task for a worker that drains: %v", f)
	}
	c.hangUp <- status.Error(codes.Aborted, "it was drained")
	if err := c.w.Wait(); err != nil {
		t.Error(err)
	}
}

// Drained is said when the coordinator knows how the last task ended.
func TestDrainWaitsForTasks(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", c.plan.Options, c.out)
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	<-waiting
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Drain{Drain: &pb.Drain{}}})
	c.send(&pb.ToWorker{Body: &pb.ToWorker_CancelTask{CancelTask: &pb.CancelTask{Id: id, Why: "enough"}}})
	if _, f := c.ended(id); f == nil {
		t.Error("the task did not end")
	}
	if m := c.next(); m.GetDrained() == nil {
		t.Errorf("after the last end the worker says %v", m)
	}
}

// It is said too where the last tasks end with their job, of which nobody is told.
func TestDrainEndsWithTheJob(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", c.plan.Options, c.out)
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	<-waiting
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Drain{Drain: &pb.Drain{}}})
	c.send(&pb.ToWorker{Body: &pb.ToWorker_EndJob{EndJob: &pb.EndJob{Job: c.job.Id, HostsOnly: true}}})
	if m := c.next(); m.GetJobGone() == nil {
		t.Errorf("when the job has ended the worker says %v", m)
	}
	if m := c.next(); m.GetDrained() == nil {
		t.Errorf("after the job's end the worker says %v", m)
	}
}

func TestDrainGrace(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", c.plan.Options, c.out)
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	<-waiting
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Drain{Drain: &pb.Drain{GraceMillis: 20}}})
	if m := c.next(); m.GetDrained() == nil {
		t.Errorf("after the grace the worker says %v", m)
	}
}

func TestHeartbeatSaysWhatIsHeld(t *testing.T) {
	c := start(t, text, false)
	c.mapAll(c.prepare())
	held := int64(0)
	for _, f := range files(t, filepath.Join(c.dir, "worker", "jobs", c.job.Id, "shuffle")) {
		if strings.HasSuffix(f, ".data") {
			held += size(t, f)
		}
	}
	b := c.w.heartbeat(1)
	if held == 0 || b.DiskUsedBytes != held || b.DiskFreeBytes <= 0 || b.FreeSlots != 2 {
		t.Errorf("the heartbeat says %v, held are %d bytes", b, held)
	}
}
