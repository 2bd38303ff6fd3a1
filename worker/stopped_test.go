package worker

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A host that is stopped keeps its tasks for nobody: it is killed, and they are lost
// without counting against them.
func TestStoppedHostIsKilled(t *testing.T) {
	pids := make(chan int, 10)
	c := startWith(t, "hang! for ever\n", true, func(_ *fakeCoordinator, cfg *Config) {
		cfg.silence = 2 * time.Second // hosts report every second
		cfg.StartHost = func(ctx context.Context, s HostStart) (HostProcess, error) {
			p, err := startChild(ctx, s)
			if err == nil {
				pids <- p.PID()
			}
			return p, err
		}
	})
	splits := c.prepare()
	pid := <-pids
	id := c.id(0, 0)
	c.send(&pb.ToWorker{Body: &pb.ToWorker_Launch{Launch: &pb.Launch{Task: &pb.TaskSpec{Id: id, Kind: pb.TaskKind_TASK_KIND_RUN, Split: splits[0]}}}})
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, f := c.ended(id)
	if f == nil || dataflow.Kind(f.ErrorKind) != dataflow.WorkerLost || f.KilledHost || !strings.Contains(f.Message, "said nothing") {
		t.Fatalf("a stopped host's task ends as %v", f)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("the stopped host is still there")
	}
	c.mustRun(c.control(pb.TaskKind_TASK_KIND_SPLITS)) // in a fresh host
}

// A worker that is started with a relative folder, as by hand, starts hosts all the
// same: they run in folders of their own.
func TestRelativeFolder(t *testing.T) {
	c := startWith(t, text, true, func(_ *fakeCoordinator, cfg *Config) {
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Dir, err = filepath.Rel(wd, cfg.Dir); err != nil {
			t.Fatal(err)
		}
	})
	if !filepath.IsAbs(c.register.DataDir) {
		t.Errorf("others are told of the folder %q", c.register.DataDir)
	}
	c.count(text)
}
