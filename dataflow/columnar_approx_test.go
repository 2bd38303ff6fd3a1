package dataflow_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/divisitest"
)

// nth is the value of a rank, as a quantile is defined; "" of none.
func nth[T cmp.Ordered](values []T, share float64, text func(T) string) string {
	if len(values) == 0 {
		return ""
	}
	slices.Sort(values)
	return text(values[max(0, int(math.Ceil(share*float64(len(values))))-1)])
}

func half(v int) string { return fmt.Sprintf("%d.50", v) }

// Of few rows approximations are exact, gathered in tasks and where groups are together
// already, beside other aggregates and without keys or rows.
func TestTableApproximate(t *testing.T) {
	aggs := []df.Agg{
		df.ApproxQuantileOf("low", expr.Col("value"), 0.25), df.AvgOf("mean", expr.Col("id")), df.ApproxDistinctOf("names", expr.Col("group")),
		df.CountRows("n"), df.ApproxQuantileOf("high", expr.Col("value"), 0.9), df.ApproxMedianOf("middle", expr.Col("id")),
	}
	want := func(key string, cs []cell) string {
		names, values, ids, sum := map[string]bool{}, []int{}, []int{}, 0
		for _, c := range cs {
			if c.group != "" {
				names[c.group] = true
			}
			values, ids, sum = append(values, c.value), append(ids, c.id), sum+c.id
		}
		mean := ""
		if len(cs) > 0 {
			mean = fmt.Sprint(float64(sum) / float64(len(cs)))
		}
		return row(key, nth(values, 0.25, half), mean, len(names), len(cs), nth(values, 0.9, half), nth(ids, 0.5, strconv.Itoa))
	}
	by := func(l []cell, key func(c cell) string) (out []string) {
		groups := map[string][]cell{}
		for _, c := range l {
			groups[key(c)] = append(groups[key(c)], c)
		}
		for k := range maps.Keys(groups) {
			out = append(out, want(k, groups[k]))
		}
		return out
	}
	each(t, func(l, _ df.Table) df.Table { return l.GroupBy(df.As("odd", expr.Col("id").Mod(2))).Agg(aggs...) }, func(l, _ []cell) []string {
		return by(l, func(c cell) string { return strconv.Itoa(c.id % 2) })
	}, 0, 1, 30, 600)
	each(t, func(l, _ df.Table) df.Table {
		return l.GroupBy().Agg(aggs...).With(df.As("one", expr.Lit(1))).Select("one", "low", "mean", "names", "n", "high", "middle")
	}, func(l, _ []cell) []string {
		return []string{want("1", l)}
	}, 0, 30, 600)
	// The join brings equal ids together: the groups are whole where they are made.
	each(t, func(l, r df.Table) df.Table { return l.SemiJoin(r, df.Equal("id", "r_id")).GroupBy("id").Agg(aggs...) }, func(l, r []cell) []string {
		l = slices.DeleteFunc(slices.Clone(l), func(a cell) bool { return !slices.ContainsFunc(r, func(b cell) bool { return a.id == b.id }) })
		return by(l, func(c cell) string { return strconv.Itoa(c.id) })
	}, 30, 300)
	// Only some of the aggregates are asked for.
	each(t, func(l, _ df.Table) df.Table { return l.GroupBy("id").Agg(aggs...).Select("high", "id") }, func(l, _ []cell) (out []string) {
		values := map[int][]int{}
		for _, c := range l {
			values[c.id] = append(values[c.id], c.value)
		}
		for id, vs := range values {
			out = append(out, row(nth(vs, 0.9, half), id))
		}
		return out
	})
}

// Of many rows: the same number whatever the tasks, close to the true one.
func TestTableApproxDistinctOfMany(t *testing.T) {
	const n = 30_000
	l := cells(5, n)
	schema, other := columns(t, ""), columns(t, "r_")
	got := divisitest.Run(t, func(j *df.Job) {
		left := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(0)), schema)
		right := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(1)), other)
		spread := left.LeftJoin(right, df.Equal("value", "r_value")) // by value: ids are in all tasks
		df.WriteTable(spread.GroupBy().Agg(df.ApproxDistinctOf("ids", expr.Col("id")), df.CountRows("n")), df.CSV[df.Table](j.Arg(2)).Option("header", false))
	}, csvOf(l, ""), csvOf(nil, "r_"))
	ids := map[int]bool{}
	for _, c := range l {
		ids[c.id] = true
	}
	var found, rows float64
	if _, err := fmt.Sscanf(got[0], "%g,%g", &found, &rows); err != nil || len(got) != 1 || rows != n {
		t.Fatalf("%q: %v", got, err)
	}
	if e := math.Abs(found/float64(len(ids)) - 1); e > 0.025 {
		t.Errorf("%v of %d different ids", found, len(ids))
	}
}

// refused builds a job over the tests' tables that is wrong, and says so in these words.
func refused(t *testing.T, want string, build func(l, r df.Table) df.Table) {
	t.Helper()
	j := df.NewJob("wrong", nil)
	l, r := df.ReadTable(j, df.FromCSV[df.Table]("mem:///l"), columns(t, "")), df.ReadTable(j, df.FromCSV[df.Table]("mem:///r"), columns(t, "r_"))
	df.WriteTable(build(l, r), df.CSV[df.Table]("mem:///y"))
	if _, err := j.Graph(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
}

func TestTableApproximateRefuses(t *testing.T) {
	for want, agg := range map[string]df.Agg{
		"from 0 to 1":      df.ApproxQuantileOf("q", expr.Col("value"), 1.5),
		"has no quantiles": df.ApproxMedianOf("q", expr.Col("group")),
	} {
		refused(t, want, func(l, _ df.Table) df.Table { return l.GroupBy("id").Agg(agg) })
	}
	refused(t, "over a window", func(l, _ df.Table) df.Table {
		return l.Window(df.Over("id").OrderBy(df.Asc("value")), df.ApproxMedianOf("q", expr.Col("value")))
	})
}
