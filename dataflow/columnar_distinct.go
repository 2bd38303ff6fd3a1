package dataflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// distinct says whether an aggregate looks at different values only.
func (a Agg) distinct() bool { return a.fn == "distinct" || a.fn == "sumdistinct" }

// distinctPlan is how aggregates some of which look at different values are worked out:
// rows are gathered by the keys and those values, which leaves each value once, and then by
// the keys. Where there are several sets of such values, each row is made into one for each
// set, with a number that says which, and one for the other aggregates: with the columns of
// the others null. So nothing is kept for a group but its row, and groups are spilled as
// others are.
type distinctPlan struct {
	t    Table
	r    *rel
	sets [][]expr.Expr
	set  map[string]int // by the expressions' text

	inner, outer []Agg
	means        []Column // what comes out, where there are means
	anyMean      bool
}

const setColumn = "(set)"

func distinctColumn(set, i int) string { return fmt.Sprintf("(distinct %d.%d)", set, i) }

// distinctly plans a group with aggregates of different values.
func (t Table) distinctly(r *rel) Table {
	d := &distinctPlan{t: t, r: r, set: map[string]int{}}
	for _, a := range r.aggs {
		if a.distinct() {
			d.setOf(a)
		}
	}
	for i, a := range r.aggs {
		if !d.add(i, a) {
			return t.then(&rel{op: "group", name: r.name, in: r.in, keys: r.keys, schema: t.r.schema})
		}
	}
	var keys []any
	for _, k := range r.keys {
		keys = append(keys, k.Name)
	}
	from, by := d.rows()
	first := GroupedTable{from, by}
	out := first.agg(r.name+" (values)", d.inner, nil).GroupBy(keys...).agg(r.name, d.outer, d.options())
	if !d.anyMean {
		return out
	}
	var cols []Column
	for _, k := range r.keys {
		cols = append(cols, Column{k.Name, expr.Col(k.Name)})
	}
	return out.selected(r.name+" (means)", append(cols, d.means...))
}

func (d *distinctPlan) options() []CombineOption {
	if d.r.parts == 0 {
		return nil
	}
	return []CombineOption{Partitions(d.r.parts)}
}

// setOf is the number of the set of values that an aggregate looks at.
func (d *distinctPlan) setOf(a Agg) int {
	values := append([]expr.Expr{a.e}, a.more...)
	var words []string
	for _, v := range values {
		words = append(words, v.String())
	}
	key := strings.Join(words, "\x00")
	s, ok := d.set[key]
	if !ok {
		s = len(d.sets)
		d.set[key], d.sets = s, append(d.sets, values)
	}
	return s
}

// add plans one aggregate: what is gathered first, and what of that in the end.
func (d *distinctPlan) add(i int, a Agg) bool {
	mid := func(part string) string { return fmt.Sprintf("(%s %d)", part, i) }
	gather := func(part, fn, again, name string, of expr.Expr) {
		d.inner = append(d.inner, Agg{name: mid(part), fn: fn, e: of})
		d.outer = append(d.outer, Agg{name: name, fn: again, e: d.ofRows(fn, expr.Col(mid(part)))})
	}
	d.means = append(d.means, Column{a.name, expr.Col(a.name)})
	switch fn, _, _ := strings.Cut(a.fn, ":"); fn {
	case "distinct":
		s := d.setOf(a)
		one := expr.Col(distinctColumn(s, 0))
		if len(d.sets[s]) > 1 {
			var all []expr.Expr
			for v := range d.sets[s] {
				all = append(all, expr.Col(distinctColumn(s, v)).NotNull())
			}
			one = expr.If(expr.All(all...), true, expr.Expr{})
		}
		d.outer = append(d.outer, Agg{name: a.name, fn: "count", e: one})
	case "sumdistinct":
		d.outer = append(d.outer, Agg{name: a.name, fn: "sum", e: expr.Col(distinctColumn(d.setOf(a), 0))})
	case "avg":
		d.anyMean = true
		gather("sum", sumOfMean(a.e, d.t.r.schema), "sum", mid("all"), a.e)
		gather("count", "count", "sum0", mid("rows"), a.e)
		d.means[len(d.means)-1].Expr = expr.Col(mid("all")).Div(expr.Col(mid("rows")))
	case "count":
		gather("count", "count", "sum0", a.name, a.e)
	case "approx_distinct", "approx_quantile":
		d.t.j.Errorf("%s: %s is approximate, and cannot stand beside DistinctOf or SumDistinctOf: group twice and join", d.r.name, a.name)
		return false
	default:
		gather(fn, fn, fn, a.name, a.e)
	}
	return true
}

