package dataflow_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/divisitest"
)

// A row of the tests' tables: id, a group (absent in some), a value.
type cell struct {
	id    int
	group string
	value int
}

func cells(seed uint64, n int) []cell {
	rng := rand.New(rand.NewPCG(seed, 3))
	out := make([]cell, n)
	for i := range out {
		out[i] = cell{rng.IntN(n), []string{"", "a", "b", "c", "a rather long name"}[rng.IntN(5)], rng.IntN(100)}
	}
	return out
}

func csvOf(rows []cell, prefix string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%sid,%sgroup,%svalue\n", prefix, prefix, prefix)
	for _, r := range rows {
		fmt.Fprintf(&b, "%d,%s,%d.50\n", r.id, r.group, r.value)
	}
	return b.String()
}

func columns(t *testing.T, prefix string) *arrow.Schema {
	t.Helper()
	s, err := df.Columns(strings.NewReplacer("$", prefix).Replace("$id int64, $group string?, $value decimal(15,2)?"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// each runs a job over two tables of random rows, at several numbers of partitions,
// and compares its lines with those that want makes by loops.
func each(t *testing.T, build func(l, r df.Table) df.Table, want func(l, r []cell) []string, rows ...int) {
	t.Helper()
	if rows == nil {
		rows = []int{30}
	}
	for _, n := range rows {
		l, r := cells(1, n), cells(2, n/2)
		ls, rs := columns(t, ""), columns(t, "r_")
		got := divisitest.Run(t, func(j *df.Job) {
			left := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(0)), ls)
			right := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(1)), rs)
			df.WriteTable(build(left, right), df.CSV[df.Table](j.Arg(2)).Option("header", false))
		}, csvOf(l, ""), csvOf(r, "r_"))
		wanted := want(l, r)
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Fatalf("%d rows: %q\nwant %q", n, got, wanted)
		}
	}
}

func row(vs ...any) string {
	parts := make([]string, len(vs))
	for i, v := range vs {
		parts[i] = fmt.Sprint(v)
	}
	return strings.Join(parts, ",")
}

func TestTableWhereSelect(t *testing.T) {
	each(t, func(l, _ df.Table) df.Table {
		return l.With(df.As("twice", expr.Col("value").Mul(2)), df.As("id", expr.Col("id").Add(1))).
			Where(expr.Col("twice").Gt(100), expr.Col("group").Ne("b")).Drop("value")
	}, func(l, _ []cell) (out []string) {
		for _, c := range l {
			if 2*c.value+1 > 100 && c.group != "b" && c.group != "" {
				out = append(out, row(c.id+1, c.group, fmt.Sprintf("%d.00", 2*c.value+1)))
			}
		}
		return out
	})
}

func TestTableGroup(t *testing.T) {
	each(t, func(l, _ df.Table) df.Table {
		return l.GroupBy("group", df.As("half", expr.Col("id").Mod(2))).
			Agg(df.CountRows("n"), df.SumOf("sum", expr.Col("value")), df.AvgOf("mean", expr.Col("id")), df.MaxOf("most", expr.Col("id"))).
			Where(expr.Col("group").Ne("a").Or(expr.Col("half").Eq(0)))
	}, func(l, _ []cell) (out []string) {
		groups := map[string][]cell{}
		for _, c := range l {
			if c.group != "" && (c.group != "a" || c.id%2 == 0) {
				k := row(c.group, c.id%2)
				groups[k] = append(groups[k], c)
			}
			if c.group == "" && c.id%2 == 0 {
				groups[row("", 0)] = append(groups[row("", 0)], c)
			}
		}
		for k, cs := range groups {
			sum, ids, most := 0, 0, 0
			for _, c := range cs {
				sum, ids, most = sum+10*c.value+5, ids+c.id, max(most, c.id)
			}
			out = append(out, row(k, len(cs), fmt.Sprintf("%d.%d0", sum/10, sum%10), float64(ids)/float64(len(cs)), most))
		}
		return out
	})
	// Without keys there is one row, also of nothing.
	each(t, func(l, _ df.Table) df.Table {
		return l.Where(expr.Col("value").Gt(50)).GroupBy().Agg(df.CountRows("n"), df.DistinctOf("groups", expr.Col("group")))
	}, func(l, _ []cell) []string {
		n, groups := 0, map[string]bool{}
		for _, c := range l {
			if c.value >= 50 {
				n++
				if c.group != "" {
					groups[c.group] = true
				}
			}
		}
		return []string{row(n, len(groups))}
	}, 0, 1, 30)
	each(t, func(l, _ df.Table) df.Table {
		return l.GroupBy("id").Agg(df.DistinctOf("groups", expr.Col("group")), df.CountRows("n"), df.MinOf("least", expr.Col("value")))
	}, func(l, _ []cell) (out []string) {
		groups := map[int][]cell{}
		for _, c := range l {
			groups[c.id] = append(groups[c.id], c)
		}
		for id, cs := range groups {
			names, least := map[string]bool{}, 1000
			for _, c := range cs {
				least = min(least, c.value)
				if c.group != "" {
					names[c.group] = true
				}
			}
			out = append(out, row(id, len(names), len(cs), fmt.Sprintf("%d.50", least)))
		}
		return out
	})
}

