package divisi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
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

// TestBadInput holds failures to their names: each says what, where and why, and leaves
// nothing behind.
func TestBadInput(t *testing.T) {
	lines := func(j *df.Job) { df.Write(df.Read(j, df.Lines(j.Arg(0))), df.Text(j.Arg(1))) }
	sales := func(j *df.Job) { df.Write(df.Read(j, df.FromTSV[sale](j.Arg(0))), df.TSV[sale](j.Arg(1))) }
	missing := filepath.Join(t.TempDir(), "nowhere")
	malformed := write(t, "a\t1\nb\ttwo\n")
	long := write(t, "short\n"+strings.Repeat("x", 5000)+"\n")
	for _, c := range []struct {
		name string
		job  func(*df.Job)
		in   string
		is   error
		says []string
	}{
		{"a missing path", lines, missing, os.ErrNotExist, []string{missing}},
		{"a glob that matches nothing", lines, missing + "/*.txt", nil, []string{missing + "/*.txt"}},
		{"an unknown scheme", lines, "gopher://host/file", nil, []string{"gopher://"}},
		{"a malformed row", sales, malformed, df.ErrMalformed, []string{malformed + ":4", `"b\ttwo"`, "count"}},
		{"too many bad rows", func(j *df.Job) {
			df.Write(df.Read(j, df.FromTSV[sale](j.Arg(0)).SkipBad(1)), df.TSV[sale](j.Arg(1)))
		}, write(t, "a\tx\nb\ty\nc\t1\n"), nil, []string{"2 bad records", "skips 1"}},
		{"a record over the limit", func(j *df.Job) {
			df.Write(df.Read(j, df.Lines(j.Arg(0)).MaxRecordBytes(1000)), df.Text(j.Arg(1)))
		}, long, df.ErrRecordTooLarge, []string{long + ":6", "1000"}},
		{"a panic", func(j *df.Job) {
			df.Write(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) string {
				if s == "b\ttwo" {
					panic("no such number")
				}
				return s
			}), df.Text(j.Arg(1)))
		}, malformed, nil, []string{"no such number", malformed + ":4", `"b\ttwo"`, "badinput_test.go"}},
		{"a job that writes nothing", func(j *df.Job) { df.Read(j, df.Lines(j.Arg(0))); j.Arg(1) }, malformed, nil, []string{"writes nothing"}},
		{"a type that is no column", func(j *df.Job) {
			df.Write(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) chan int { return nil }), df.JSONLines[chan int](j.Arg(1)))
		}, malformed, nil, []string{"chan int", "badinput_test.go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			_, err := divisi.Run(context.Background(), c.job, []string{c.in, out}, divisi.Parallelism(2), divisi.TempDir(t.TempDir()))
			if err == nil {
				t.Fatal("the job succeeded")
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			nothingLeft(t, out)
		})
	}
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
