package coordinator

import (
	"fmt"
	"testing"
	"time"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// TestManyTasks: thousands of tasks over three workers. No message is large, readers
// learn of every block exactly once, and a restart with all of it in the journal, or in
// a snapshot that was made meanwhile, finds everything done.
func TestManyTasks(t *testing.T) {
	const n = 5_000
	dir := t.TempDir()
	c := start(t, dir, func(cfg *Config) { cfg.SnapshotBytes = 100_000 })
	do := func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		a := succeed(s)
		switch {
		case s.GetKind() == divisipb.TaskKind_TASK_KIND_SPLITS:
			r := a.GetResult()
			r.Splits = nil
			for i := range n {
				r.Splits = append(r.Splits, &divisipb.Split{Id: fmt.Sprintf("split-%d", i), Hosts: []string{fmt.Sprintf("w%d", i%4)}})
			}
		case s.GetId().GetStage() == 1:
			return nil
		}
		return a
	}
	var ws []*fake
	for i := range 3 {
		w := newFake(t, fmt.Sprintf("w%d", i), 8)
		w.do = do
		ws = append(ws, w.attach(c))
	}
	begun := time.Now()
	id := submit(t, c)
	readers := func(w *fake) int { return w.count(1) }
	for total := 0; total < 2; {
		total = 0
		for _, w := range ws {
			w.mu.Lock()
			total += readers(w)
			w.mu.Unlock()
		}
		if total < 2 { // any message to any of them may be the one
			w := ws[0]
			w.mu.Lock()
			changed := w.changed
			w.mu.Unlock()
			select {
			case <-changed:
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	t.Logf("%d tasks took %s", n, time.Since(begun).Round(time.Millisecond))
	for _, w := range ws {
		w.mu.Lock()
		if readers(w) > 0 {
			checkLocations(t, w, n)
		}
		w.mu.Unlock()
	}
	c.Close()
	for _, w := range ws {
		<-w.over
	}
	if len(snapshots(t, dir)) == 0 {
		t.Error("no snapshot was made while the tasks ran")
	}
	begun = time.Now()
	c = start(t, dir)
	t.Logf("ready again after %s", time.Since(begun).Round(time.Millisecond))
	before := 0
	for _, w := range ws {
		before += w.count(0)
		w.do = succeed
		w.reregister().attach(c)
	}
	for _, w := range ws {
		w.mu.Lock()
		runs := make([]*divisipb.TaskSpec, 0, 2)
		for _, s := range w.running {
			runs = append(runs, s)
		}
		w.mu.Unlock()
		for _, s := range runs {
			w.report(s.GetId(), succeed(s))
		}
	}
	st := outcome(t, c, id)
	if st.GetState() != divisipb.JobState_JOB_STATE_SUCCEEDED || st.GetCounters()["records"] != 10*(n+2) {
		t.Errorf("ended %v %s, counters %v", st.GetState(), st.GetError(), st.GetCounters())
	}
	after := 0
	for _, w := range ws {
		after += w.count(0)
	}
	if before != n || after != n {
		t.Errorf("%d attempts for %d tasks before the restart, %d after", before, n, after)
	}
}

// checkLocations plays what a worker was told and compares it with what its readers need.
func checkLocations(t *testing.T, w *fake, n int) {
	t.Helper()
	known := map[string]bool{}
	var version int64
	for _, m := range w.got {
		if l := m.GetLocations(); l != nil {
			if len(l.GetBlocks()) > blocksPerChunk {
				t.Errorf("a message of %d blocks", len(l.GetBlocks()))
			}
			if l.GetReset_() {
				clear(known)
			}
			for _, b := range l.GetBlocks() {
				if known[name(b.GetTask())] {
					t.Errorf("%s told twice", name(b.GetTask()))
				}
				known[name(b.GetTask())] = true
			}
			version = l.GetVersion()
		}
		if s := m.GetLaunch().GetTask(); s.GetId().GetStage() == 1 && (s.GetExchangeVersions()[0] != version || len(known) != n) {
			t.Errorf("reader launched with version %d of %d, %d of %d blocks", version, s.GetExchangeVersions()[0], len(known), n)
		}
	}
}
