package divisi_test

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/divisitest"
	"github.com/divisi-data/divisi/internal/race"
)

// A typedRow is a row of the random typed jobs.
type typedRow struct {
	Text  string
	Whole int64
	Real  float64
	Time  time.Time
	Maybe *int64
	Parts []string
}

// A typedKey is a key of several parts.
type typedKey struct {
	Text string
	Real float64
	In   struct{ A, B int16 }
}

func typedRows(rng *rand.Rand, n int) []typedRow {
	var rows []typedRow
	for range n {
		r := typedRow{
			Text:  texts[rng.IntN(len(texts))],
			Whole: rng.Int64N(9) - 4,
			Real:  float64(rng.IntN(9)-4) / 2,
			Time:  time.Unix(1700000000+rng.Int64N(4), 0).UTC(),
		}
		switch rng.IntN(12) {
		case 0:
			r.Text = strings.Repeat(r.Text, 40)
		case 1:
			r.Whole = []int64{math.MaxInt64, math.MinInt64}[rng.IntN(2)]
		case 2:
			r.Real = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}[rng.IntN(4)]
		case 3:
			r.Time = time.Time{}
		}
		if rng.IntN(2) == 0 {
			m := rng.Int64N(5)
			r.Maybe = &m
		}
		for range rng.IntN(3) {
			r.Parts = append(r.Parts, texts[rng.IntN(len(texts))])
		}
		rows = append(rows, r)
	}
	return rows
}

func (r typedRow) line() string {
	maybe := "nil"
	if r.Maybe != nil {
		maybe = fmt.Sprint(*r.Maybe)
	}
	return fmt.Sprintf("%q %d %s %s %s %q", r.Text, r.Whole, same(r.Real), r.Time.Format(time.RFC3339), maybe, r.Parts)
}

// A typedJob is a job over two literals, and the lines that loops over them give.
type typedJob struct {
	name  string
	build func(l, r df.Dataset[typedRow]) df.Dataset[string]
	want  func(l, r []typedRow) []string
	// ordered says that the lines are in order.
	ordered bool
}

// byKey gathers rows by the spelling of their keys.
func byKey[K any](rows []typedRow, key func(typedRow) K, spell func(K) string) map[string][]typedRow {
	m := map[string][]typedRow{}
	for _, r := range rows {
		k := spell(key(r))
		m[k] = append(m[k], r)
	}
	return m
}

// lines is rows as lines, in order.
func lines(rows []typedRow) []string {
	var out []string
	for _, r := range rows {
		out = append(out, r.line())
	}
	slices.Sort(out)
	return out
}

// eachKey makes lines of the keys of both sides that have rows in either.
func eachKey(l, r map[string][]typedRow, f func(k string, a, b []typedRow) []string) (out []string) {
	for k, a := range l {
		out = append(out, f(k, a, r[k])...)
	}
	for k, b := range r {
		if l[k] == nil {
			out = append(out, f(k, nil, b)...)
		}
	}
	return out
}

