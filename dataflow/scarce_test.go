package dataflow_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/internal/race"
)

// A oneTask is a job as one operator: all its steps in one task, of its sources' rows.
type oneTask struct {
	sources []*df.Node
	last    *df.Node
}

func oneTaskOf(t *testing.T, build func(*df.Job)) (oneTask, []df.Batch) {
	t.Helper()
	j := df.NewJob("test", nil)
	build(j)
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var o oneTask
	var in []df.Batch
	for _, n := range g.Nodes {
		switch n.Kind {
		case df.SourceNode:
			o.sources, in = append(o.sources, n), append(in, allRows(t, n))
		case df.SinkNode:
			o.last = n.In[0]
		}
	}
	return o, in
}

// allRows is what a source gives, as one batch.
func allRows(t *testing.T, n *df.Node) df.Batch {
	t.Helper()
	src, err := df.NewSource(n.Ref.Kind, n.Ref.Args)
	if err != nil {
		t.Fatal(err)
	}
	splits, err := src.Splits(t.Context(), df.SplitHint{Slots: 1})
	if err != nil {
		t.Fatal(err)
	}
	env := df.NewEnv(t.Context())
	env.BatchBytes = 1 << 30
	var all []df.Batch
	for _, s := range splits {
		in, err := src.Open(env, s)
		if err != nil {
			t.Fatal(err)
		}
		bs, err := opstest.Collect(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bs...)
	}
	switch len(all) {
	case 0:
		rb := array.NewRecordBuilder(memory.DefaultAllocator, n.Schema)
		defer rb.Release()
		return rb.NewRecordBatch()
	case 1:
		return all[0]
	}
	t.Fatalf("a source gives %d batches", len(all))
	return nil
}

func (o oneTask) Schema(...*arrow.Schema) (*arrow.Schema, error) { return o.last.Schema, nil }

func (o oneTask) Open(env *df.Env, in ...df.Stream) (df.Stream, error) {
	return o.open(env, o.last, in)
}

func (o oneTask) open(env *df.Env, n *df.Node, in []df.Stream) (df.Stream, error) {
	switch n.Kind {
	case df.SourceNode:
		return in[slices.Index(o.sources, n)], nil
	case df.ExchangeNode:
		return o.open(env, n.In[0], in)
	}
	op, from, err := fused(n)
	if err != nil {
		return nil, err
	}
	var streams []df.Stream
	var schemas []*arrow.Schema
	for _, f := range from {
		s, err := o.open(env, f, in)
		if err != nil {
			return nil, err
		}
		streams, schemas = append(streams, s), append(schemas, f.Schema)
	}
	if _, err := op.Schema(schemas...); err != nil {
		return nil, err
	}
	return op.Open(env, streams...)
}

// fused is a step with those before it that it can take in.
func fused(n *df.Node) (df.Operator, []*df.Node, error) {
	op, err := n.Op, error(nil)
	if op == nil {
		if op, err = df.NewOperator(n.Ref.Kind, n.Ref.Args); err != nil {
			return nil, nil, err
		}
	}
	from := n.In
	for len(from) == 1 && from[0].Kind == df.OperatorNode && from[0].Op != nil {
		f, ok := op.(df.Fuser)
		if !ok {
			break
		}
		both, ok := f.FuseAfter(from[0].Op)
		if !ok {
			break
		}
		op, from = both, from[0].In
	}
	return op, from, nil
}

// A place is a key that is no string and no number.
type place struct {
	Name string
	At   int32
}

// unevenPairs are values of keys, of which one has half; some keys and values are long.
func unevenPairs(rows, keys int) []df.Pair[string, string] {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(keys)))
	out := make([]df.Pair[string, string], rows)
	for i := range out {
		k, v := rng.IntN(keys), strconv.Itoa(rng.IntN(1000))
		if rng.IntN(2) == 0 {
			k = 0
		}
		key := strconv.Itoa(k)
		if k%50 == 17 {
			key += strings.Repeat(" and a long key", 600)
		}
		if rng.IntN(60) == 0 {
			v += strings.Repeat(" and a long text", 500)
		}
		out[i] = df.KV(key, v)
	}
	return out
}

func values(pairs []df.Pair[string, string]) map[string][]string {
	m := map[string][]string{}
	for _, p := range pairs {
		m[p.Key] = append(m[p.Key], p.Value)
	}
	return m
}

func sunk[T any](d df.Dataset[T]) { df.Write(d, df.Parquet[T]("out")) }

// rowsOf spells a map's entries.
func rowsOf[V, O any](m map[string]V, f func(k string, v V) O) []string {
	rows := []string{}
	for k, v := range m {
		rows = append(rows, fmt.Sprint(f(k, v)))
	}
	return rows
}

func total(vs []string) (n int64) {
	for _, v := range vs {
		n += int64(len(v))
	}
	return n
}

func merged(a, b []string) []string {
	a = append(a, b...)
	slices.Sort(a)
	return a
}

type textPairs = df.Dataset[df.Pair[string, string]]

// A typedHardship is a job over pairs, and the rows it must give.
type typedHardship struct {
	name  string
	build func(p textPairs, again func() textPairs)
	want  func(m map[string][]string) []string
}

