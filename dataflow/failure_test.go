package dataflow

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

func boomAt(v int) func(int) int {
	return func(x int) int {
		if x == v {
			var m map[string]int
			m["x"] = x //lint:ignore SA5000 it is to panic
		}
		return x
	}
}

var errNoGood = errors.New("no good")

func TestFailuresNameOperatorSiteAndRecord(t *testing.T) {
	numbers := func(j *Job) Dataset[int] { return Read(j, FromSlice([]int{10, 11, 12, 13, 14})) }
	for name, c := range map[string]struct {
		build func(j *Job)
		want  []string
	}{
		"map": {func(j *Job) { Write(Map(numbers(j), boomAt(13)).Named("my step"), CSV[int]("o")) },
			[]string{"my step (dataflow/failure_test.go:", `: record "13"`, "panic: assignment to entry in nil map", "boomAt"}},
		"after filter": {func(j *Job) {
			d := Map(numbers(j), func(x int) int { return x + 1 }).Named("first")
			Write(Filter(Map(d, boomAt(13)), func(int) bool { return true }), CSV[int]("o"))
		}, []string{"Map (dataflow/failure_test.go:", `"1`, "panic"}},
		"flatmap after emit": {func(j *Job) {
			d := FlatMap(numbers(j), func(x int, emit Emit[int]) {
				emit(x)
				if x == 12 {
					panic("late")
				}
			})
			Write(Map(d, boomAt(99)).Named("other"), CSV[int]("o"))
		}, []string{"FlatMap (", `record "12"`, "panic: late"}},
		"error": {func(j *Job) {
			Write(MapErr(numbers(j), func(x int) (int, error) {
				if x == 14 {
					return 0, errNoGood
				}
				return x, nil
			}), CSV[int]("o"))
		}, []string{"Map (", `record "14"`, "no good"}},
		"flat error": {func(j *Job) {
			Write(FlatMapErr(numbers(j), func(x int, emit Emit[int]) error { emit(x); return errNoGood }), CSV[int]("o"))
		}, []string{"FlatMap (", `record "10"`, "no good"}},
		"long record": {func(j *Job) {
			d := Read(j, FromSlice([]string{strings.Repeat("é", 1000)}))
			Write(Map(d, func(string) int { panic("x") }), CSV[int]("o"))
		}, []string{strings.Repeat("é", 128) + `"...`}},
		"reduce": {func(j *Job) {
			g := GroupByKey(KeyBy(numbers(j), func(x int) int { return x % 2 }))
			Write(MapGroups(g, func(k int, vs iter.Seq[int], emit Emit[int]) {
				for v := range vs {
					emit(boomAt(13)(v))
				}
			}), CSV[int]("o"))
		}, []string{"MapGroups (", `{Key:1 Value:13}`, "nil map"}},
		"finish": {func(j *Job) {
			Write(Combine(KeyBy(numbers(j), func(x int) string { return "k" }), func(a, b int) int { panic("merge") }), CSV[Pair[string, int]]("o"))
		}, []string{"Combine (partial) (", `record "11"`, "panic: merge"}},
		"encode": {func(j *Job) {
			Write(Map(numbers(j), func(x int) time.Time { return time.Unix(1<<40, 0) }), CSV[time.Time]("o"))
		}, []string{"Map (", "does not fit a timestamp"}},
		"fail": {func(j *Job) {
			Write(FilterTask(numbers(j), func(t *Task) func(int) bool { t.Fail(errNoGood); return nil }), CSV[int]("o"))
		}, []string{"Filter (", "no good"}},
		"file": {func(j *Job) {
			Write(FilterTask(numbers(j), func(t *Task) func(int) bool {
				if _, err := t.File("x"); err != nil {
					t.Fail(err)
				}
				return nil
			}), CSV[int]("o"))
		}, []string{"Filter (", "ship it with Job.File"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := build(t, c.build)
			settings(t, func(t *testing.T, in *interpreter) {
				_, err := tryCollect[struct{ X int }](in, g, 0)
				if err == nil {
					t.Fatal("no error")
				}
				if KindOf(err) != User {
					t.Errorf("kind %v", KindOf(err))
				}
				if (name == "reduce" || name == "finish") && in.parts > 1 {
					return // the record differs
				}
				for _, w := range c.want {
					if !strings.Contains(err.Error(), w) {
						t.Errorf("%q is not in\n%v", w, err)
					}
				}
			})
		})
	}
}

func TestKindsOfReturnedErrorsAreKept(t *testing.T) {
	g := build(t, func(j *Job) {
		Write(MapErr(Read(j, FromSlice([]int{1})), func(int) (int, error) {
			return 0, &Error{Kind: Transient, Err: errNoGood}
		}), CSV[int]("o"))
	})
	_, err := tryCollect[int](&interpreter{t: t, batchRows: 1, parts: 1}, g, 0)
	if KindOf(err) != Transient || !errors.Is(err, errNoGood) {
		t.Error(err)
	}
}

