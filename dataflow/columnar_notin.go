package dataflow

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// NotIn is the rows of t whose column is not among the values of right's column, as SQL's
// NOT IN has it: null may be any value, so
//
//   - of a right table without rows, all rows of t come out, also those with a null;
//   - of a right table that has a null there, no row comes out at all;
//   - otherwise rows with a null do not come out.
//
// AntiJoin takes a null as a value that nothing is equal to, and gives more rows. on is one
// pair of columns. The options are about the join, as those of AntiJoin.
func (t Table) NotIn(right Table, on On, opts ...JoinOption) Table {
	const name, rows, values = "NotIn", "(rows)", "(values)"
	if len(on) != 1 {
		t.j.Errorf("%s: %d pairs of columns are compared, it can be one: use AntiJoin, or filter nulls before", name, len(on))
		return t
	}
	l, r := on[0].left, on[0].right
	anti := func(right Table) Table { return t.joined(name, "anti", right, on, opts) }
	if !t.r.schema.HasField(l) || !right.r.schema.HasField(r) || right.j != t.j {
		return anti(right) // which says what is wrong
	}
	if !nullable(t.r.schema, l) && !nullable(right.r.schema, r) {
		return anti(right)
	}
	set := right.Select(r).Distinct().Named(name + " (values)").Cached()
	facts := set.GroupBy().Agg(CountRows(rows), CountOf(values, expr.Col(r)))
	none := expr.Col(rows).Eq(int64(0))
	known := expr.Col(rows).Eq(expr.Col(values)).And(expr.Col(l).NotNull())
	asked := t.Cross(facts).Where(none.Or(known)).Drop(rows, values)
	return asked.joined(name, "anti", set, on, opts)
}

func nullable(s *arrow.Schema, name string) bool {
	f, ok := s.FieldsByName(name)
	return ok && f[0].Nullable
}
