package dataflow_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// sharing are aggregates of which several need the same sums and counts.
func sharing() []df.Agg {
	return []df.Agg{
		df.AvgOf("mean", expr.Col("value")), df.SumOf("sum", expr.Col("value")), df.AvgOf("again", expr.Col("value")),
		df.CountOf("values", expr.Col("value")), df.CountRows("n"), df.CountOf("named", expr.Col("group")),
		df.CountOf("too", expr.Col("group")), df.MaxOf("most", expr.Col("group")), df.SumOf("more", expr.Col("value").Add(expr.Col("value"))),
		df.CountOf("ids", expr.Col("id")),
	}
}

// Aggregates that share what is gathered are what loops over the rows give.
func TestTableSharedAggregates(t *testing.T) {
	result := func(cs []cell) string {
		halves, named, most := 0, 0, ""
		for _, c := range cs {
			halves += 2*c.value + 1
			if c.group != "" {
				named, most = named+1, max(most, c.group)
			}
		}
		sum, mean, more := "", "", ""
		if len(cs) > 0 {
			sum, mean, more = fmt.Sprintf("%d.%d0", halves/2, halves%2*5), fmt.Sprint(float64(halves)/2/float64(len(cs))), fmt.Sprintf("%d.00", halves)
		}
		return row(mean, sum, mean, len(cs), len(cs), named, named, most, more, len(cs))
	}
	each(t, func(l, _ df.Table) df.Table {
		return l.GroupBy(df.As("third", expr.Col("id").Mod(3))).Agg(sharing()...)
	}, func(l, _ []cell) (out []string) {
		groups := map[int][]cell{}
		for _, c := range l {
			groups[c.id%3] = append(groups[c.id%3], c)
		}
		for k, cs := range groups {
			out = append(out, strconv.Itoa(k)+","+result(cs))
		}
		return out
	}, 0, 1, 30, 400)
	each(t, func(l, _ df.Table) df.Table { return l.GroupBy().Agg(sharing()...) }, func(l, _ []cell) []string {
		return []string{result(l)}
	}, 0, 30)
	// Of those that share, some are not asked for.
	each(t, func(l, _ df.Table) df.Table { return l.GroupBy().Agg(sharing()...).Select("again", "n", "too") }, func(l, _ []cell) []string {
		s := strings.Split(result(l), ",")
		return []string{row(s[2], s[4], s[6])}
	}, 0, 30)
}

// Each sum and count is gathered once.
func TestTableSharedPlan(t *testing.T) {
	j := df.NewJob("shared", nil)
	l := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), columns(t, ""))
	df.WriteTable(l.GroupBy("id").Agg(sharing()...), df.CSV[df.Table]("mem:///out"))
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if args := string(n.Ref.Args); n.Ref.Kind == "aggregate" && strings.Contains(args, `"mode":"partial"`) {
			sums, counts := strings.Count(args, `"fn":"sum"`), strings.Count(args, `"fn":"count"`)
			if sums != 2 || counts != 3 {
				t.Errorf("%d sums and %d counts are gathered: %s", sums, counts, args)
			}
			return
		}
	}
	t.Error("no task gathers anything")
}
