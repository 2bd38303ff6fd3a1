package files_test

import (
	"fmt"
	"path/filepath"
	"strings"
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

// TestWritersAdvance: a batch may have rows of many folders, and each of its files is a
// sign that the task gets on.
func TestWritersAdvance(t *testing.T) {
	const folders = 30
	sink := mustSink(t, files.SinkArgs{Path: filepath.Join(t.TempDir(), "out"), Format: "jsonl", PartitionBy: []string{"k"}})
	c := dataflow.Commit{Job: "job", Mode: dataflow.Fail}
	c.Prepared = must(sink.Prepare(t.Context(), c))
	w := must(sink.Open(&dataflow.Env{Context: t.Context(), Task: dataflow.TaskID{Job: "job"}, Output: dataflow.Output{Commit: c}, Counters: dataflow.NewCounters()}))
	var rows []string
	for i := range folders {
		rows = append(rows, fmt.Sprintf(`{"k":"k%02d","x":1,"d":null}`, i))
	}
	signs := 0
	ctx := dataflow.WithAdvance(t.Context(), func() { signs++ })
	check(t, w.Write(ctx, folderRows(t, "["+strings.Join(rows, ",")+"]")))
	if signs != folders-1 {
		t.Errorf("%d signs, and all %d files but the last are written", signs, folders)
	}
	must(w.Seal(ctx))
	if signs != folders {
		t.Errorf("%d signs for %d files", signs, folders)
	}
}
