package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Another worker copies the outputs of one that leaves; the readers go on there when the
// first is gone, and the output is the same.
func TestOutputsAreHandedOver(t *testing.T) {
	c := start(t, text, false)
	blocks := c.mapAll(c.prepare())
	other := startWith(t, text, false, func(*fakeCoordinator, *Config) {})
	job := proto.CloneOf(c.job)
	other.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: job}})
	ask := &pb.AdoptBlocks{Job: job.Id, Worker: c.w.ID(), Address: c.w.Addr()}
	for _, b := range blocks {
		ask.Tasks = append(ask.Tasks, b.Task)
	}
	missing := proto.CloneOf(blocks[0].Task)
	missing.Attempt = 999
	ask.Tasks = append(ask.Tasks, missing)
	other.send(&pb.ToWorker{Body: &pb.ToWorker_AdoptBlocks{AdoptBlocks: ask}})
	answer := other.next().GetBlocksAdopted()
	if len(answer.GetTasks()) != len(blocks) || len(answer.GetFailed()) != 1 || answer.GetFailed()[0].Attempt != 999 || answer.GetWhy() == "" {
		t.Fatalf("the answer is %v", answer)
	}
	if err := c.w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		b.Worker, b.Address = other.w.ID(), other.w.Addr()
	}
	// The outputs are held now as if they had been made here.
	other.w.mu.Lock()
	pages, _ := other.w.registration()
	other.w.mu.Unlock()
	if r := pages[0]; len(pages) != 1 || len(r.Held) != 1 || len(r.Held[0].Tasks) != len(blocks) {
		t.Errorf("it says that it holds %v", pages)
	}
	moved := c.on(other)
	moved.prepare()
	moved.finish(blocks, text)
}

// on is c's job on another worker.
func (c *cluster) on(o *cluster) *cluster {
	moved := *c
	moved.fakeCoordinator, moved.w = o.fakeCoordinator, o.w
	return &moved
}

func TestAdoptForUnknownJob(t *testing.T) {
	c := start(t, text, false)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_AdoptBlocks{AdoptBlocks: &pb.AdoptBlocks{Job: "other", Tasks: []*pb.TaskID{{Job: "other"}}}}})
	if a := c.next().GetBlocksAdopted(); len(a.GetFailed()) != 1 || !strings.Contains(a.GetWhy(), "does not know the job") {
		t.Errorf("the answer is %v", a)
	}
}

// A worker that is told to end by hand says so and ends when the coordinator lets it go;
// without one, after its grace.
func TestDrainByHand(t *testing.T) {
	c := start(t, text, false)
	c.w.Drain(time.Minute)
	if m := c.next(); m.GetDrained() == nil {
		t.Errorf("it says %v", m)
	}
	c.hangUp <- status.Error(codes.Aborted, "it was drained")
	if err := c.w.Wait(); err != nil {
		t.Error(err)
	}
	c = start(t, text, false)
	c.stop()
	c.w.setSession(nil)
	c.w.Drain(time.Millisecond)
	if err := c.w.Wait(); err != nil {
		t.Error(err)
	}
}

// A cancelled task whose code never looks up loses its process, and its slot is free.
func TestCancelThatIsIgnored(t *testing.T) {
	c := startWith(t, "hang! for ever\n", true, func(_ *fakeCoordinator, cfg *Config) { cfg.CancelGrace = 50 * time.Millisecond })
	splits := c.prepare()
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	for range time.Tick(10 * time.Millisecond) { // until its host speaks of it: it hangs by now
		c.w.mu.Lock()
		h := c.w.jobs[c.job.Id].host
		hangs := h != nil && len(h.progress.GetTasks()) > 0
		c.w.mu.Unlock()
		if hangs {
			break
		}
	}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_CancelTask{CancelTask: &pb.CancelTask{Id: id, Why: "a copy has won"}}})
	_, f := c.ended(id)
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.WorkerLost || f.KilledHost {
		t.Errorf("it ended as %v", f)
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.w.busy != 0 {
		t.Errorf("%d slots are in use", c.w.busy)
	}
}

// Below the low-water mark the worker says so, and tasks that spill are refused room.
func TestDiskLow(t *testing.T) {
	c := startWith(t, text, false, func(_ *fakeCoordinator, cfg *Config) {
		cfg.LowWater, cfg.DiskFree = 1000, func(string) int64 { return 999 }
	})
	if h := c.w.heartbeat(1); h.DiskFreeBytes != 999 || !strings.Contains(h.DiskLow, "999 bytes free, below the low-water mark of 1000") {
		t.Errorf("the heartbeat says %v", h)
	}
	c.w.cfg.DiskFree = func(string) int64 { return 1000 }
	if h := c.w.heartbeat(2); h.DiskLow != "" {
		t.Errorf("with enough room it says %q", h.DiskLow)
	}
}

// A sweep removes what belongs to no job, leaves what does, and asks about those.
func TestSweepOfLeftovers(t *testing.T) {
	spill := t.TempDir()
	c := startWith(t, text, false, func(_ *fakeCoordinator, cfg *Config) { cfg.ID, cfg.SpillDirs = "w1", []string{spill} })
	c.mapAll(c.prepare())
	jobs := filepath.Join(c.dir, "worker", "jobs")
	before := len(files(t, filepath.Join(jobs, c.job.Id)))
	for _, d := range []string{filepath.Join(jobs, "old"), filepath.Join(jobs, leftover+"older"), filepath.Join(spill, "divisi-w1", "old")} {
		if err := errors.Join(os.MkdirAll(d, 0o700), os.WriteFile(filepath.Join(d, "x"), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.w.sweep(); err != nil {
		t.Fatal(err)
	}
	if left := files(t, jobs); before == 0 || len(left) != before {
		t.Errorf("%d files of a running job, after the sweep %v", before, left)
	}
	for _, f := range files(t, spill) {
		if strings.Contains(f, "old") {
			t.Errorf("left: %s", f)
		}
	}
}

// A job that has more on a worker's disks than it may fails by name.
func TestDiskQuota(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", plan.Options{Partitions: 2}, c.out)
	c.job.DiskBytes = 100
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
	dir := filepath.Join(c.dir, "worker", "jobs", c.job.Id, "spill")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "big"), make([]byte, 200), 0o600)); err != nil {
		t.Fatal(err)
	}
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	<-waiting
	_, f := c.ended(id)
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.User || !strings.Contains(f.Message, dataflow.ErrDiskQuota.Error()) || !strings.Contains(f.Message, "it may have 100") {
		t.Errorf("it ended as %v", f)
	}
}
