package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// readiness is a worker that keeps programs ready, and what it started.
type readiness struct {
	*cluster
	binary string
	starts chan HostStart
	pids   chan int
}

func keepReady(t *testing.T, long time.Duration) *readiness {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sh := &shelf{}
	r := &readiness{binary: sh.add(program), starts: make(chan HostStart, 100), pids: make(chan int, 100)}
	r.cluster = startWith(t, text, true, func(f *fakeCoordinator, cfg *Config) {
		f.artifacts = sh.serve
		cfg.KeepReady, cfg.shortJob = long, time.Hour
		cfg.StartHost = func(ctx context.Context, s HostStart) (HostProcess, error) {
			p, err := startChild(ctx, s)
			if err == nil {
				r.starts <- s
				r.pids <- p.PID()
			}
			return p, err
		}
	})
	return r
}

// started is what was started next, and its process.
func (r *readiness) started() (HostStart, int) {
	r.t.Helper()
	select {
	case s := <-r.starts:
		return s, <-r.pids
	case <-time.After(20 * time.Second):
		r.t.Fatal("nothing was started")
	}
	panic("not reached")
}

// readied is what was started when a job had ended, once it is kept for the next.
func (r *readiness) readied() (HostStart, int) {
	r.t.Helper()
	start, pid := r.started()
	r.w.closing.Wait()
	return start, pid
}

func (r *readiness) none(when string) {
	r.t.Helper()
	select {
	case s := <-r.starts:
		r.t.Errorf("%s: %s was started", when, s.Binary)
		<-r.pids
	default:
	}
}

// begin tells of a job and runs it, to its end on this worker.
func (r *readiness) begin(id string, env map[string]string) {
	r.t.Helper()
	out := r.out + id
	r.tellJob("wordcount", plan.Options{Partitions: 2}, r.in, out)
	r.job.Id, r.job.BinarySha256, r.job.Env = id, r.binary, env
	r.send(&pb.ToWorker{Body: &pb.ToWorker_Job{Job: r.job}})
	r.runAll()
	if got := lines(r.t, out); len(got) == 0 {
		r.t.Errorf("job %s wrote nothing", id)
	}
}

// A second job of the same program and environment runs in the process that was started
// when the first had ended, in a folder and with a log of its own; others do not.
func TestReadyProgramIsTaken(t *testing.T) {
	r := keepReady(t, time.Hour)
	r.begin("one", map[string]string{"A": "1"})
	first, pid1 := r.started()
	r.none("while a job runs")
	r.endJob(false)
	ready, pid2 := r.readied()
	if !gone(t, pid1) || ready.Binary == first.Binary {
		t.Errorf("the first job's process %d is there, or was not started anew: %s", pid1, ready.Binary)
	}

	r.begin("two", map[string]string{"A": "1"})
	r.none("where a program is ready")
	work := filepath.Join(r.dir, "worker", "jobs", "two", "work")
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid2) + "/cwd")
	if real, rerr := filepath.EvalSymlinks(work); rerr != nil || err != nil || cwd != real {
		t.Errorf("job two's process works in %q (%v), its folder is %q (%v)", cwd, err, real, rerr)
	}
	// What it was told of its folder for temporary files leads there too.
	name := filepath.Join(ready.Dir, "temporary")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil || size(t, filepath.Join(work, "temporary")) != 1 {
		t.Errorf("its TMPDIR is not its folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "worker", "logs", "two", "host-1.log")); err != nil {
		t.Error(err)
	}
	r.endJob(false)
	_, pid3 := r.readied()
	if !gone(t, pid2) {
		t.Error("the host of an ended job is there")
	}

	// Another environment is another process, and the ready one stays for its like.
	r.begin("three", map[string]string{"A": "2"})
	_, pid4 := r.started()
	if syscall.Kill(pid3, 0) != nil {
		t.Error("the ready process has gone because of another job")
	}
	r.endJob(false)
	_, pid5 := r.readied() // the last job's counts
	if !gone(t, pid4) || !gone(t, pid3) {
		t.Error("two programs are ready, or the host of an ended job is there")
	}
	if err := r.w.Close(); err != nil || !gone(t, pid5) {
		t.Errorf("the worker has ended (%v), and its ready program is there", err)
	}
	if left, err := os.ReadDir(filepath.Join(r.dir, "worker", "ready")); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

// A ready program that has died, or waited for too long, is not there for a job.
func TestReadyProgramThatEnds(t *testing.T) {
	for name, long := range map[string]time.Duration{"dies": time.Hour, "is late": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			r := keepReady(t, long)
			r.begin("one", nil)
			r.started()
			r.endJob(false)
			_, pid := r.readied()
			if long == time.Hour {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			r.noneReady()
			r.begin("two", nil)
			if _, pid2 := r.started(); pid2 == pid {
				t.Error("it was started again")
			}
			r.endJob(false)
		})
	}
}

// A job that has taken long gains nothing by a program that is ready.
func TestNoneIsReadyAfterALongJob(t *testing.T) {
	r := keepReady(t, time.Hour)
	r.w.mu.Lock()
	r.w.cfg.shortJob = time.Nanosecond
	r.w.mu.Unlock()
	r.begin("one", nil)
	r.started()
	r.endJob(false)
	r.w.closing.Wait()
	r.none("after a long job")
}

// noneReady returns when no program is ready any more.
func (r *readiness) noneReady() {
	r.t.Helper()
	r.w.mu.Lock()
	p := r.w.ready
	r.w.mu.Unlock()
	if p == nil {
		return
	}
	select {
	case <-p.gone:
	case <-time.After(20 * time.Second):
		r.t.Fatal("a program is ready still")
	}
}

// Only jobs that bring a program can find one ready.
func TestReadyKey(t *testing.T) {
	w := &Worker{cfg: Config{KeepReady: time.Second, Host: "h"}}
	of := func(sha string, env map[string]string) *job {
		return &job{spec: &pb.JobSpec{BinarySha256: sha, Env: env}}
	}
	keys := map[string]bool{}
	for _, j := range []*job{of("s", nil), of("t", nil), of("s", map[string]string{"A": "1"}), of("s", map[string]string{"A": "2"}), of("s", map[string]string{"A": "1", "B": ""})} {
		keys[w.readyKey(j)] = true
	}
	if len(keys) != 5 || keys[""] {
		t.Errorf("keys: %v", keys)
	}
	if k := w.readyKey(of("", nil)); k != "" {
		t.Errorf("of a job in the worker's own program: %q", k)
	}
	w.cfg.KeepReady = 0
	if k := w.readyKey(of("s", nil)); k != "" {
		t.Errorf("where none are kept: %q", k)
	}
}

// Where its folder cannot be given away, a ready program is of no use.
func TestReadyFolder(t *testing.T) {
	d, err := newReadyDir(filepath.Join(t.TempDir(), "ready"))
	if err == nil {
		err = errors.Join(os.Mkdir(d.work(), 0o700), os.WriteFile(d.log(), nil, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := d.give(filepath.Join(t.TempDir(), "not", "work"), filepath.Join(t.TempDir(), "log")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
	d.remove()
	(*readyDir)(nil).remove()
	if _, err := os.Stat(d.path); err == nil {
		t.Error("it is left")
	}
}
