package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Every way in which a host's process ends says what happened, costs its tasks, leaves
// no file of theirs, and the worker starts another host.
func TestHowHostsDie(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"exits":         {"die!", []string{"exit status 3"}},
		"is killed":     {"litter! kill!", []string{"SIGKILL", "memory"}},
		"panics aside":  {"crash!", []string{"exit status 2", "panic: in a goroutine of its own"}},
		"leaves others": {"spawn!", []string{"exit status 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			cl := start(t, c.text+"\n", true)
			splits := cl.prepare()
			id := cl.id(0, 0)
			_, f := cl.run(&pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]})
			if f == nil || !f.KilledHost || f.Id.Attempt != id.Attempt {
				t.Fatalf("the task ended as %v", f)
			}
			for _, want := range append(c.want, attemptKey(id), cl.w.ID()) {
				if !strings.Contains(f.Message, want) {
					t.Errorf("the message does not say %q: %s", want, f.Message)
				}
			}
			if strings.Contains(c.text, "crash!") && !strings.HasPrefix(f.LogTail, "panic: in a goroutine") {
				t.Errorf("the log shown does not begin with the crash: %s", f.LogTail)
			}
			for _, dir := range []string{"shuffle", "spill"} {
				if left := files(t, filepath.Join(cl.dir, "worker", "jobs", cl.job.Id, dir)); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			}
			if strings.Contains(c.text, "spawn!") {
				b, err := os.ReadFile(cl.in + ".pid")
				if err != nil {
					t.Fatal(err)
				}
				if pid, err := strconv.Atoi(string(b)); err != nil || !gone(t, pid) {
					t.Errorf("process %s, which the host had started, lives on (%v)", b, err)
				}
			}
			cl.mustRun(cl.control(pb.TaskKind_TASK_KIND_SPLITS))
		})
	}
}

// gone reports whether a process ends, or has ended, within ten seconds.
func gone(t *testing.T, pid int) bool {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return true
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
		if err != unix.EINTR {
			return n == 1
		}
	}
}

func TestCancelRunning(t *testing.T) {
	c := start(t, "", false)
	c.tellJob("waits", plan.Options{Partitions: 2}, c.out)
	split := c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)).Splits[0]
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: split}}}})
	<-waiting
	c.send(&pb.ToWorker{Body: &pb.ToWorker_CancelTask{CancelTask: &pb.CancelTask{Id: id, Why: "a twin was faster"}}})
	_, f := c.ended(id)
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.Canceled || !strings.Contains(f.Message, "a twin was faster") || f.KilledHost {
		t.Errorf("a cancelled task ended as %v", f)
	}
	for _, dir := range []string{"shuffle", "spill"} {
		if left := files(t, filepath.Join(c.dir, "worker", "jobs", c.job.Id, dir)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	c.w.mu.Lock()
	busy := c.w.busy
	c.w.mu.Unlock()
	if busy != 0 {
		t.Errorf("%d slots are in use", busy)
	}
}

// The end of a job ends its hosts and all they have started, and leaves nothing but logs.
func TestEndOfJobLeavesNothing(t *testing.T) {
	var pids []int
	spill := t.TempDir()
	c := startWith(t, "hang! for ever\n", true, func(_ *fakeCoordinator, cfg *Config) {
		cfg.SpillDirs = []string{spill}
		cfg.StartHost = recordPIDs(&pids)
	})
	splits := c.prepare()
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	c.endJob(false)
	for _, dir := range []string{filepath.Join(c.dir, "worker", "jobs"), spill} {
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
	if len(pids) != 1 || !gone(t, pids[0]) {
		t.Errorf("hosts %v: one was started and it is to be gone", pids)
	}
	c.endJob(false) // once more changes nothing
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	if _, f := c.ended(id); f == nil || dataflow.Kind(f.ErrorKind) != dataflow.WorkerLost {
		t.Errorf("a task of a job that has ended: %v", f)
	}
}

// What an earlier process left in the folders is removed at the start.
func TestSweep(t *testing.T) {
	spill := t.TempDir()
	c := startWith(t, text, false, func(_ *fakeCoordinator, cfg *Config) {
		cfg.ID, cfg.SpillDirs = "w1", []string{spill}
		for _, dir := range []string{filepath.Join(cfg.Dir, "jobs", "old", "shuffle"), filepath.Join(spill, "divisi-w1", "old"), filepath.Join(spill, "divisi-w2", "other"), filepath.Join(cfg.Dir, "artifacts")} {
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "fetching-1"), []byte("x"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	})
	if left := files(t, filepath.Join(c.dir, "worker", "jobs")); len(left) > 0 {
		t.Errorf("left of jobs: %v", left)
	}
	if left := files(t, filepath.Join(c.dir, "worker", "artifacts")); len(left) > 0 {
		t.Errorf("left of artifacts: %v", left)
	}
	if left := files(t, spill); len(left) != 1 || !strings.Contains(left[0], "divisi-w2") {
		t.Errorf("of spill files, another worker's alone is to stay: %v", left)
	}
}