// typedJobs are what is done with keys of a type; absent is a key that has no partner.
func typedJobs[K comparable](name string, key func(typedRow) K, spell func(K) string, less func(a, b K) int, absent func(K) bool) []typedJob {
	type D = df.Dataset[typedRow]
	pairs := func(d D) df.Dataset[df.Pair[K, typedRow]] { return df.KeyBy(d, key) }
	keys := func(rows []typedRow) map[string][]typedRow { return byKey(rows, key, spell) }
	say := func(k K, words ...any) string { return spell(k) + ": " + fmt.Sprintln(words...) }
	told := func(k string, words ...any) string { return k + ": " + fmt.Sprintln(words...) }
	gathered := func(rows map[string][]typedRow, f func(k string, rows []typedRow) string) (out []string) {
		for k, rs := range rows {
			out = append(out, f(k, rs))
		}
		return out
	}
	sum := func(rows []typedRow) (n int64) {
		for _, r := range rows {
			n += r.Whole
		}
		return n
	}
	all := func(rows iter.Seq[typedRow]) string { return strings.Join(lines(slices.Collect(rows)), ";") }
	joined := func(kind string, join func(l, r df.Dataset[df.Pair[K, typedRow]]) df.Dataset[string], left, right, both bool) typedJob {
		return typedJob{kind, func(l, r D) df.Dataset[string] { return join(pairs(l), pairs(r)) }, func(l, r []typedRow) []string {
			var lk, rk []typedRow // those whose key is absent, which have no partner
			has := func(rows []typedRow, none *[]typedRow) (some []typedRow) {
				for _, x := range rows {
					if absent(key(x)) {
						*none = append(*none, x)
					} else {
						some = append(some, x)
					}
				}
				return some
			}
			lm, rm := keys(has(l, &lk)), keys(has(r, &rk))
			f := func(_ string, a, b []typedRow) (out []string) {
				for _, x := range a {
					for _, y := range b {
						if both {
							out = append(out, x.line()+" | "+y.line())
						}
					}
					if len(b) == 0 && left {
						out = append(out, x.line()+" | nobody")
					}
				}
				for _, y := range b {
					if len(a) == 0 && right {
						out = append(out, "nobody | "+y.line())
					}
				}
				return out
			}
			return slices.Concat(eachKey(lm, rm, f), f("", lk, nil), f("", nil, rk))
		}, false}
	}
	line := func(r *typedRow) string {
		if r == nil {
			return "nobody"
		}
		return r.line()
	}
	jobs := []typedJob{
		{"count", func(l, _ D) df.Dataset[string] {
			return df.Map(df.Count(df.Map(l, key)), func(p df.Pair[K, int64]) string { return say(p.Key, p.Value) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, rows []typedRow) string { return told(k, len(rows)) })
		}, false},
		{"distinct", func(l, _ D) df.Dataset[string] {
			return df.Map(df.Distinct(df.Map(l, key)), func(k K) string { return say(k) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, _ []typedRow) string { return told(k) })
		}, false},
		{"combine", func(l, _ D) df.Dataset[string] {
			return df.Map(df.Combine(df.MapValues(pairs(l), func(r typedRow) int64 { return r.Whole }), func(a, b int64) int64 { return a + b }),
				func(p df.Pair[K, int64]) string { return say(p.Key, p.Value) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, rows []typedRow) string { return told(k, sum(rows)) })
		}, false},
		{"aggregate", func(l, _ D) df.Dataset[string] { // what grows with its rows
			agg := df.Aggregator[typedRow, []string, string]{
				Zero:   func() []string { return nil },
				Add:    func(a []string, r typedRow) []string { return append(a, r.line()) },
				Merge:  func(a, b []string) []string { return append(a, b...) },
				Finish: func(a []string) string { slices.Sort(a); return strings.Join(a, ";") },
			}
			return df.Map(df.Aggregate(pairs(l), agg), func(p df.Pair[K, string]) string { return say(p.Key, p.Value) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, rows []typedRow) string { return told(k, strings.Join(lines(rows), ";")) })
		}, false},
		{"groups", func(l, _ D) df.Dataset[string] {
			return df.MapGroups(df.GroupByKey(pairs(l)), func(k K, vs iter.Seq[typedRow], emit df.Emit[string]) { emit(say(k, all(vs))) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, rows []typedRow) string { return told(k, strings.Join(lines(rows), ";")) })
		}, false},
		{"sorted groups", func(l, _ D) df.Dataset[string] {
			g := df.GroupByKeySorted(pairs(l), func(r typedRow) int64 { return r.Whole })
			return df.Map(df.ReduceGroups(g, func(_ K, vs iter.Seq[typedRow]) string {
				var ns []int64
				for r := range vs {
					ns = append(ns, r.Whole)
				}
				return fmt.Sprint(ns)
			}), func(p df.Pair[K, string]) string { return say(p.Key, p.Value) })
		}, func(l, _ []typedRow) []string {
			return gathered(keys(l), func(k string, rows []typedRow) string {
				var ns []int64
				for _, r := range rows {
					ns = append(ns, r.Whole)
				}
				slices.Sort(ns)
				return told(k, fmt.Sprint(ns))
			})
		}, false},
		{"cogroup", func(l, r D) df.Dataset[string] {
			return df.MapCoGroups(df.CoGroup(pairs(l), pairs(r)), func(k K, a, b iter.Seq[typedRow], emit df.Emit[string]) {
				right := all(b)
				emit(say(k, all(a), "|", right))
			})
		}, func(l, r []typedRow) []string {
			return eachKey(keys(l), keys(r), func(k string, a, b []typedRow) []string {
				return []string{told(k, strings.Join(lines(a), ";"), "|", strings.Join(lines(b), ";"))}
			})
		}, false},
		joined("join", func(l, r df.Dataset[df.Pair[K, typedRow]]) df.Dataset[string] {
			return df.Map(df.Join(l, r), func(p df.Pair[K, df.Joined[typedRow, typedRow]]) string {
				return p.Value.Left.line() + " | " + p.Value.Right.line()
			})
		}, false, false, true),
		joined("left join", func(l, r df.Dataset[df.Pair[K, typedRow]]) df.Dataset[string] {
			return df.Map(df.LeftJoin(l, r, df.BroadcastRight()), func(p df.Pair[K, df.Joined[typedRow, *typedRow]]) string {
				return p.Value.Left.line() + " | " + line(p.Value.Right)
			})
		}, true, false, true),
		joined("full join", func(l, r df.Dataset[df.Pair[K, typedRow]]) df.Dataset[string] {
			return df.Map(df.FullJoin(l, r), func(p df.Pair[K, df.Joined[*typedRow, *typedRow]]) string {
				return line(p.Value.Left) + " | " + line(p.Value.Right)
			})
		}, true, true, true),
		joined("anti join", func(l, r df.Dataset[df.Pair[K, typedRow]]) df.Dataset[string] {
			return df.Map(df.AntiJoin(l, r), func(p df.Pair[K, typedRow]) string { return p.Value.line() + " | nobody" })
		}, true, false, false),
		{"sort", func(l, _ D) df.Dataset[string] {
			return df.Map(df.SortByKey(pairs(l)), func(p df.Pair[K, typedRow]) string { return say(p.Key) })
		}, func(l, _ []typedRow) []string {
			var ks []K
			for _, r := range l {
				ks = append(ks, key(r))
			}
			slices.SortFunc(ks, less)
			var out []string
			for _, k := range ks {
				out = append(out, say(k))
			}
			return out
		}, true},
		{"top", func(l, _ D) df.Dataset[string] {
			return df.Map(df.BottomN(l, 5, key), func(r typedRow) string { return say(key(r)) })
		}, func(l, _ []typedRow) []string {
			var out []string
			for _, r := range slices.SortedFunc(slices.Values(l), func(a, b typedRow) int { return less(key(a), key(b)) })[:min(5, len(l))] {
				out = append(out, say(key(r)))
			}
			return out
		}, true},
	}
	if absent(*new(K)) { // what an outer join refuses
		jobs = slices.DeleteFunc(jobs, func(j typedJob) bool { return j.name == "full join" || j.name == "left join" })
	}
	for i := range jobs {
		jobs[i].name += " by " + name
	}
	return jobs
}

