package dataflow_test

import (
	"slices"
	"strings"
	"testing"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// notIn is NOT IN by loops and three truths.
func notIn(l []cell, set []string) (out []string) {
	for _, a := range l {
		unknown, found := false, false
		for _, v := range set {
			switch {
			case a.group == "" || v == "":
				unknown = true
			case a.group == v:
				found = true
			}
		}
		if !found && !unknown {
			out = append(out, row(a.id, a.group))
		}
	}
	return out
}

func groupsOf(r []cell, keep func(c cell) bool) (set []string) {
	for _, c := range r {
		if keep(c) {
			set = append(set, c.group)
		}
	}
	return set
}

// Nulls on either side, on both, and no rows on the right: as three truths have it.
func TestTableNotIn(t *testing.T) {
	on := df.Equal("group", "r_group")
	for _, opts := range [][]df.JoinOption{nil, {df.BroadcastRight()}, {df.Partitions(3)}} {
		for name, c := range map[string]struct {
			where expr.Expr
			keep  func(c cell) bool
		}{
			"all, with nulls":       {expr.Lit(true), func(cell) bool { return true }},
			"no nulls":              {expr.Col("r_group").NotNull(), func(c cell) bool { return c.group != "" }},
			"one value, many times": {expr.Col("r_group").Eq("a"), func(c cell) bool { return c.group == "a" }},
			"only nulls":            {expr.Col("r_group").IsNull(), func(c cell) bool { return c.group == "" }},
			"no rows":               {expr.Col("r_value").Lt(0), func(cell) bool { return false }},
		} {
			t.Run(name, func(t *testing.T) {
				rows := []int{40}
				if opts == nil {
					rows = []int{0, 40, 400}
				}
				each(t, func(l, r df.Table) df.Table {
					return l.NotIn(r.Where(c.where), on, opts...).Select("id", "group")
				}, func(l, r []cell) []string { return notIn(l, groupsOf(r, c.keep)) }, rows...)
			})
		}
	}
	// Beside it: AntiJoin keeps rows with a null, whatever the right side has.
	each(t, func(l, r df.Table) df.Table { return l.AntiJoin(r, on).Select("id", "group") }, func(l, r []cell) (out []string) {
		for _, a := range l {
			if a.group == "" || !slices.Contains(groupsOf(r, func(cell) bool { return true }), a.group) {
				out = append(out, row(a.id, a.group))
			}
		}
		return out
	}, 40)
}

// Where no column can be null it is a plain anti join.
func TestTableNotInPlan(t *testing.T) {
	each(t, func(l, r df.Table) df.Table { return l.NotIn(r, df.Equal("id", "r_id")).Select("id") }, func(l, r []cell) (out []string) {
		for _, a := range l {
			if !slices.ContainsFunc(r, func(b cell) bool { return a.id == b.id }) {
				out = append(out, row(a.id))
			}
		}
		return out
	}, 0, 30)
	j := df.NewJob("plain", nil)
	l, r := df.ReadTable(j, df.FromParquet[df.Table]("mem:///l"), columns(t, "")), df.ReadTable(j, df.FromParquet[df.Table]("mem:///r"), columns(t, "r_"))
	df.WriteTable(l.NotIn(r, df.Equal("id", "r_id")), df.CSV[df.Table]("mem:///out"))
	g, err := j.Graph()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, n := range g.Nodes {
		if n.Kind == df.OperatorNode {
			kinds = append(kinds, n.Ref.Kind)
		}
	}
	if got := strings.Join(kinds, " "); got != "hashjoin" {
		t.Errorf("the operators are %s", got)
	}
}

func TestTableNotInRefuses(t *testing.T) {
	refused(t, "it can be one", func(l, r df.Table) df.Table { return l.NotIn(r, df.Equal("id", "r_id").And("group", "r_group")) })
	refused(t, "it can be one", func(l, r df.Table) df.Table { return l.NotIn(r, nil) })
	refused(t, `no column "nothing"`, func(l, r df.Table) df.Table { return l.NotIn(r, df.Equal("nothing", "r_id")) })
	refused(t, "cast one", func(l, r df.Table) df.Table { return l.NotIn(r, df.Equal("id", "r_group")) })
}