// plain says whether there are aggregates that look at all values.
func (d *distinctPlan) plain() bool { return len(d.inner) > 0 }

// ofRows leaves out what rows that were made for sets of values have counted.
func (d *distinctPlan) ofRows(fn string, e expr.Expr) expr.Expr {
	if fn != "count" || len(d.sets) == 1 {
		return e
	}
	return expr.If(expr.Col(setColumn).Eq(int8(0)), e, expr.Expr{})
}

// rows is what is gathered first, and by which columns.
func (d *distinctPlan) rows() (Table, []Column) {
	if len(d.sets) == 1 {
		by := slices.Clone(d.r.keys)
		for i, v := range d.sets[0] {
			by = append(by, Column{distinctColumn(0, i), v})
		}
		return d.t, by
	}
	// All columns: the keys, the set, its values, what plain aggregates look at.
	cols := slices.Clone(d.r.keys)
	owner := make([]int, len(cols)) // the set whose column it is; 0: that of plain ones, -1: of all
	for i := range owner {
		owner[i] = -1
	}
	by := slices.Clone(cols)
	by = append(by, Column{setColumn, expr.Col(setColumn)})
	for s, values := range d.sets {
		for i, v := range values {
			cols, owner = append(cols, Column{distinctColumn(s, i), v}), append(owner, s+1)
			by = append(by, Column{distinctColumn(s, i), expr.Col(distinctColumn(s, i))})
		}
	}
	for i := range d.inner {
		if a := &d.inner[i]; !a.e.IsZero() {
			name := fmt.Sprintf("(value %d)", i)
			cols, owner = append(cols, Column{name, a.e}), append(owner, 0)
			a.e = expr.Col(name)
		}
	}
	for i := range d.r.keys {
		by[i].Expr = expr.Col(by[i].Name)
	}
	types := d.t.planned(d.r.name, "select", selectArgs{Columns: wireColumns(cols)}, d.t.r.schema)
	if types.NumFields() == 0 {
		return d.t, d.r.keys
	}
	var all [][]Column
	for s := range len(d.sets) + 1 {
		if s == 0 && !d.plain() {
			continue
		}
		row := []Column{{setColumn, expr.Lit(int8(s))}}
		for i, c := range cols {
			if owner[i] >= 0 && owner[i] != s {
				c.Expr = expr.Null(types.Field(i).Type)
			}
			row = append(row, c)
		}
		all = append(all, row)
	}
	return d.t.expanded(d.r.name+" (sets)", all), by
}

// Arguments of the operator of kind "expand".
type expandArgs struct {
	Rows [][]wireColumn `json:"rows"`
}

// expanded makes of each row several.
func (t Table) expanded(name string, rows [][]Column) Table {
	schema := t.planned(name, "expand", wireRows(rows, nil), t.r.schema)
	return t.then(&rel{op: "expand", name: name, in: []*rel{t.r}, schema: schema, expand: rows})
}

// wireRows are the rows with the columns that are needed; nil: with all.
func wireRows(rows [][]Column, need []string) expandArgs {
	var args expandArgs
	for _, cols := range rows {
		if need != nil {
			cols = slices.DeleteFunc(slices.Clone(cols), func(c Column) bool { return !slices.Contains(need, c.Name) })
		}
		args.Rows = append(args.Rows, wireColumns(cols))
	}
	return args
}

// same are the columns of an expand that are alike in all its rows.
func (r *rel) same() []Column {
	var cols []Column
	for i, c := range r.expand[0] {
		alike := true
		for _, row := range r.expand[1:] {
			alike = alike && row[i].Expr.String() == c.Expr.String()
		}
		if alike {
			cols = append(cols, c)
		}
	}
	return cols
}

func (l *lowering) expand(r *rel, need []string) lowered {
	if len(need) == 0 {
		need = []string{narrowest(r.schema)}
	}
	args := wireRows(r.expand, need)
	var es []expr.Expr
	for _, row := range args.Rows {
		for _, c := range row {
			es = append(es, c.Expr)
		}
	}
	in := l.input(r.in[0], es, nil)
	in.by = nil
	return l.rowwise(r, r.name, "expand", args, in)
}