func typedHardships() []typedHardship {
	length := func(p df.Pair[string, string]) df.Pair[string, int64] { return df.KV(p.Key, int64(len(p.Value))) }
	sums := func(key func(k string) string) func(map[string][]string) []string {
		return func(m map[string][]string) []string {
			return rowsOf(m, func(k string, vs []string) string { return fmt.Sprintf("%s%d|", key(k), total(vs)) })
		}
	}
	return []typedHardship{
		{"count", func(p textPairs, _ func() textPairs) {
			sunk(df.Count(df.Keys(p)))
		}, func(m map[string][]string) []string {
			return rowsOf(m, func(k string, vs []string) string { return fmt.Sprintf("%q|%d|", k, len(vs)) })
		}},
		{"sum", func(p textPairs, _ func() textPairs) {
			sunk(df.Sum(df.Map(p, length)))
		}, sums(func(k string) string { return fmt.Sprintf("%q|", k) })},
		{"sum by number", func(p textPairs, _ func() textPairs) {
			sunk(df.Sum(df.Map(p, func(p df.Pair[string, string]) df.Pair[int, int64] {
				return df.KV(numberOf(p.Key), int64(len(p.Value)))
			})))
		}, sums(func(k string) string { return fmt.Sprintf("%d|", numberOf(k)) })},
		{"sum by struct", func(p textPairs, _ func() textPairs) {
			sunk(df.Sum(df.Map(p, func(p df.Pair[string, string]) df.Pair[place, int64] {
				return df.KV(place{p.Key, int32(numberOf(p.Key))}, int64(len(p.Value)))
			})))
		}, sums(func(k string) string { return fmt.Sprintf("{%q|%d|}|", k, numberOf(k)) })},
		{"combine what grows", func(p textPairs, _ func() textPairs) {
			one := df.Map(p, func(p df.Pair[string, string]) df.Pair[string, []string] { return df.KV(p.Key, []string{p.Value}) })
			sunk(df.Combine(one, merged))
		}, func(m map[string][]string) []string {
			return rowsOf(m, func(k string, vs []string) string {
				s := fmt.Sprintf("%q|[", k)
				for _, v := range slices.Sorted(slices.Values(vs)) {
					s += fmt.Sprintf("%q|", v)
				}
				return s + "]|"
			})
		}},
		{"largest", func(p textPairs, _ func() textPairs) {
			sunk(df.Max(p))
		}, func(m map[string][]string) []string {
			return rowsOf(m, func(k string, vs []string) string { return fmt.Sprintf("%q|%q|", k, slices.Max(vs)) })
		}},
		{"distinct", func(p textPairs, _ func() textPairs) {
			sunk(df.Distinct(p))
		}, func(m map[string][]string) []string {
			rows := []string{}
			for k, vs := range m {
				for _, v := range slices.Compact(slices.Sorted(slices.Values(vs))) {
					rows = append(rows, fmt.Sprintf("%q|%q|", k, v))
				}
			}
			return rows
		}},
		{"groups", func(p textPairs, _ func() textPairs) {
			sunk(df.ReduceGroups(df.GroupByKey(p), func(_ string, vs iter.Seq[string]) int64 { return total(slices.Collect(vs)) }))
		}, sums(func(k string) string { return fmt.Sprintf("%q|", k) })},
		{"cogroups", func(p textPairs, again func() textPairs) {
			n := df.Filter(df.Map(again(), length), func(p df.Pair[string, int64]) bool { return p.Value < 3 })
			sunk(df.MapCoGroups(df.CoGroup(p, n), func(k string, vs iter.Seq[string], ns iter.Seq[int64], emit df.Emit[df.Pair[string, string]]) {
				few := len(slices.Collect(ns))
				emit(df.KV(k, fmt.Sprint(total(slices.Collect(vs)), few)))
			}))
		}, func(m map[string][]string) []string {
			return rowsOf(m, func(k string, vs []string) string {
				few := slices.DeleteFunc(slices.Clone(vs), func(v string) bool { return len(v) >= 3 })
				return fmt.Sprintf("%q|%q|", k, fmt.Sprint(total(vs), len(few)))
			})
		}},
	}
}

func numberOf(k string) int {
	n, _ := strconv.Atoi(strings.Fields(k)[0])
	return n
}

// Whatever memory comes and goes, typed steps give what loops give, and leave nothing.
func TestScarceMemoryTyped(t *testing.T) {
	tries := race.Tries(6, 4, 4)
	for _, h := range typedHardships() {
		for _, size := range [][2]int{{0, 1}, {300, 1}, {1500, 700}} {
			if race.Enabled && size[1] > 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s of %d", h.name, size[1]), func(t *testing.T) {
				pairs := unevenPairs(size[0], size[1])
				o, in := oneTaskOf(t, func(j *df.Job) {
					read := func() textPairs { return df.Read(j, df.FromSlice(pairs)) }
					h.build(read(), read)
				})
				opstest.Scarce(t, o, in, h.want(values(pairs)), tries, opstest.Unordered())
			})
		}
	}
}
