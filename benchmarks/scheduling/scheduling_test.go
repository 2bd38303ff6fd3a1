package scheduling

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/internal/race"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRun runs all of it, small: more splits than a message holds, workers that get
// several tasks at a time, and none.
func TestRun(t *testing.T) {
	if race.Short() {
		t.Skip("builds a program")
	}
	t.Chdir("../..")
	for _, o := range []Options{{Tasks: 2500, Workers: 7, Slots: 3}, {Tasks: 2, Workers: 2, Slots: 1}} {
		o.Work, o.Runs, o.Log = t.TempDir(), 1, io.Discard
		r, err := Run(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range r.Rows {
			if c := row.Contenders[0]; !c.Checked || c.Error != "" || len(c.Seconds) != 1 || c.Peak == 0 {
				t.Errorf("%s: %+v", row.Work, c)
			}
		}
		c := r.Rows[0].Contenders[0]
		if c.Figures["journal records a second"] < c.Figures["tasks a second"] || r.Rows[0].Items != int64(o.Tasks) {
			t.Errorf("%d tasks, %v", o.Tasks, c.Figures)
		}
	}
}

// TestCheckSees: what the journal does not tell of is not taken for done.
func TestCheckSees(t *testing.T) {
	if race.Short() {
		t.Skip("builds a program")
	}
	t.Chdir("../..")
	dir := t.TempDir()
	program, err := harness.Binaries{Dir: dir}.Build(t.Context(), "./benchmarks/scheduling/coordinator")
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(Options{Tasks: 20, Workers: 2, Slots: 1}, program, filepath.Join(dir, "state"))
	if err := c.start(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.stop(); err != nil {
			t.Error(err)
		}
	}()
	if err := c.job(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.check(); err != nil {
		t.Error(err)
	}
	c.o.Tasks++
	if err := c.check(); err == nil {
		t.Error("a task that was never given to a worker is not missed")
	}
	c.common.done.Add(1)
	if err := c.check(); err == nil || !strings.Contains(err.Error(), "no winner of task 20") {
		t.Errorf("a task without a winner: %v", err)
	}
}

// TestRestart kills a coordinator with 10,000 tasks in its journal. The next one knows
// what it knew, and gives no task to a worker again that was done or runs.
func TestRestart(t *testing.T) {
	if race.Short() {
		t.Skip("builds a program and runs 10,000 tasks")
	}
	t.Chdir("../..")
	dir := t.TempDir()
	program, err := harness.Binaries{Dir: dir}.Build(t.Context(), "./benchmarks/scheduling/coordinator")
	if err != nil {
		t.Fatal(err)
	}
	r := newRestart(Options{Work: dir, Tasks: restartTasks, Workers: 20, Slots: 8}, program)
	if err := r.fall(context.Background()); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := r.launch(); err != nil {
		t.Fatal(err)
	}
	t.Logf("from exec to ready, with a journal of %d tasks: %s", restartTasks, time.Since(begun).Round(time.Millisecond))
	defer func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	}()
	r.before.Stages[0].Done++
	if err := r.check(t.Context()); err == nil || !strings.Contains(err.Error(), "stage 0 after the restart") {
		t.Errorf("a task that was forgotten is not missed: %v", err)
	}
	r.before.Stages[0].Done--
	if err := r.check(t.Context()); err != nil {
		t.Fatal(err)
	}
}