// The mean of numbers whose sum fits into none of them.
func TestTableMeanOfLargeNumbers(t *testing.T) {
	large := expr.Lit(int64(math.MaxInt64)).Sub(expr.Col("id"))
	mean := df.AvgOf("mean", expr.Col("large"))
	for name, build := range map[string]func(l df.Table) df.Table{
		"group": func(l df.Table) df.Table { return l.GroupBy("group").Agg(mean) },
		"distinct": func(l df.Table) df.Table {
			return l.GroupBy("group").Agg(mean, df.DistinctOf("n", expr.Col("id"))).Drop("n")
		},
		"window": func(l df.Table) df.Table { return l.Window(df.Over("group"), mean).Select("group", "mean").Distinct() },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(l, _ df.Table) df.Table { return build(l.With(df.As("large", large))) }, func(l, _ []cell) (out []string) {
				seen := map[string]bool{}
				for _, c := range l {
					if !seen[c.group] {
						seen[c.group] = true
						out = append(out, row(c.group, "9.223372036854776e+18"))
					}
				}
				return out
			}, 0, 40)
		})
	}
}

func TestTableJoins(t *testing.T) {
	on := df.Equal("id", "r_id")
	for _, opts := range [][]df.JoinOption{nil, {df.BroadcastRight()}} {
		each(t, func(l, r df.Table) df.Table {
			return l.Join(r, on, opts...).Where(expr.Col("value").Gt(20), expr.Col("r_value").Lt(80), expr.Col("value").Ne(expr.Col("r_value"))).Select("id", "r_value")
		}, func(l, r []cell) (out []string) {
			for _, a := range l {
				for _, b := range r {
					if a.id == b.id && a.value >= 20 && b.value < 80 && a.value != b.value {
						out = append(out, row(a.id, fmt.Sprintf("%d.50", b.value)))
					}
				}
			}
			return out
		})
		each(t, func(l, r df.Table) df.Table {
			return l.LeftJoin(r, on, opts...).Where(expr.Col("r_value").IsNull()).Select("id", "r_id")
		}, func(l, r []cell) (out []string) {
			for _, a := range l {
				if !slices.ContainsFunc(r, func(b cell) bool { return a.id == b.id }) {
					out = append(out, row(a.id, ""))
				}
			}
			return out
		})
		each(t, func(l, r df.Table) df.Table {
			return l.SemiJoin(r, df.Equal("group", "r_group"), opts...).Select("group").
				Union(l.AntiJoin(r.Where(expr.Col("r_value").Gt(30)), on, opts...).Select("group"))
		}, func(l, r []cell) (out []string) {
			for _, a := range l {
				if a.group != "" && slices.ContainsFunc(r, func(b cell) bool { return a.group == b.group }) {
					out = append(out, a.group)
				}
				if !slices.ContainsFunc(r, func(b cell) bool { return a.id == b.id && b.value >= 30 }) {
					out = append(out, a.group)
				}
			}
			return out
		})
	}
	each(t, func(l, r df.Table) df.Table {
		return l.FullJoin(r, on.And("group", "r_group")).GroupBy().Agg(df.CountRows("n"), df.CountOf("l", expr.Col("id")), df.CountOf("r", expr.Col("r_id")))
	}, func(l, r []cell) []string {
		same := func(a, b cell) bool { return a.id == b.id && a.group == b.group && a.group != "" }
		n, nl, nr := 0, 0, 0
		for _, a := range l {
			k := 0
			for _, b := range r {
				if same(a, b) {
					k++
				}
			}
			n, nl, nr = n+max(k, 1), nl+max(k, 1), nr+k
		}
		for _, b := range r {
			if !slices.ContainsFunc(l, func(a cell) bool { return same(a, b) }) {
				n, nr = n+1, nr+1
			}
		}
		return []string{row(n, nl, nr)}
	}, 0, 30)
	each(t, func(l, r df.Table) df.Table {
		return l.Cross(r.GroupBy().Agg(df.AvgOf("mean", expr.Col("r_id")))).Where(expr.Col("id").Gt(expr.Col("mean"))).Select("id")
	}, func(l, r []cell) (out []string) {
		sum := 0
		for _, b := range r {
			sum += b.id
		}
		for _, a := range l {
			if len(r) > 0 && float64(a.id) > float64(sum)/float64(len(r)) {
				out = append(out, row(a.id))
			}
		}
		return out
	})
}

