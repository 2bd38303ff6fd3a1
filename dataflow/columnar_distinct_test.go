package dataflow_test

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/plan"
)

// Aggregates of different values, several at once and beside others, are what sets count.
func TestTableDistinctAggregates(t *testing.T) {
	bucket := expr.Col("id").Mod(7)
	one := []df.Agg{df.DistinctOf("d", bucket), df.SumDistinctOf("s", bucket), df.AvgOf("mean", expr.Col("value")), df.CountRows("n")}
	several := []df.Agg{
		df.CountRows("n"), df.DistinctOf("d", bucket), df.AvgOf("mean", expr.Col("value")), df.SumDistinctOf("s", expr.Col("value")),
		df.DistinctOf("pairs", expr.Col("group"), bucket), df.SumOf("sum", expr.Col("id")), df.DistinctOf("groups", expr.Col("group")),
		df.MaxOf("most", expr.Col("group")), df.CountOf("named", expr.Col("group")), df.SumDistinctOf("sb", bucket),
	}
	values := []df.Agg{df.DistinctOf("groups", expr.Col("group")), df.DistinctOf("pairs", expr.Col("group"), bucket)}
	type sums struct {
		n, named, ids, value int
		buckets, values      map[int]bool
		groups               map[string]bool
		pairs                map[string]bool
		most                 string
		sumBuckets, sumDiff  int
	}
	sum := func(cs []cell) sums {
		s := sums{buckets: map[int]bool{}, values: map[int]bool{}, groups: map[string]bool{}, pairs: map[string]bool{}}
		for _, c := range cs {
			s.n, s.ids, s.value = s.n+1, s.ids+c.id, s.value+2*c.value+1
			s.buckets[c.id%7], s.values[c.value] = true, true
			if c.group != "" {
				s.named++
				s.groups[c.group], s.pairs[row(c.group, c.id%7)] = true, true
				s.most = max(s.most, c.group)
			}
		}
		for b := range maps.Keys(s.buckets) {
			s.sumBuckets += b
		}
		for v := range maps.Keys(s.values) {
			s.sumDiff += 2*v + 1
		}
		return s
	}
	halves := func(n int) string { return fmt.Sprintf("%d.%d0", n/2, n%2*5) }
	orNull := func(cs []cell, v any) string {
		if len(cs) == 0 {
			return ""
		}
		return fmt.Sprint(v)
	}
	mean := func(s sums) float64 { return float64(s.value) / 2 / float64(s.n) }
	rows := map[string]func(cs []cell) string{
		"one": func(cs []cell) string {
			s := sum(cs)
			return row(len(s.buckets), orNull(cs, s.sumBuckets), orNull(cs, mean(s)), s.n)
		},
		"several": func(cs []cell) string {
			s := sum(cs)
			return row(s.n, len(s.buckets), orNull(cs, mean(s)), orNull(cs, halves(s.sumDiff)), len(s.pairs), orNull(cs, s.ids), len(s.groups), s.most, s.named, orNull(cs, s.sumBuckets))
		},
		"values": func(cs []cell) string {
			s := sum(cs)
			return row(len(s.groups), len(s.pairs))
		},
	}
	for name, aggs := range map[string][]df.Agg{"one": one, "several": several, "values": values} {
		t.Run(name, func(t *testing.T) {
			each(t, func(l, _ df.Table) df.Table { return l.GroupBy(df.As("odd", expr.Col("id").Mod(3))).Agg(aggs...) }, func(l, _ []cell) (out []string) {
				groups := map[int][]cell{}
				for _, c := range l {
					groups[c.id%3] = append(groups[c.id%3], c)
				}
				for k, cs := range groups {
					out = append(out, strconv.Itoa(k)+","+rows[name](cs))
				}
				return out
			}, 0, 1, 30, 400)
			each(t, func(l, _ df.Table) df.Table { return l.GroupBy().Agg(aggs...) }, func(l, _ []cell) []string {
				return []string{rows[name](l)}
			}, 0, 30)
			// Null is a key, some columns are not asked for, and conditions on keys go down.
			each(t, func(l, _ df.Table) df.Table {
				return l.GroupBy("group").Agg(aggs...).Where(expr.Col("group").IsNull().Or(expr.Col("group").Ne("a"))).Drop(aggNames[name][1:]...)
			}, func(l, _ []cell) (out []string) {
				groups := map[string][]cell{}
				for _, c := range l {
					if c.group != "a" {
						groups[c.group] = append(groups[c.group], c)
					}
				}
				for k, cs := range groups {
					first, _, _ := strings.Cut(rows[name](cs), ",")
					out = append(out, row(k, first))
				}
				return out
			}, 0, 30)
		})
	}
}

var aggNames = map[string][]string{
	"one":     {"d", "s", "mean", "n"},
	"several": {"n", "d", "mean", "s", "pairs", "sum", "groups", "most", "named", "sb"},
	"values":  {"groups", "pairs"},
}

// Rows are made into several only where different sets of values ask for it, and nobody
// else reads the input twice.
func TestTableDistinctPlans(t *testing.T) {
	for _, c := range []struct {
		aggs    []df.Agg
		expands int
	}{
		{[]df.Agg{df.DistinctOf("a", expr.Col("id")), df.SumDistinctOf("b", expr.Col("id")), df.CountRows("n")}, 0},
		{[]df.Agg{df.DistinctOf("a", expr.Col("id")), df.DistinctOf("b", expr.Col("value"))}, 2},
		{[]df.Agg{df.DistinctOf("a", expr.Col("id")), df.DistinctOf("b", expr.Col("value")), df.CountRows("n")}, 3},
	} {
		j := df.NewJob("distinct", nil)
		l := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), columns(t, ""))
		df.WriteTable(l.GroupBy("group").Agg(c.aggs...).Where(expr.Col("group").Eq("a")), df.CSV[df.Table]("mem:///out"))
		g, err := j.Graph()
		if err != nil {
			t.Fatal(err)
		}
		sources, rows := []string{}, 0
		for _, n := range g.Nodes {
			if n.Kind == df.SourceNode {
				sources = append(sources, string(n.Ref.Args))
			}
			if n.Ref.Kind == "expand" {
				rows = strings.Count(string(n.Ref.Args), `"(set)"`)
			}
		}
		if len(sources) != 1 || rows != c.expands || !strings.Contains(sources[0], `"predicate":{"op":"eq"`) {
			t.Errorf("%d sources, rows are made into %d, want 1 and %d: %s", len(sources), rows, c.expands, sources)
		}
		if _, err := plan.Compile(g, plan.Options{Slots: 2}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTableDistinctRefuses(t *testing.T) {
	refused(t, "cannot stand beside DistinctOf", func(l, _ df.Table) df.Table {
		return l.GroupBy("group").Agg(df.DistinctOf("d", expr.Col("id")), df.ApproxMedianOf("m", expr.Col("value")))
	})
	refused(t, "has no sum", func(l, _ df.Table) df.Table {
		return l.GroupBy("id").Agg(df.SumDistinctOf("d", expr.Col("group")))
	})
	refused(t, `no column "nothing"`, func(l, _ df.Table) df.Table {
		return l.GroupBy("id").Agg(df.DistinctOf("d", expr.Col("group")), df.DistinctOf("e", expr.Col("nothing")))
	})
}
