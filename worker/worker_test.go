package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

var text = strings.Repeat("to be or not to be that is the question\n", 500) + "whether\tit is nobler\n"

func TestJob(t *testing.T) {
	for name, children := range map[string]bool{"in process": false, "children": true} {
		t.Run(name, func(t *testing.T) {
			c := start(t, text, children)
			if r := c.register; r.Host != "h1" || r.Slots != 2 || r.ExchangeAddress != c.w.Addr() || r.Incarnation == "" {
				t.Errorf("registered as %v", r)
			}
			c.count(text)
			c.endJob(false)
			if left, _ := filepath.Glob(filepath.Join(c.dir, "worker", "jobs", "*")); len(left) > 0 {
				t.Errorf("left of the job: %v", left)
			}
			if log, err := os.ReadFile(filepath.Join(c.dir, "worker", "logs", c.job.Id, "quiet.log")); strings.Count(string(log), "attempt ends") < 6 {
				t.Errorf("logs kept: %s, %v", log, err)
			}
		})
	}
}

// endJob ends the job and waits for the worker to say so.
func (c *cluster) endJob(hostsOnly bool) {
	c.t.Helper()
	c.send(&pb.ToWorker{Body: &pb.ToWorker_EndJob{EndJob: &pb.EndJob{Job: c.job.Id, HostsOnly: hostsOnly}}})
	if g := c.next().GetJobGone(); g == nil || g.HostsOnly != hostsOnly {
		c.t.Fatalf("ending the job was answered by %v", g)
	}
}

func TestPanicIsTheTasks(t *testing.T) {
	c := start(t, "fine\nthen panic! here\n", true)
	_, f := c.run(&pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: c.prepare()[0]})
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.User || f.KilledHost {
		t.Fatalf("a panic ends as %v", f)
	}
	for _, want := range []string{"as asked", "in.txt", "then panic! here", "jobs_test.go"} {
		if !strings.Contains(f.Message, want) {
			t.Errorf("the message does not name %q: %s", want, f.Message)
		}
	}
	// The host lives and serves the next task.
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS))
}

func TestHostThatDies(t *testing.T) {
	c := start(t, "fine\ndie! now\n", true)
	splits := c.prepare()
	_, f := c.run(&pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]})
	if f == nil || !f.KilledHost || !strings.Contains(f.Message, "exit status 3") {
		t.Fatalf("a host that exits: %v", f)
	}
	// A fresh one takes its place.
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS))
}

func TestCancelAndHang(t *testing.T) {
	c := start(t, "hang! for ever\n", true)
	splits := c.prepare()
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	// The user's code does not listen, so only the end of its process helps.
	c.endJob(true)
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_CLEAN))
	c.endJob(false)
	if _, err := os.Stat(c.out); !os.IsNotExist(err) {
		t.Errorf("a cancelled job left its output: %v", err)
	}
}

func TestCoordinatorComesBack(t *testing.T) {
	c := start(t, text, false)
	blocks := c.mapAll(c.prepare())
	incarnation := c.register.Incarnation

	// One more task ends while nobody listens.
	c.stop()
	second := newFake(t, c.addr, 8)
	second.await()
	r := second.register
	if r.Incarnation != incarnation {
		t.Error("the worker has another incarnation")
	}
	if len(r.Held) != 1 || len(r.Held[0].Tasks) != len(blocks) {
		t.Errorf("held after a reconnection: %v", r.Held)
	}
	c.fakeCoordinator = second
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
	// A message of the first coordinator's epoch is dropped.
	c.send(&pb.ToWorker{Epoch: 7, Body: &pb.ToWorker_EndJob{EndJob: &pb.EndJob{Job: c.job.Id}}})
	c.finish(blocks, text)
	c.endJob(false)
}

func TestUnacknowledgedEndsAreToldAgain(t *testing.T) {
	c := start(t, text, false)
	splits := c.prepare()
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	if r := c.next().GetResult(); r == nil {
		t.Fatal("no result")
	}
	c.stop() // without an ack
	second := newFake(t, c.addr, 8)
	second.await()
	if r := second.register; len(r.UnackedResults) != 1 || attemptKey(r.UnackedResults[0].Id) != attemptKey(id) || len(r.Running) != 0 {
		t.Errorf("after a result without an ack the worker registers %v", r)
	}
	// Acknowledged, it is not told a third time.
	second.send(&pb.ToWorker{Body: &pb.ToWorker_Ack{Ack: &pb.Ack{Task: id}}})
	c.fakeCoordinator = second
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)) // messages are taken in order
	second.stop()
	third := newFake(t, c.addr, 9)
	third.await()
	for _, r := range third.register.UnackedResults {
		if attemptKey(r.Id) == attemptKey(id) {
			t.Errorf("after the ack the worker still tells %v", r)
		}
	}
	if len(third.register.Held) != 1 {
		t.Errorf("the acknowledged output is not held: %v", third.register)
	}
}

