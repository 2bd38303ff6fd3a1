package dataflow_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// partitions are rows by group, in order of id and then value, with ids made unique.
func partitionsOf(l []cell) map[string][]cell {
	parts := map[string][]cell{}
	for _, c := range l {
		parts[c.group] = append(parts[c.group], c)
	}
	for _, p := range parts {
		slices.SortFunc(p, func(a, b cell) int { return cmp.Or(a.id-b.id, a.value-b.value) })
	}
	return parts
}

func TestTableWindow(t *testing.T) {
	w := df.Over("group").OrderBy(df.Asc("id"), df.Asc("value"))
	// Two windows of one order, a third of another; the mean of one column, the
	// distance of an expression; a condition on the partition, one on a result.
	each(t, func(l, _ df.Table) df.Table {
		return l.
			Window(w, df.Rank("rank"), df.DenseRank("dense"), df.Lag("before", expr.Col("id").Mul(10), 1), df.Ntile("unused", 2)).
			Window(w.Rows(df.Preceding(2), df.CurrentRow()), df.AvgOf("mean", expr.Col("id")), df.CountRows("n")).
			Window(df.Over("group"), df.SumOf("all", expr.Col("id"))).
			Where(expr.Col("group").Ne("b"), expr.Col("rank").Gt(1)).
			Drop("unused")
	}, func(l, _ []cell) (out []string) {
		for group, p := range partitionsOf(l) {
			if group == "b" || group == "" {
				continue
			}
			rank, dense, all := 1, 1, 0
			for _, c := range p {
				all += c.id
			}
			for i, c := range p {
				if i > 0 && c != p[i-1] {
					rank, dense = i+1, dense+1
				}
				if rank == 1 {
					continue
				}
				sum := 0
				near := p[max(0, i-2) : i+1]
				for _, x := range near {
					sum += x.id
				}
				out = append(out, row(c.id, group, fmt.Sprintf("%d.50", c.value), rank, dense, 10*p[i-1].id, float64(sum)/float64(len(near)), len(near), all))
			}
		}
		return out
	}, 0, 1, 40)
	// Ranges by distance in a decimal, descending; first and last of them.
	each(t, func(l, _ df.Table) df.Table {
		return l.Window(df.Over("group").OrderBy(df.Desc("value")).Range(df.Preceding(10), df.Following(expr.Dec("4.5"))),
			df.CountRows("n"), df.MaxOf("most", expr.Col("value")), df.MinOf("least", expr.Col("value"))).
			Select("value", "n", "most", "least")
	}, func(l, _ []cell) (out []string) {
		for _, p := range partitionsOf(l) {
			for _, c := range p {
				n, most, least := 0, c.value, c.value
				for _, x := range p {
					if x.value <= c.value+10 && x.value >= c.value-4 {
						n, most, least = n+1, max(most, x.value), min(least, x.value)
					}
				}
				out = append(out, row(fmt.Sprintf("%d.50", c.value), n, fmt.Sprintf("%d.50", most), fmt.Sprintf("%d.50", least)))
			}
		}
		return out
	})
	// Without a partition, over all rows; rows alone are asked for.
	each(t, func(l, _ df.Table) df.Table {
		return l.Window(df.Over().OrderBy(df.Asc("id")), df.Rank("rank"), df.LastOf("last", expr.Col("id"))).
			Where(expr.Col("rank").Le(5)).GroupBy().Agg(df.CountRows("n"), df.MaxOf("last", expr.Col("last")))
	}, func(l, _ []cell) []string {
		var ids []int
		for _, c := range l {
			ids = append(ids, c.id)
		}
		slices.Sort(ids)
		n, last := 0, ""
		for i, id := range ids {
			if slices.Index(ids, id) < 5 {
				n, last = i+1, fmt.Sprint(id)
			}
		}
		return []string{row(n, last)}
	}, 0, 30)
}

// A window's partitions are brought together and put in order once.
func TestTableWindowRules(t *testing.T) {
	j := df.NewJob("rules", nil)
	l := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), columns(t, ""))
	w := df.Over("group").OrderBy(df.Asc("id"))
	out := l.Window(w, df.RowNumber("n"), df.SumOf("unused", expr.Col("value"))).
		Window(w, df.Lag("before", expr.Col("id"), 1)).
		Where(expr.Col("group").Eq("a"))
	df.WriteTable(out.Select("id", "n", "before"), df.CSV[df.Table]("mem:///out"))
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, n := range g.Nodes {
		steps = append(steps, string(n.Kind)+" "+n.Ref.Kind)
	}
	want := []string{"source files", "select", "exchange ", "sort", "window", "window", "select", "sink files"}
	for i, s := range want {
		if !strings.Contains(s, " ") {
			want[i] = "operator " + s
		}
	}
	if !slices.Equal(steps, want) {
		t.Errorf("the steps are %q, want %q", steps, want)
	}
	if args := string(g.Nodes[0].Ref.Args); !strings.Contains(args, `"columns":["id","group"]`) || !strings.Contains(args, `"predicate"`) {
		t.Errorf("the source is read as %s", args)
	}
}

func TestTableWindowErrors(t *testing.T) {
	j := df.NewJob("wrong", nil)
	l := df.ReadTable(j, df.FromCSV[df.Table]("mem:///x"), columns(t, ""))
	w := df.Over("group").OrderBy(df.Asc("id"))
	l.Window(w)
	l.Window(df.Over("nix"), df.RowNumber("n"))
	l.Window(w, df.RowNumber("id"))
	l.Window(w, df.DistinctOf("d", expr.Col("id")))
	l.Window(w, df.SumOf("s", expr.Col("group")))
	l.Window(w.Rows(df.Following(2), df.CurrentRow()), df.CountRows("n"))
	l.Window(w.Rows(df.Preceding(0.5), df.CurrentRow()), df.CountRows("n"))
	l.Window(df.Over("group").Range(df.Preceding(1), df.CurrentRow()), df.CountRows("n"))
	l.Window(df.Over().OrderBy(df.Asc("group")).Range(df.Preceding(1), df.CurrentRow()), df.CountRows("n"))
	df.WriteTable(l, df.CSV[df.Table]("mem:///y"))
	_, err := j.Graph()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, want := range []string{"no functions are named", `no column "nix"`, `a column "id" already`, "no distinct over", "has no sum", "ends before it begins", "not by 0.5", "exactly one column", "not a number", "columnar_window_test.go:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
}

// A Range that goes beyond the smallest and the largest int64 ends there.
func TestTableWindowRangeAtTheEnds(t *testing.T) {
	for name, key := range map[string]expr.Expr{
		"smallest": expr.Lit(int64(math.MinInt64)).Add(expr.Col("id")),
		"largest":  expr.Lit(int64(math.MaxInt64)).Sub(expr.Col("id")),
	} {
		for _, order := range []df.SortByOption{df.Asc("key"), df.Desc("key")} {
			t.Run(name, func(t *testing.T) {
				each(t, func(l, _ df.Table) df.Table {
					return l.With(df.As("key", key)).Window(df.Over("group").OrderBy(order).Range(df.Preceding(3), df.Following(3)), df.CountRows("n")).Select("id", "group", "n")
				}, func(l, _ []cell) (out []string) {
					for _, c := range l {
						n := 0
						for _, o := range l {
							if o.group == c.group && max(o.id-c.id, c.id-o.id) <= 3 {
								n++
							}
						}
						out = append(out, row(c.id, c.group, n))
					}
					return out
				}, 0, 30)
			})
		}
	}
}
