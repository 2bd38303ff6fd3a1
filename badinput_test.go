package divisi_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

// sale is a row of the tests' CSV files.
type sale struct {
	Item  string `df:"item"`
	Count int64  `df:"count"`
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// parts is the text of all parts of an output.
func parts(t *testing.T, out string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	slices.Sort(lines)
	return lines
}

// nothingLeft fails unless an output and all attempts at it are gone.
func nothingLeft(t *testing.T, out string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left behind: %s", e.Name())
	}
}

func TestDeadLetterKeepsWhatCannotBeRead(t *testing.T) {
	var text strings.Builder
	var good, bad []string
	for i := range 2000 {
		line := fmt.Sprintf("item-%d\t%d", i%7, i)
		if i%3 == 0 {
			line = fmt.Sprintf("item-%d\tmany-%d", i%7, i)
			bad = append(bad, line)
		} else {
			good = append(good, line)
		}
		text.WriteString(line + "\n")
	}
	in := write(t, text.String())
	for _, n := range []int{1, 2, 7} {
		dir := t.TempDir()
		out, dead := filepath.Join(dir, "out"), filepath.Join(dir, "bad")
		s, err := divisi.Run(context.Background(), func(j *df.Job) {
			rows := df.Read(j, df.FromTSV[sale](j.Arg(0)).DeadLetter(j.Arg(2)))
			df.Write(df.Repartition(rows, n), df.TSV[sale](j.Arg(1)))
		}, []string{in, out, dead}, divisi.Parallelism(2), divisi.TempDir(t.TempDir()), divisi.Check())
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(good)
		if got := parts(t, out); !slices.Equal(got, good) {
			t.Errorf("%d partitions: %d good rows, want %d", n, len(got), len(good))
		}
		var kept []string
		for _, line := range parts(t, dead) {
			var r df.Reject
			if err := json.Unmarshal([]byte(line), &r); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(r.Position, in+":") || r.Reason == "" {
				t.Errorf("a bad record is kept as %+v", r)
			}
			kept = append(kept, r.Record)
		}
		slices.Sort(kept)
		slices.Sort(bad)
		if !slices.Equal(kept, bad) {
			t.Errorf("%d bad records kept, want %d", len(kept), len(bad))
		}
		if n := s.Counters["files.bad_records"]; n != int64(len(bad)) {
			t.Errorf("counted %d bad records, want %d", n, len(bad))
		}
	}
}

// A badRow is one thing that can be wrong. The job's arguments are in and an output.
type badRow struct {
	name  string
	job   func(*df.Job)
	in    string
	out   string // a new folder's where it is ""
	is    error  // what errors.Is finds
	says  []string
	hides string // what no error says
	mode  df.Mode
	slots int // 2 where it is 0
	// tried: the failure may pass, so it is tried again before the job fails.
	tried bool
}

// failBudget is the memory that a failing job is given, and heapMost what it may take of
// the heap whatever its input claims.
const (
	failBudget = 64 << 20
	heapMost   = 3 * failBudget
)

