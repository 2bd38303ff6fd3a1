package coordinator

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// snapshots of a state folder.
func snapshots(t *testing.T, state string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(journalDir(state), "snapshot-*.dvj"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func condense(t *testing.T, records ...journal.Record) []journal.Record {
	t.Helper()
	kept, err := Condense(func(each func(journal.Record) error) error {
		for _, r := range records {
			if err := each(journal.Record{Epoch: r.Epoch, Sequence: r.Sequence, JournalRecord: clone(r.JournalRecord)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(kept)
}

// TestCondense: whenever a snapshot is made, and another of it and of what came later, it
// is the one that all records give.
func TestCondense(t *testing.T) {
	dir := t.TempDir()
	c := start(t, dir)
	w1, w2 := newFake(t, "w1", 2), newFake(t, "w2", 2)
	fails := 2
	w1.do = func(s *divisipb.TaskSpec) *divisipb.FromWorker {
		if s.GetId().GetStage() == 0 && fails > 0 {
			fails--
			return &divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: &divisipb.TaskFailure{Id: s.GetId(), ErrorKind: int32(dataflow.Transient), Message: "no luck", LogTail: "log"}}}
		}
		return succeed(s)
	}
	w2.do = succeed
	w1.attach(c)
	for range 3 {
		succeeded(t, outcome(t, c, submit(t, c)))
	}
	w2.attach(c)
	w2.detach()
	canceled := submit(t, c)
	if _, err := client(t, c).CancelJob(t.Context(), &divisipb.CancelJobRequest{Job: canceled}); err != nil {
		t.Fatal(err)
	}
	outcome(t, c, canceled)
	w1.mu.Lock()
	w1.do = except(1)
	n := w1.count(1)
	w1.mu.Unlock()
	submit(t, c)
	w1.await("stage 1", func() bool { return w1.count(1) == n+2 })
	c.Close()
	var all []journal.Record
	if err := journal.Read(journalDir(dir), func(r journal.Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	want := condense(t, all...)
	if len(want) >= len(all)/2 || len(want) < 10 {
		t.Errorf("%d of %d records are kept", len(want), len(all))
	}
	for i := range all {
		got := condense(t, append(condense(t, all[:i]...), all[i:]...)...)
		if len(got) != len(want) {
			t.Fatalf("with a snapshot at record %d: %d records instead of %d", i, len(got), len(want))
		}
		for k := range got {
			if g, w := got[k], want[k]; g.Epoch != w.Epoch || g.Sequence != w.Sequence || !proto.Equal(g.JournalRecord, w.JournalRecord) {
				t.Fatalf("with a snapshot at record %d: %d %v\ninstead of %d %v", i, g.Sequence, g.JournalRecord, w.Sequence, w.JournalRecord)
			}
		}
	}
}

// TestSnapshotsInALongLife: a coordinator that has run many jobs has a small journal, and
// the next one knows them all.
func TestSnapshotsInALongLife(t *testing.T) {
	dir := t.TempDir()
	small := func(cfg *Config) { cfg.SnapshotBytes = 20_000 }
	c := start(t, dir, small)
	w := newFake(t, "w1", 4)
	w.do = succeed
	w.attach(c)
	var ids []string
	for len(ids) < 10 || len(snapshots(t, dir)) == 0 {
		id := submit(t, c)
		succeeded(t, outcome(t, c, id))
		ids = append(ids, id)
		if len(ids) == 500 {
			t.Fatal("no snapshot was made")
		}
	}
	statuses := func(c *Coordinator) string {
		l, err := client(t, c).ListJobs(t.Context(), &divisipb.ListJobsRequest{})
		if err != nil || len(l.GetJobs()) != len(ids) {
			t.Fatalf("%d jobs of %d: %v", len(l.GetJobs()), len(ids), err)
		}
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := statuses(c)
	copied := copyDir(t, dir) // as after a kill
	if after := statuses(start(t, copied)); after != before {
		t.Error("the jobs look otherwise after a restart")
	}
	if _, err := os.Stat(filepath.Join(journalDir(dir), "journal-0000000000000001.dvj")); err == nil {
		t.Error("the first log is still there")
	}
}