// A run that is left early, or cancelled, frees all it holds and calls nothing more.
func TestEarlyClose(t *testing.T) {
	g := build(t, func(j *Job) {
		d := FlatMap(Read(j, FromSlice([]int{1, 2, 3})), func(x int, emit Emit[int]) {
			for i := range 1 << 40 { // endless, and yet bounded
				emit(i)
			}
		})
		Write(Sum(KeyBy(d, func(x int) int { return x % 7 })), CSV[Pair[int, int]]("o"))
		Write(d, CSV[int]("p"))
	})
	var op Operator
	for _, n := range g.Nodes {
		if n.Name == "FlatMap" {
			op = n.Op
		}
	}
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	in := &interpreter{t: t, mem: mem, batchRows: 100, g: g, done: map[*Node][][]Batch{}, counters: NewCounters()}
	defer in.release()
	rows := in.rows(g.Nodes[0])
	s, err := op.Open(in.env(), in.stream(rows[0]))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b, err := s.Next(t.Context())
		if err != nil || b.NumRows() != 100 {
			t.Fatal(b, err)
		}
		b.Release()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context()); err == nil {
		t.Error("a closed stream goes on")
	}

	s, err = op.Open(in.env(), in.stream(rows[0]))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // before anything was read
		t.Fatal(err)
	}

	s, err = op.Open(in.env(), in.stream(rows[0]))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) || KindOf(err) != Canceled {
		t.Errorf("cancelled, and got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpillIsUsed(t *testing.T) {
	rows := sales(40_000, 30_000)
	g := build(t, func(j *Job) { Write(Sum(Read(j, FromSlice(rows))), CSV[Pair[string, int64]]("o")) })
	in := &interpreter{t: t, batchRows: 1000, parts: 1, fuse: true, limit: 1 << 16}
	got := flat(collect[Pair[string, int64]](in, g, 0))
	want := map[string]int64{}
	for _, r := range rows {
		want[r.Key] += r.Value
	}
	wantRows(t, got, pairsOf(want))
	if in.spilled <= spillWays {
		t.Errorf("%d runs: the runs were not divided again", in.spilled)
	}
	// Without a place to spill to it fails by name and does not take more.
	in = &interpreter{t: t, batchRows: 1000, parts: 1, limit: 1 << 16, noSpill: true}
	if _, err := tryCollect[Pair[string, int64]](in, g, 0); KindOf(err) != OutOfMemory {
		t.Errorf("got %v", err)
	}
}

func TestGraphErrorsComeTogether(t *testing.T) {
	j := NewJob("bad", []string{"--n", "x", "in", "--what"})
	n := j.Int("n", 3, "a `number` of things")
	lines := Read(j, Lines(j.Arg(0)))
	Write(Map(lines, func(string) chan int { return nil }), CSV[chan int](j.Arg(1)))
	Write(SortBy(lines, Asc("size")), Text("out"))
	Write(Sort(lines, func(string) []int { return nil }), Text("out"))
	Write(Join(KeyBy(lines, func(string) *int { return nil }), KeyBy(lines, func(string) *int { return nil })), CSV[Pair[*int, Joined[string, string]]]("out"))
	Write(PartitionBy(lines, "part"), Text("out"))
	Write(PartitionBy(lines, "line"), Text("out"))
	Write(SortWithin(lines, Asc("line"), Partitions(3)), Text("out"))
	j.Errorf("my own: %d", n)
	_, err := j.Graph()
	if err == nil || KindOf(err) != User {
		t.Fatal(err)
	}
	for _, want := range []string{
		`flag --n: "x": parse error`, "flags of bad:", "-n number", "flag --what is unknown",
		"argument 2 is missing", "chan int cannot be a column", `there is no column "size" (the columns are line)`,
		"[]int has no order", "*int cannot be a key", "my own: 3",
		`there is no column "part" of type int32`, `there is no column "line" of type int32`, "SortWithin: it keeps the rows where they are",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	for _, line := range strings.Split(err.Error(), "\n") {
		if strings.Contains(line, "cannot") && !strings.Contains(line, "dataflow/failure_test.go:") {
			t.Errorf("no place in: %s", line)
		}
	}
	if _, err := NewJob("empty", nil).Graph(); err == nil || !strings.Contains(err.Error(), "writes nothing") {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	j := NewJob("x", []string{"a", "--n", "5", "-verbose", "b", "--name=joe", "-1.5", "--wait", "2s", "--ratio", "-3", "--", "--n", "c"})
	if n, v, s := j.Int("n", 1, ""), j.Bool("verbose", false, ""), j.String("name", "", ""); n != 5 || !v || s != "joe" {
		t.Error(n, v, s)
	}
	d := j.Flags().Duration("wait", 0, "")
	r := j.Float("ratio", 1, "")
	if got := fmt.Sprint(j.Args()); got != "[a b -1.5 --n c]" || *d != 2*time.Second || r != -3 {
		t.Error(got, *d, r)
	}
	if j.Arg(1) != "b" {
		t.Error(j.Arg(1))
	}
	j.File("dict", "/data/dict")
	j.File("dict", "/data/other")
	j.File("a/b", "/data/other")
	j.Int("late", 0, "")
	_, err := j.Graph()
	for _, want := range []string{"shipped twice", "has no folder in it", "declare flags first"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