func never[K any](K) bool { return false }

func reals(a, b float64) int { return compare(a, b) }

var allTypedJobs = slices.Concat(
	typedJobs("text", func(r typedRow) string { return r.Text }, func(k string) string { return fmt.Sprintf("%q", k) }, strings.Compare, never),
	typedJobs("whole", func(r typedRow) int64 { return r.Whole }, func(k int64) string { return fmt.Sprint(k) }, cmp.Compare[int64], never),
	typedJobs("real", func(r typedRow) float64 { return r.Real }, func(k float64) string { return same(k) }, reals, never),
	typedJobs("time", func(r typedRow) time.Time { return r.Time }, func(k time.Time) string { return k.UTC().Format(time.RFC3339) },
		func(a, b time.Time) int { return a.Compare(b) }, time.Time.IsZero),
	typedJobs("struct", func(r typedRow) typedKey {
		return typedKey{r.Text, r.Real, struct{ A, B int16 }{int16(r.Whole), -1}}
	}, func(k typedKey) string { return fmt.Sprintf("%q %s %v", k.Text, same(k.Real), k.In) }, func(a, b typedKey) int {
		return cmp.Or(strings.Compare(a.Text, b.Text), reals(a.Real, b.Real), cmp.Compare(a.In.A, b.In.A))
	}, never),
)

// Random typed jobs give the lines that loops over the rows give. A seed repeats one, as
// for TestRandomPipelines.
func TestRandomTypedJobs(t *testing.T) {
	n, from := *seeds, *first
	if n == 0 {
		n = uint64(race.Tries(25, 12, 3))
	}
	if *seed != 0 {
		from, n = *seed, 1
	}
	for k := from; k < from+n; k++ {
		rng := rand.New(rand.NewPCG(k, 11))
		job := allTypedJobs[rng.IntN(len(allTypedJobs))]
		t.Run(fmt.Sprint(k, " ", job.name), func(t *testing.T) {
			l, r := typedRows(rng, []int{0, 1, 20, 200}[rng.IntN(4)]), typedRows(rng, []int{0, 1, 20, 60}[rng.IntN(4)])
			want := job.want(l, r)
			for i := range want {
				want[i] = fmt.Sprintf("%q", want[i])
			}
			if !job.ordered {
				slices.Sort(want)
			}
			splits := 1 + rng.IntN(3)
			for _, parts := range []int{1, 2, 7} {
				memory, out := []int64{256 << 10, 256 << 20}[rng.IntN(2)], filepath.Join(t.TempDir(), "out")
				_, err := divisi.Run(t.Context(), func(j *df.Job) {
					made := job.build(df.Read(j, df.FromSlice(l).Splits(splits)), df.Read(j, df.FromSlice(r)))
					df.Write(df.Map(made, func(s string) string { return fmt.Sprintf("%q", s) }), df.Text(j.Arg(0)))
				}, []string{out}, divisi.Partitions(parts), divisi.Parallelism(2), divisi.TempDir(t.TempDir()), divisi.Check(), divisi.Memory(memory))
				if err != nil {
					t.Fatalf("%d partitions, %d bytes: %v", parts, memory, err)
				}
				got := divisitest.Lines(t, out)
				if job.ordered {
					got = linesInOrder(t, out)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%d partitions, %d bytes: %d lines, want %d:\n%.2000s\nwant\n%.2000s", parts, memory, len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// linesInOrder is the lines of a job's text files, in the order of the files' names.
func linesInOrder(t *testing.T, out string) (all []string) {
	t.Helper()
	parts, _ := filepath.Glob(filepath.Join(out, "part-*"))
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
		if len(b) == 0 {
			all = all[:len(all)-1]
		}
	}
	return all
}