func TestLostResultIsDropped(t *testing.T) {
	c := start(t, text, false)
	splits := c.prepare()
	r := c.mustRun(&pb.TaskSpec{Id: c.id(0, 0), Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]})
	path := c.w.outputPath(r.Id) + ".data"
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Ack{Ack: &pb.Ack{Task: r.Id, Lost: true}}})
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)) // messages are taken in order
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the output of a loser is still there: %v", err)
	}
}

func TestLostInputIsNamed(t *testing.T) {
	c := start(t, text, false)
	blocks := c.mapAll(c.prepare())
	if err := os.Remove(c.w.outputPath(blocks[0].Task) + ".data"); err != nil {
		t.Fatal(err)
	}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Locations{Locations: &pb.Locations{Job: c.job.Id, Version: 1, Blocks: blocks}}})
	_, f := c.run(&pb.TaskSpec{Id: c.id(1, 0), Kind: pb.TaskKind_TASK_KIND_RUN, PartitionLo: 0, PartitionHi: 1, ExchangeVersions: map[int32]int64{0: 1}})
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.InputLost || len(f.LostInputs) != 1 || attemptKey(f.LostInputs[0]) != attemptKey(blocks[0].Task) {
		t.Errorf("a lost block is reported as %v", f)
	}
}

func TestAnotherGraphIsRefused(t *testing.T) {
	c := start(t, text, false)
	c.job.Args = []string{c.in, c.out + "-elsewhere"}
	c.job.Id = "wordcount-2"
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
	_, f := c.run(c.control(pb.TaskKind_TASK_KIND_SPLITS))
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Fatal || !strings.Contains(f.Message, "another graph") {
		t.Errorf("another graph: %v", f)
	}
}

func TestSlots(t *testing.T) {
	c := start(t, "hang! for ever\n", true)
	splits := c.prepare()
	var ids []*pb.TaskID
	for i := range 4 {
		ids = append(ids, c.id(0, i))
		c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: ids[i], Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	}
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)) // needs no slot
	c.w.mu.Lock()
	busy, queued := c.w.busy, len(c.w.queue)
	c.w.mu.Unlock()
	if busy != 2 || queued != 2 {
		t.Errorf("%d busy and %d queued, want 2 and 2", busy, queued)
	}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_CancelTask{CancelTask: &pb.CancelTask{Id: ids[3], Why: "not needed"}}})
	if _, f := c.ended(ids[3]); f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Canceled {
		t.Errorf("a queued task that is cancelled: %v", f)
	}
}

func TestRefusals(t *testing.T) {
	_, err := Start(t.Context(), Config{Coordinator: "127.0.0.1:1", Dir: t.TempDir(), Listen: "0.0.0.0:0"})
	if err == nil || !strings.Contains(err.Error(), "refusing to listen on 0.0.0.0:0 without TLS and authentication") {
		t.Errorf("listening to the world: %v", err)
	}
	dir := t.TempDir()
	w, err := Start(t.Context(), Config{Coordinator: "127.0.0.1:1", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Config{Coordinator: "127.0.0.1:1", Dir: dir}); err == nil || !strings.Contains(err.Error(), "another worker") {
		t.Errorf("two workers in one folder: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	w, err = Start(t.Context(), Config{Coordinator: "127.0.0.1:1", Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
}

// TestPreparedIsToldToRunningHosts: the first coordinator dies between learning what the
// sink prepared and telling it; the second tells it with the job.
func TestPreparedIsToldToRunningHosts(t *testing.T) {
	c := start(t, text, false)
	splits := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits
	prepared := c.mustRun(c.control(pb.TaskKind_TASK_KIND_PREPARE)).Prepared
	blocks := c.mapAll(splits)
	c.stop()
	second := newFake(t, c.addr, 8)
	second.await()
	c.fakeCoordinator = second
	c.job.Prepared = map[int32][]byte{0: prepared}
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: c.job}})
	c.finish(blocks, text)
}
