package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/internal/race"
)

// failpointEnv, STEP:N, makes this test's program a coordinator that kills itself when
// its journal comes to that step for the Nth time.
const failpointEnv = "DIVISI_TEST_FAILPOINT"

// failpointCoordinator is a coordinator as "divisi coordinator" runs it, but for its
// death, and a journal that is replaced by a snapshot soon and in which results do not
// wait for each other.
func failpointCoordinator(failpoint string) error {
	step, times, _ := strings.Cut(failpoint, ":")
	n, err := strconv.ParseInt(times, 10, 64)
	if err != nil {
		return fmt.Errorf("%s=%s: %w", failpointEnv, failpoint, err)
	}
	var left atomic.Int64
	left.Store(n)
	c, err := coordinator.Start(context.Background(), coordinator.Config{
		Listen: os.Args[1], State: os.Args[2], Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), SnapshotBytes: 1000,
		Lull: time.Nanosecond, // each result is a step
		Hook: func(s string) error {
			if s == step && left.Add(-1) == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until it comes
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.NewFile(3, "ready")).Encode(readyLine{Address: c.Addr()}); err != nil {
		return err
	}
	return c.Wait()
}

// TestCoordinatorKilledAtEveryStep kills a coordinator at each step of its journal while
// a job runs, and the next one at the same step of its start. The job ends well, and no
// task that was finished runs again.
func TestCoordinatorKilledAtEveryStep(t *testing.T) {
	// What comes once or twice a job is met there the first time; records come more
	// often, the first few of them before the job.
	cases := [][]string{
		{"before-write:5", "before-write:1"}, {"before-sync:6", "before-sync:1"}, {"after-sync:7", "after-sync:1"},
		{"before-write:9"}, {"before-sync:10"}, {"after-sync:11"},
		{"before-create:2", "before-create:1"}, {"before-create-sync:2", "before-create-sync:1"}, {"after-create:2", "after-create:1"},
		{"before-snapshot:1", "before-snapshot:1"}, {"before-snapshot-sync:1", "before-snapshot-sync:1"},
		{"before-rename:1", "before-rename:1"}, {"after-rename:1", "after-rename:1"},
		{"before-delete:1", "before-delete:1"}, {"after-delete:1", "after-delete:1"},
	}
	if race.Short() {
		cases = [][]string{{"before-sync:6", "before-sync:1"}, {"after-rename:1", "after-rename:1"}}
	}
	var slowest time.Duration
	for _, c := range cases {
		t.Run(strings.Join(c, " "), func(t *testing.T) { slowest = max(slowest, killAt(t, c)) })
	}
	t.Logf("the slowest restart was ready after %s", slowest.Round(time.Millisecond))
}

// killAt runs a job on coordinators that die at the given failpoints, one after the
// other, and a last one that lives. It returns how long the slowest restart took.
func killAt(t *testing.T, failpoints []string) (slowest time.Duration) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, want := words(t, 4)
	dir := t.TempDir()
	addr, state, out := freeAddress(t), filepath.Join(dir, "state"), filepath.Join(dir, "out")
	first, err := launch(t, []string{failpointEnv + "=" + failpoints[0]}, self, addr, state)
	if err != nil {
		t.Fatal(err)
	}
	startWorkers(t, 2, addr)
	job := exec.Command(filepath.Join(bin, "job"), "--cluster", addr, "--progress", "none", "--partitions", "3", in, out)
	var said lockedBuffer
	job.Stdout, job.Stderr = &said, &said
	if err := job.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- job.Wait() }()
	defer job.Process.Kill()

	select {
	case <-first.ended:
	case <-time.After(time.Minute):
		t.Fatalf("it does not come to %s", failpoints[0])
	}
	died(t, first)
	for _, f := range failpoints[1:] {
		next, err := launch(t, []string{failpointEnv + "=" + f}, self, addr, state)
		if err == nil { // ready, and dies at its first record
			<-next.ended
		} else if !errors.Is(err, errNotReady) {
			t.Fatal(err)
		}
		died(t, next)
	}
	last := mustLaunch(t, filepath.Join(bin, "divisi"), "coordinator", "--listen", addr, "--http", "", "--state", state)
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("the job: %v: %s", err, &said)
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("the job does not end: %s", &said)
	}
	if got := outputOf(t, out); got != want {
		t.Errorf("output:\n%s\nwant:\n%s", got, want)
	}
	jobs := listJobs(t, addr)
	if len(jobs) != 1 {
		t.Fatalf("jobs: %v", jobs)
	}
	ranOnce(t, finish(t, addr, jobs[0]))
	return last.took
}

// died says that a coordinator was killed and did not end in another way.
func died(t *testing.T, d *daemon) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(d.err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the coordinator ended with %v", d.err)
	}
}