func TestTableOrder(t *testing.T) {
	best := func(l []cell, n int) (out []string) {
		l = slices.Clone(l)
		slices.SortFunc(l, func(a, b cell) int { return (b.id-a.id)*1000 + a.value - b.value })
		for _, c := range l[:min(n, len(l))] {
			out = append(out, row(c.id, fmt.Sprintf("%d.50", c.value)))
		}
		return out
	}
	each(t, func(l, _ df.Table) df.Table {
		return l.TopN(5, df.Desc("id"), df.Asc("value")).Select("id", "value")
	}, func(l, _ []cell) []string { return best(l, 5) })
	each(t, func(l, _ df.Table) df.Table {
		return l.OrderBy(df.Desc("id"), df.Asc("value")).Where(expr.Col("id").Ge(0)).Select("id", "value")
	}, func(l, _ []cell) []string { return best(l, len(l)) })
	each(t, func(l, _ df.Table) df.Table {
		return l.Limit(4).GroupBy().Agg(df.CountRows("n"))
	}, func(l, _ []cell) []string { return []string{row(min(4, len(l)))} })
	each(t, func(l, _ df.Table) df.Table {
		some := l.Select("group").Distinct().Cached()
		return some.Union(some)
	}, func(l, _ []cell) (out []string) {
		seen := map[string]bool{}
		for _, c := range l {
			if !seen[c.group] {
				seen[c.group] = true
				out = append(out, c.group, c.group)
			}
		}
		return out
	})
}

// Typed and columnar steps stand in one job.
func TestTablesAndDatasets(t *testing.T) {
	type person struct {
		Name string
		Age  int64
	}
	got := divisitest.Run(t, func(j *df.Job) {
		people := df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) person { return person{s, int64(len(s))} })
		t := df.ToTable(people).GroupBy("Age").Agg(df.CountRows("n"))
		pairs := df.FromTable[struct{ N, Age int64 }](t.Select(df.As("N", expr.Col("n")), "Age"))
		df.Write(df.Map(pairs, func(p struct{ N, Age int64 }) string { return fmt.Sprintf("%d of %d", p.N, p.Age) }), df.Text(j.Arg(1)))
	}, "ann\nbob\nmarie\n")
	if want := []string{"1 of 5", "2 of 3"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTableExplode(t *testing.T) {
	type line struct {
		Name  string
		Words []string
	}
	got := divisitest.Run(t, func(j *df.Job) {
		lines := df.ToTable(df.Map(df.Read(j, df.Lines(j.Arg(0))), func(s string) line {
			name, text, _ := strings.Cut(s, ":")
			return line{name, strings.Fields(text)}
		}))
		all := lines.ExplodeOuter("Words").Where(expr.Col("Name").Ne("c"), expr.Coalesce(expr.Col("Words"), "-").Ne("y"))
		counts := lines.Explode("Words").GroupBy("Name").Agg(df.CountRows("n")).Select("Name", df.As("Words", expr.Col("n").Cast(arrow.BinaryTypes.String)))
		df.WriteTable(all.Union(counts.With(df.As("Words", expr.If(expr.Lit(true), expr.Col("Words"), expr.Expr{})))), df.CSV[df.Table](j.Arg(1)).Option("header", false))
	}, "a:x y z x\nb:\nc:u v\n")
	if want := []string{"a,4", "a,x", "a,x", "a,z", "b,", "c,2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTableErrorsNameTheLine(t *testing.T) {
	s := columns(t, "")
	j := df.NewJob("wrong", nil)
	l := df.ReadTable(j, df.FromCSV[df.Table]("mem:///x"), s)
	l.Where(expr.Col("nix").Eq(1))
	l.Select("id", df.As("x", expr.Col("group").Add(1)))
	l.Join(l, df.Equal("id", "value"))
	l.Join(l, df.Equal("id", "id"))
	l.GroupBy("group").Agg(df.SumOf("x", expr.Col("group")))
	l.OrderBy(df.Asc("no"))
	l.Explode("value")
	l.Explode("none")
	df.FromTable[struct{ Id string }](l.Select(df.As("Id", expr.Col("id"))))
	df.WriteTable(l, df.CSV[df.Table]("mem:///y"))
	_, err := j.Graph()
	if err == nil {
		t.Fatal("there is no error")
	}
	for _, want := range []string{`Where: `, `no column "nix"`, "not a number", "cast one", `two columns are called "id"`, "has no sum", `no column "no"`, "not a list", `no column "none"`, "columnar_test.go:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\ndoes not say %q", err, want)
		}
	}
}

