// Package connectortest is the suite every connector passes: what a sink publishes
// its source reads back, each row once; nothing shows before it is published, and
// nothing is left of attempts that lost, were aborted, or died.
package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// A Place is an output and the input that reads it.
type Place struct {
	Sink   dataflow.Sink
	Source dataflow.Source
	// Visible lists what a reader can see there, Left what is there at all, unseen
	// attempts and marks too. Nil: the connector cannot say.
	Visible func() []string
	Left    func() []string
}

// A Connector is what the suite tries.
type Connector struct {
	// New makes a place that holds nothing.
	New func(t *testing.T) Place
	// Batches are what is written; several rows at least.
	Batches []arrow.RecordBatch
	// Modes: the sink knows append and replace, and finds an output that exists.
	Modes bool
}

// Run tries a connector.
func Run(t *testing.T, c Connector) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Connector)
	}{
		{"round trip", roundTrip},
		{"splits are stable", splitsAreStable},
		{"sealed is invisible", sealedIsInvisible},
		{"receipts", receipts},
		{"publish again", publishAgain},
		{"losers", losers},
		{"abort", abort},
		{"clean", clean},
		{"no rows", noRows},
		{"modes", modes},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, c) })
	}
}

// job is one job's use of a sink.
type job struct {
	t      *testing.T
	sink   dataflow.Sink
	commit dataflow.Commit
	mem    *memory.CheckedAllocator
}

func begin(t *testing.T, p Place, name string, mode dataflow.Mode) *job {
	t.Helper()
	j := &job{t: t, sink: p.Sink, commit: dataflow.Commit{Job: name, Mode: mode}, mem: memory.NewCheckedAllocator(memory.DefaultAllocator)}
	t.Cleanup(func() { j.mem.AssertSize(t, 0) })
	prepared, err := p.Sink.Prepare(t.Context(), j.commit)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	again, err := p.Sink.Prepare(t.Context(), j.commit)
	if err != nil || !bytes.Equal(prepared, again) {
		t.Fatalf("prepare says %s, then %s, %v", prepared, again, err)
	}
	j.commit.Prepared = prepared
	return j
}

func (j *job) open(part, attempt int) dataflow.Writer {
	j.t.Helper()
	env := dataflow.NewEnv(j.t.Context())
	env.Alloc = j.mem
	env.Task = dataflow.TaskID{Job: j.commit.Job, Stage: 1, Index: part, Attempt: attempt}
	env.Output = dataflow.Output{Commit: j.commit, Part: part}
	w, err := j.sink.Open(env)
	if err != nil {
		j.t.Fatalf("open: %v", err)
	}
	return w
}

func (j *job) write(w dataflow.Writer, batches ...arrow.RecordBatch) {
	j.t.Helper()
	for _, b := range batches {
		if err := w.Write(j.t.Context(), b); err != nil {
			j.t.Fatalf("write: %v", err)
		}
	}
}

func (j *job) seal(part, attempt int, batches ...arrow.RecordBatch) dataflow.Receipt {
	j.t.Helper()
	w := j.open(part, attempt)
	j.write(w, batches...)
	r, err := w.Seal(j.t.Context())
	if err != nil {
		j.t.Fatalf("seal: %v", err)
	}
	return r
}

func (j *job) publish(won ...dataflow.Receipt) {
	j.t.Helper()
	if err := j.sink.Publish(j.t.Context(), j.commit, won); err != nil {
		j.t.Fatalf("publish: %v", err)
	}
}

func (j *job) clean() {
	j.t.Helper()
	for range 2 {
		if err := j.sink.Clean(context.WithoutCancel(j.t.Context()), j.commit); err != nil {
			j.t.Fatalf("clean: %v", err)
		}
	}
}

// whole writes all batches, one a part.
func (j *job) whole(batches []arrow.RecordBatch) {
	j.t.Helper()
	var won []dataflow.Receipt
	for i, b := range batches {
		won = append(won, j.seal(i, 0, b))
	}
	j.publish(won...)
	j.clean()
}

// Read reads all splits of a source, in order of rows as they are printed.
func Read(t *testing.T, src dataflow.Source, hint dataflow.SplitHint) []string {
	t.Helper()
	splits, err := src.Splits(t.Context(), hint)
	if err != nil {
		t.Fatalf("splits: %v", err)
	}
	var rows []string
	for _, sp := range splits {
		got, err := ReadSplit(t, src, sp)
		if err != nil {
			t.Fatalf("split %s: %v", sp.ID, err)
		}
		rows = append(rows, got...)
	}
	slices.Sort(rows)
	return rows
}

// ReadSplit reads one split to its end.
func ReadSplit(t *testing.T, src dataflow.Source, sp dataflow.Split) ([]string, error) {
	t.Helper()
	env := dataflow.NewEnv(t.Context())
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	env.Alloc = mem
	s, err := src.Open(env, sp)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var rows []string
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			if _, err := s.Next(t.Context()); err != io.EOF {
				t.Errorf("split %s: after the end: %v, want EOF again", sp.ID, err)
			}
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		if b.NumRows() == 0 {
			t.Errorf("split %s: an empty batch", sp.ID)
		}
		rows = append(rows, Strings(b)...)
		b.Release()
	}
}