// run holds a failure to its name: it says what, where and why, at the first attempt, in
// bounded memory, and leaves nothing behind.
func (c badRow) run(t *testing.T) {
	t.Helper()
	out := c.out
	if out == "" {
		out = filepath.Join(t.TempDir(), "out")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	taken := watchHeap()
	sum, err := divisi.Run(ctx, c.job, []string{c.in, out}, divisi.Parallelism(cmp.Or(c.slots, 2)), divisi.Mode(cmp.Or(c.mode, df.Fail)),
		divisi.Memory(failBudget), divisi.TempDir(t.TempDir()))
	if most := taken(); most > heapMost {
		t.Errorf("%d MiB of heap were taken, the budget is %d MiB", most>>20, failBudget>>20)
	}
	if err == nil {
		t.Fatal("the job succeeded")
	}
	t.Logf("%v", err)
	if c.is == nil || !errors.Is(err, c.is) {
		t.Errorf("the error is not %q: %v", c.is, err)
	}
	for _, want := range c.says {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if c.hides != "" && strings.Contains(err.Error(), c.hides) {
		t.Errorf("the error shows %q: %v", c.hides, err)
	}
	if again := sum.Retries > 0 || strings.Contains(err.Error(), "times, the last time"); again != c.tried {
		t.Errorf("tried again: %v, want %v: %v", again, c.tried, err)
	}
	if c.out == "" {
		nothingLeft(t, out)
	}
}

// watchHeap begins to look at the heap; the function ends that and says by how much it
// has grown at most.
func watchHeap() func() int64 {
	size := func() int64 {
		s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(s)
		return int64(s[0].Value.Uint64())
	}
	runtime.GC()
	first := size()
	ended, most := make(chan struct{}), make(chan int64)
	go func() {
		n := first
		for {
			select {
			case <-ended:
				most <- n - first
				return
			case <-time.After(2 * time.Millisecond):
				n = max(n, size())
			}
		}
	}()
	return func() int64 { close(ended); return <-most }
}

func (c badRow) runNamed(t *testing.T) { t.Run(c.name, c.run) }

func runBad(t *testing.T, rows []badRow) {
	for _, c := range rows {
		c.runNamed(t)
	}
}

// copyLines and copyRows are the jobs of most tables.
func copyLines(j *df.Job) { df.Write(df.Read(j, df.Lines(j.Arg(0))), df.Text(j.Arg(1))) }

func copyRows[T any](from func(...string) df.FileSource[T]) func(*df.Job) {
	return func(j *df.Job) { df.Write(df.Read(j, from(j.Arg(0))), df.JSONLines[T](j.Arg(1))) }
}

// TestBadText: formats that are lines of text.
func TestBadText(t *testing.T) {
	malformed := write(t, "a\t1\nb\ttwo\n")
	long := write(t, "short\n"+strings.Repeat("x", 5000)+"\n")
	csv := func(text string) string { return write(t, "item,count\na,1\n"+text) }
	openQuote, ragged, number, header := csv("\"b,2\n"), csv("b,2,3\n"), csv("b,many\n"), write(t, "item,number\na,1\n")
	twice, after, many := write(t, "item,count,count\na,1,1\n"), csv("\"b\"x,2\n"), csv("b,99999999999999999999\n")
	jsonl := func(text string) string { return write(t, "{\"item\":\"a\",\"count\":1}\n"+text) }
	half, typed, list, latin, big, missing := jsonl(`{"item":"b",`), jsonl(`{"item":"b","count":"2"}`), jsonl(`["b",2]`),
		jsonl("{\"item\":\"\xe9\",\"count\":2}"), jsonl(`{"item":"b","count":1e30}`), jsonl(`{"item":"b"}`)
	deep := jsonl(`{"item":"b","count":2,"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + "}")
	cut := write(t, strings.Repeat("k", 10)+strings.Repeat("v", 90)+"short")
	records := func(j *df.Job) {
		df.Write(df.Read(j, df.FromRecords(10, 100, j.Arg(0))), df.Records(10, 100, j.Arg(1)))
	}
	runBad(t, []badRow{
		{name: "tsv: no number", job: copyRows(df.FromTSV[sale]), in: malformed, is: df.ErrMalformed, says: []string{malformed + ":4", `"b\ttwo"`, "count"}},
		{name: "tsv: a struct in a column", job: copyRows(df.FromTSV[df.Pair[string, sale]]), in: malformed, is: df.ErrColumns, says: []string{malformed, "column value"}},
		{name: "tsv: a column is missing", job: copyRows(df.FromTSV[sale]), in: write(t, "a\t1\nb\n"), is: df.ErrMalformed, says: []string{`in:4`, `"b"`}},
		{name: "tsv: too many bad rows", job: func(j *df.Job) {
			df.Write(df.Read(j, df.FromTSV[sale](j.Arg(0)).SkipBad(1)), df.TSV[sale](j.Arg(1)))
		}, in: write(t, "a\tx\nb\ty\nc\t1\n"), is: df.ErrMalformed, says: []string{"2 bad records", "skips 1"}},
		{name: "text: a record over the limit", job: func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0)).MaxRecordBytes(1000)), df.Text(j.Arg(1)))
		}, in: long, is: df.ErrRecordTooLarge, says: []string{long + ":6", "1000"}},
		{name: "records: the last is cut", job: records, in: cut, is: df.ErrMalformed, says: []string{cut + ":100", "5 of 100 bytes"}},
		{name: "csv: a quote stays open", job: copyRows(df.FromCSV[sale]), in: openQuote, is: df.ErrMalformed, says: []string{openQuote + ":15", "quoted field does not end"}},
		{name: "csv: text behind a quote", job: copyRows(df.FromCSV[sale]), in: after, is: df.ErrMalformed, says: []string{after + ":15", "follows a quoted field"}},
		{name: "csv: too many fields", job: copyRows(df.FromCSV[sale]), in: ragged, is: df.ErrMalformed, says: []string{ragged + ":15", "3 fields, want 2"}},
		{name: "csv: no number", job: copyRows(df.FromCSV[sale]), in: number, is: df.ErrMalformed, says: []string{number + ":15", "count", `"many"`}},
		{name: "csv: a number too large", job: copyRows(df.FromCSV[sale]), in: many, is: df.ErrMalformed, says: []string{many + ":15", "count"}},
		{name: "csv: a column is missing", job: copyRows(df.FromCSV[sale]), in: header, is: df.ErrColumns, says: []string{header, `"count"`, "header"}},
		{name: "csv: a column comes twice", job: copyRows(df.FromCSV[sale]), in: twice, is: df.ErrColumns, says: []string{twice, `"count" twice`}},
		{name: "jsonl: half an object", job: copyRows(df.FromJSONLines[sale]), in: half, is: df.ErrMalformed, says: []string{half + ":23", "no valid JSON", `{\"item\":\"b\",`}},
		{name: "jsonl: no object", job: copyRows(df.FromJSONLines[sale]), in: list, is: df.ErrMalformed, says: []string{list + ":23", "no JSON object"}},
		{name: "jsonl: a string for a number", job: copyRows(df.FromJSONLines[sale]), in: typed, is: df.ErrMalformed, says: []string{typed + ":23", "count", "is a string"}},
		{name: "jsonl: a number too large", job: copyRows(df.FromJSONLines[sale]), in: big, is: df.ErrMalformed, says: []string{big + ":23", "count", "1e30"}},
		{name: "jsonl: a key in other letters", job: copyRows(df.FromJSONLines[sale]), in: put(t, "capitals.jsonl", []byte(`{"item":"a","COUNT":1}`)), is: df.ErrMalformed, says: []string{"count", `the object has "COUNT"`, `df:"COUNT"`}},
		{name: "jsonl: a value is missing", job: copyRows(df.FromJSONLines[sale]), in: missing, is: df.ErrMalformed, says: []string{missing + ":23", "count"}},
		{name: "jsonl: bad UTF-8", job: copyRows(df.FromJSONLines[sale]), in: latin, is: df.ErrMalformed, says: []string{latin + ":23", "UTF-8", `\xe9`}},
		{name: "jsonl: a million brackets", job: copyRows(df.FromJSONLines[sale]), in: deep, is: df.ErrMalformed, says: []string{deep + ":23", "no valid JSON"}},
	})
}

func TestOutputThatExists(t *testing.T) {
	in := write(t, "one\n")
	out := filepath.Join(t.TempDir(), "out")
	run := func(m df.Mode) error {
		_, err := divisi.Run(context.Background(), func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0))), df.Text(j.Arg(1)))
		}, []string{in, out}, divisi.Mode(m), divisi.TempDir(t.TempDir()))
		return err
	}
	if err := run(df.Fail); err != nil {
		t.Fatal(err)
	}
	if err := run(df.Fail); err == nil || !strings.Contains(err.Error(), out) || !strings.Contains(err.Error(), "--mode") {
		t.Errorf("an output that exists: %v", err)
	}
	if got := parts(t, out); !slices.Equal(got, []string{"one"}) {
		t.Errorf("after the refusal: %q", got)
	}
	if err := run(df.Append); err != nil {
		t.Fatal(err)
	}
	if got := parts(t, out); !slices.Equal(got, []string{"one", "one"}) {
		t.Errorf("after append: %q", got)
	}
	if err := run(df.Replace); err != nil {
		t.Fatal(err)
	}
	if got := parts(t, out); !slices.Equal(got, []string{"one"}) {
		t.Errorf("after replace: %q", got)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := filepath.Join(t.TempDir(), "out")
	_, err := divisi.Run(ctx, func(j *df.Job) {
		rows := df.Read(j, df.FromSlice(make([]int64, 1000)).Splits(10))
		df.Write(df.Map(rows, func(n int64) int64 { cancel(); return n }), df.TSV[int64](j.Arg(0)))
	}, []string{out}, divisi.TempDir(t.TempDir()))
	if err == nil || !errors.Is(err, context.Canceled) && !strings.Contains(err.Error(), "cancel") {
		t.Errorf("a cancelled job: %v", err)
	}
	nothingLeft(t, out)
}

// TestHugeLine: a line of a gigabyte ends a job by name, within its budget, whether the
// limit of a record or the memory is less.
func TestHugeLine(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: it takes seconds")
	}
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("short\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(in, 1<<30); err != nil { // the rest is a hole, which reads as zeros
		t.Fatal(err)
	}
	const budget = 256 << 20
	for name, most := range map[string]int64{"the usual limit": 0, "a limit above the memory": 1 << 30} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			taken := watchHeap()
			_, err := divisi.Run(t.Context(), func(j *df.Job) {
				df.Write(df.Read(j, df.Lines(j.Arg(0)).MaxRecordBytes(most)), df.Text(j.Arg(1)))
			}, []string{in, out}, divisi.Parallelism(1), divisi.Memory(budget), divisi.TempDir(t.TempDir()))
			if most := taken(); most > budget {
				t.Errorf("%d MiB of heap were taken, the budget is %d MiB", most>>20, budget>>20)
			}
			if !errors.Is(err, df.ErrRecordTooLarge) || !strings.Contains(err.Error(), in+":6") {
				t.Errorf("a line of a gigabyte: %v", err)
			}
			nothingLeft(t, out)
		})
	}
}