// Conditions reach the source, columns that nobody needs are not read, groups that
// are together already are not sent again.
func TestTableRules(t *testing.T) {
	ls, rs := columns(t, ""), columns(t, "r_")
	j := df.NewJob("rules", nil)
	l := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), ls)
	r := df.ReadTable(j, df.FromParquet[df.Table]("mem:///r"), rs)
	both := l.Prefix("x_").Join(r, df.Equal("x_id", "r_id")).
		GroupBy("x_id").Agg(df.CountRows("n"), df.SumOf("unused", expr.Col("r_value"))).
		Where(expr.Col("x_id").Gt(5), expr.Col("n").Gt(1))
	df.WriteTable(both.Select("x_id", "n"), df.CSV[df.Table]("mem:///out"))
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var sources, ops []string
	exchanges := 0
	for _, n := range g.Nodes {
		switch n.Kind {
		case df.SourceNode:
			sources = append(sources, string(n.Ref.Args))
		case df.OperatorNode:
			ops = append(ops, n.Ref.Kind)
		case df.ExchangeNode:
			exchanges++
		}
	}
	if len(sources) != 2 || !strings.Contains(sources[0], `"columns":["id"]`) || !strings.Contains(sources[0], `"predicate":{"op":"gt"`) || !strings.Contains(sources[1], `"columns":["r_id"]`) {
		t.Errorf("the sources are read as %s", sources)
	}
	if exchanges != 2 || !slices.Equal(ops, []string{"select", "hashjoin", "aggregate", "select"}) {
		t.Errorf("%d exchanges, operators %v", exchanges, ops)
	}
	if _, err := plan.Compile(g, plan.Options{Slots: 2}); err != nil {
		t.Fatal(err)
	}
}

// The name of a condition stays, wherever it is tested in the end.
func TestTableNamesOfConditions(t *testing.T) {
	open := expr.Col("value").Gt(1)
	early := expr.Col("id").Gt(2)
	for name, c := range map[string]struct {
		build func(l, r df.Table) df.Table
		want  []string
	}{
		"at the source": {func(l, _ df.Table) df.Table { return l.Where(open).Named("open") }, []string{"open"}},
		"without one":   {func(l, _ df.Table) df.Table { return l.Where(open) }, []string{"Where"}},
		"through a join": {func(l, r df.Table) df.Table {
			return l.Join(r, df.Equal("id", "r_id")).Where(open, expr.Col("r_value").Gt(3)).Named("open")
		}, []string{"open", "open", "Join"}},
		"through a sort, with another": {func(l, _ df.Table) df.Table {
			return l.Where(early).Named("early").OrderBy(df.Asc("id")).Where(open).Named("open")
		}, []string{"early+open", "OrderBy"}},
		"beside one without": {func(l, _ df.Table) df.Table {
			return l.Where(early).OrderBy(df.Asc("id")).Where(open).Named("open")
		}, []string{"open", "OrderBy"}},
		"through a select, which tests it": {func(l, _ df.Table) df.Table {
			return l.Select("id", "value").Where(open).Named("open")
		}, []string{"open+Select"}},
		"by what groups": {func(l, _ df.Table) df.Table {
			return l.Where(open).Named("open").GroupBy("id").Agg(df.CountRows("n"))
		}, []string{"open+Agg (partial)", "Agg"}},
	} {
		j := df.NewJob("names", nil)
		l, r := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), columns(t, "")), df.ReadTable(j, df.FromParquet[df.Table]("mem:///r"), columns(t, "r_"))
		df.WriteTable(c.build(l, r), df.CSV[df.Table]("mem:///out"))
		g, err := j.Graph()
		if err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for _, n := range g.Nodes {
			if n.Kind == df.OperatorNode && !strings.HasSuffix(n.Name, " (columns)") {
				got = append(got, n.Name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: the operators are %q, want %q", name, got, c.want)
		}
	}
}