// Strings prints the rows of some batches, nulls and empty strings apart.
func Strings(batches ...arrow.RecordBatch) []string {
	var rows []string
	for _, b := range batches {
		for i := range int(b.NumRows()) {
			var s strings.Builder
			for _, col := range b.Columns() {
				if col.IsNull(i) {
					s.WriteString("null ")
				} else {
					fmt.Fprintf(&s, "%q ", col.ValueStr(i))
				}
			}
			rows = append(rows, s.String())
		}
	}
	return rows
}

func sorted(batches ...arrow.RecordBatch) []string {
	rows := Strings(batches...)
	slices.Sort(rows)
	return rows
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d rows %.300v, want %d rows %.300v", what, len(got), got, len(want), want)
	}
}

// nothing checks that no trace of a place's use is left but what is listed.
func nothing(t *testing.T, p Place, what string, but []string) {
	t.Helper()
	if p.Left != nil {
		if left := p.Left(); !slices.Equal(left, but) {
			t.Errorf("%s: left are %v, want %v", what, left, but)
		}
	}
}

func roundTrip(t *testing.T, c Connector) {
	p := c.New(t)
	begin(t, p, "job-a", dataflow.Fail).whole(c.Batches)
	want := sorted(c.Batches...)
	for _, hint := range []dataflow.SplitHint{{}, {Slots: 1}, {Slots: 64}, {Slots: 2, MaxBytes: 23}, {MaxBytes: 101}} {
		same(t, fmt.Sprintf("cut by %+v", hint), Read(t, p.Source, hint), want)
	}
	schema, err := p.Source.Schema(t.Context())
	if err != nil || schema.NumFields() != int(c.Batches[0].NumCols()) {
		t.Errorf("schema is %v, %v, want that of %v", schema, err, c.Batches[0].Schema())
	}
	if p.Visible != nil {
		nothing(t, p, "after the job", p.Visible())
	}
}

func splitsAreStable(t *testing.T, c Connector) {
	p := c.New(t)
	begin(t, p, "job-a", dataflow.Fail).whole(c.Batches)
	hint := dataflow.SplitHint{Slots: 3, MaxBytes: 47}
	a, err := p.Source.Splits(t.Context(), hint)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Source.Splits(t.Context(), hint)
	if err != nil {
		t.Fatal(err)
	}
	equal := func(x, y dataflow.Split) bool {
		return x.ID == y.ID && x.Bytes == y.Bytes && bytes.Equal(x.Payload, y.Payload) && slices.Equal(x.Hosts, y.Hosts)
	}
	if !slices.EqualFunc(a, b, equal) {
		t.Errorf("splits are %+v, then %+v", a, b)
	}
	seen := map[string]bool{}
	for _, sp := range a {
		if seen[sp.ID] {
			t.Errorf("two splits are called %s", sp.ID)
		}
		seen[sp.ID] = true
		one, err1 := ReadSplit(t, p.Source, sp)
		two, err2 := ReadSplit(t, p.Source, sp)
		if err1 != nil || err2 != nil || !slices.Equal(one, two) {
			t.Errorf("split %s reads %v, then %v (%v, %v)", sp.ID, one, two, err1, err2)
		}
	}
}

