package files_test

import (
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// TestControlTasksAdvance: each part and file is a sign that a control task gets on.
func TestControlTasksAdvance(t *testing.T) {
	const parts = 30
	out := filepath.Join(t.TempDir(), "out")
	sink := mustSink(t, files.SinkArgs{Path: out, Format: "text"})
	c := dataflow.Commit{Job: "job", Mode: dataflow.Fail}
	var signs atomic.Int64
	ctx := dataflow.WithAdvance(t.Context(), func() { signs.Add(1) })
	check := func(what string, least int64, err error) {
		t.Helper()
		if n := signs.Swap(0); err != nil || n < least {
			t.Errorf("%s: %d signs, at least %d are wanted; %v", what, n, least, err)
		}
	}
	var err error
	c.Prepared, err = sink.Prepare(ctx, c)
	check("prepare", 1, err)
	var won []dataflow.Receipt
	for i := range parts {
		w, err := sink.Open(&dataflow.Env{Context: t.Context(), Task: dataflow.TaskID{Job: "job", Index: i}, Output: dataflow.Output{Commit: c, Part: i}, Counters: dataflow.NewCounters()})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(t.Context(), lines("a")); err != nil {
			t.Fatal(err)
		}
		r, err := w.Seal(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		won = append(won, r)
	}
	check("what runs elsewhere", 0, nil)
	check("publish", parts, sink.Publish(ctx, c, won))
	check("clean", 1, sink.Clean(ctx, c))
	_, err = mustSource(t, files.SourceArgs{Paths: []string{out}, Format: "text"}).Splits(ctx, dataflow.SplitHint{Slots: 2})
	check("splits", parts, err)
}