func sealedIsInvisible(t *testing.T, c Connector) {
	p := c.New(t)
	if p.Visible == nil {
		t.Skip("the connector cannot say what is visible")
	}
	before := p.Visible()
	j := begin(t, p, "job-a", dataflow.Fail)
	r := j.seal(0, 0, c.Batches...)
	w := j.open(1, 0)
	j.write(w, c.Batches[0])
	if now := p.Visible(); !slices.Equal(now, before) {
		t.Errorf("visible before publish are %v, before there were %v", now, before)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	j.publish(r)
	j.clean()
	same(t, "after publish", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
}

func receipts(t *testing.T, c Connector) {
	p := c.New(t)
	j := begin(t, p, "job-a", dataflow.Fail)
	var rows int64
	var hash uint64
	for _, b := range c.Batches {
		h, err := dataflow.RowHash(b)
		if err != nil {
			t.Fatal(err)
		}
		hash += h
		rows += b.NumRows()
	}
	w := j.open(0, 7)
	var single []arrow.RecordBatch // row by row, last first
	for _, b := range slices.Backward(c.Batches) {
		for i := b.NumRows() - 1; i >= 0; i-- {
			single = append(single, b.NewSlice(i, i+1))
		}
	}
	j.write(w, single...)
	for _, b := range single {
		b.Release()
	}
	r, err := w.Seal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Rows != rows || r.Hash != hash && r.Hash != 0 || r.Bytes <= 0 || r.Task.Attempt != 7 {
		t.Errorf("receipt %+v, want %d rows of hash %#x by attempt 7", r, rows, hash)
	}
	again, err := w.Seal(t.Context())
	if err != nil || !bytes.Equal(again.Payload, r.Payload) {
		t.Errorf("sealed again: %v, %v", again, err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("abort after seal: %v", err)
	}
	j.publish(r)
	j.clean()
	same(t, "sealed twice, aborted, published", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
}

func publishAgain(t *testing.T, c Connector) {
	p := c.New(t)
	j := begin(t, p, "job-a", dataflow.Fail)
	r := j.seal(0, 0, c.Batches...)
	for range 3 {
		j.publish(r)
	}
	same(t, "published three times", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
	j.clean()
	same(t, "and cleaned", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
}

func losers(t *testing.T, c Connector) {
	p := c.New(t)
	j := begin(t, p, "job-a", dataflow.Fail)
	j.seal(0, 0, c.Batches...)
	won := j.seal(0, 1, c.Batches...)
	late := j.open(0, 2)
	j.write(late, c.Batches[0])
	j.publish(won)
	if err := late.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	j.clean()
	same(t, "one winner of three", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
	if p.Visible != nil {
		nothing(t, p, "after the losers", p.Visible())
	}
}

func abort(t *testing.T, c Connector) {
	p := c.New(t)
	var before []string
	if p.Left != nil {
		before = p.Left()
	}
	j := begin(t, p, "job-a", dataflow.Fail)
	for _, batches := range [][]arrow.RecordBatch{nil, c.Batches} {
		w := j.open(0, 0)
		j.write(w, batches...)
		for range 2 {
			if err := w.Abort(context.WithoutCancel(t.Context())); err != nil {
				t.Errorf("abort: %v", err)
			}
		}
	}
	j.clean()
	nothing(t, p, "after aborts", before)
}

func clean(t *testing.T, c Connector) {
	p := c.New(t)
	var before []string
	if p.Left != nil {
		before = p.Left()
	}
	j := begin(t, p, "job-a", dataflow.Fail)
	j.seal(0, 0, c.Batches...)
	dead := j.open(1, 0)
	j.write(dead, c.Batches...)
	j.clean()
	nothing(t, p, "after a job that failed", before)
	if err := dead.Abort(context.WithoutCancel(t.Context())); err != nil {
		t.Logf("abort after clean: %v", err) // it may say that its work is gone
	}
	begin(t, p, "job-b", dataflow.Fail).whole(c.Batches)
	same(t, "the next job", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
}

func noRows(t *testing.T, c Connector) {
	p := c.New(t)
	j := begin(t, p, "job-a", dataflow.Fail)
	j.publish(j.seal(0, 0), j.seal(1, 0, c.Batches...), j.seal(2, 0))
	j.clean()
	same(t, "parts without rows", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
	if !c.Modes {
		return
	}
	p = c.New(t)
	j = begin(t, p, "job-a", dataflow.Fail)
	j.publish(j.seal(0, 0))
	j.clean()
	if _, err := p.Sink.Prepare(t.Context(), dataflow.Commit{Job: "job-b", Mode: dataflow.Fail}); !errors.Is(err, dataflow.ErrOutputExists) {
		t.Errorf("an output without rows: %v, want that it exists", err)
	}
}

func modes(t *testing.T, c Connector) {
	if !c.Modes {
		t.Skip("the sink knows no modes")
	}
	p := c.New(t)
	first, rest := c.Batches[:1], c.Batches[1:]
	begin(t, p, "job-a", dataflow.Append).whole(first)
	same(t, "append to nothing", Read(t, p.Source, dataflow.SplitHint{}), sorted(first...))
	_, err := p.Sink.Prepare(t.Context(), dataflow.Commit{Job: "job-b", Mode: dataflow.Fail})
	var e *dataflow.Error
	if !errors.Is(err, dataflow.ErrOutputExists) || dataflow.KindOf(err) != dataflow.User || !errors.As(err, &e) || e.Try == "" {
		t.Errorf("prepare of an output that exists: %v, want ErrOutputExists of kind user that says what to try", err)
	}
	begin(t, p, "job-c", dataflow.Append).whole(rest)
	same(t, "append", Read(t, p.Source, dataflow.SplitHint{}), sorted(c.Batches...))
	begin(t, p, "job-d", dataflow.Replace).whole(first)
	same(t, "replace", Read(t, p.Source, dataflow.SplitHint{}), sorted(first...))

	// Two that were told the output is free: one wins, the other learns it.
	p = c.New(t)
	a, b := begin(t, p, "job-a", dataflow.Fail), begin(t, p, "job-b", dataflow.Fail)
	ra, rb := a.seal(0, 0, first...), b.seal(0, 0, rest...)
	b.publish(rb)
	if err := p.Sink.Publish(t.Context(), a.commit, []dataflow.Receipt{ra}); !errors.Is(err, dataflow.ErrOutputExists) {
		t.Errorf("the second of two publishers: %v, want that the output exists", err)
	}
	a.clean()
	b.clean()
	same(t, "two in mode fail", Read(t, p.Source, dataflow.SplitHint{}), sorted(rest...))
	if p.Visible != nil {
		nothing(t, p, "after both", p.Visible())
	}
}
