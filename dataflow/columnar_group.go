package dataflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// An Agg is an aggregate over the rows of a group, and its column's name. What it
// looks at is null for no row: nulls do not count.
type Agg struct {
	name string
	fn   string
	e    expr.Expr
	more []expr.Expr // of a DistinctOf
}

// CountRows is the number of rows.
func CountRows(name string) Agg { return Agg{name: name, fn: "count"} }

// CountOf is the number of rows where e is not null.
func CountOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "count", e: e} }

// SumOf is the sum: of integers an int64, of decimals exact, null of nothing.
func SumOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "sum", e: e} }

// AvgOf is the mean as a float64, worked out once of sum and count.
func AvgOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "avg", e: e} }

// MinOf is the smallest value.
func MinOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "min", e: e} }

// MaxOf is the largest value.
func MaxOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "max", e: e} }

// AnyOf is the value of one of the rows, for what is the same in all of them.
func AnyOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "any", e: e} }

// DistinctOf is the number of different values of e, or, of several expressions, of
// different rows of values none of which is null.
func DistinctOf(name string, e expr.Expr, more ...expr.Expr) Agg {
	return Agg{name: name, fn: "distinct", e: e, more: more}
}

// SumDistinctOf is the sum of the different values, each counted once.
func SumDistinctOf(name string, e expr.Expr) Agg { return Agg{name: name, fn: "sumdistinct", e: e} }

// ApproxDistinctOf is about the number of different values, in the memory of 16 kB a group
// at most (HyperLogLog with 2^14 registers). Up to some 4,000 different values it is off by
// a fraction of a percent; above that the standard error is 0.81 %: of 1000 results 997 are
// within 2.5 %. The same rows give the same result, however they are cut into tasks.
func ApproxDistinctOf(name string, e expr.Expr) Agg {
	return Agg{name: name, fn: "approx_distinct", e: e}
}

// ApproxQuantileOf is about the value below which a share, 0..1, of the values lie, in the
// memory of some 20 kB a group at most (KLL): one of the values, whose rank among n of them
// is within 1 % of n of the one that was asked for. Of up to 800 values it is exact, and so
// are the least and the largest, at 0 and 1. A NaN is more than all numbers. With other
// tasks another value within these bounds may come out.
func ApproxQuantileOf(name string, e expr.Expr, share float64) Agg {
	return Agg{name: name, fn: "approx_quantile:" + strconv.FormatFloat(share, 'g', -1, 64), e: e}
}

// ApproxMedianOf is ApproxQuantileOf the share 0.5.
func ApproxMedianOf(name string, e expr.Expr) Agg { return ApproxQuantileOf(name, e, 0.5) }

// GroupedTable is a table whose rows are to be gathered by keys, with Agg.
type GroupedTable struct {
	t    Table
	keys []Column
}

// GroupBy names the keys: columns, or expressions named by As. Null is a key like
// any other. Without keys all rows are one group, also where there are none.
func (t Table) GroupBy(keys ...any) GroupedTable {
	return GroupedTable{t, t.columnsOf("GroupBy", keys)}
}

// Agg makes a row of each group: the keys, then the aggregates.
func (g GroupedTable) Agg(aggs ...Agg) Table { return g.agg("Agg", aggs, nil) }

func (g GroupedTable) agg(name string, aggs []Agg, opts []CombineOption) Table {
	var o combineOptions
	for _, f := range opts {
		f.forCombine(&o)
	}
	t := g.t
	r := &rel{op: "group", name: name, in: []*rel{t.r}, keys: g.keys, aggs: aggs, parts: o.partitions}
	if slices.ContainsFunc(aggs, Agg.distinct) {
		return t.distinctly(r)
	}
	// The types are what one aggregate over all rows would give.
	p := splitAggs(aggs, t.r.schema)
	mid := t.planned(name, "aggregate", aggregateArgs{Keys: wireColumns(g.keys), Aggs: p.whole(p.partial), Mode: "final"}, t.r.schema)
	if mid.NumFields() > 0 {
		mid = t.planned(name, "select", selectArgs{Columns: p.finish(g.keys)}, mid)
	}
	r.schema = mid
	return t.then(r)
}

// Arguments of the operators of kind "select" and "aggregate".
type (
	wireColumn struct {
		Name string    `json:"name"`
		Expr expr.Expr `json:"expr"`
	}
	selectArgs struct {
		Where   expr.Expr    `json:"where,omitzero"`
		Columns []wireColumn `json:"columns,omitempty"`
	}
	wireAgg struct {
		Name string    `json:"name"`
		Fn   string    `json:"fn"`
		Expr expr.Expr `json:"expr,omitzero"`
	}
	aggregateArgs struct {
		Where expr.Expr    `json:"where,omitzero"`
		Keys  []wireColumn `json:"keys,omitempty"`
		Aggs  []wireAgg    `json:"aggs,omitempty"`
		Mode  string       `json:"mode"`
	}
)

func wireColumns(cols []Column) []wireColumn {
	out := make([]wireColumn, len(cols))
	for i, c := range cols {
		out[i] = wireColumn(c)
	}
	return out
}

// encodeExprArgs is encodeArgs for arguments that an author's expression may spoil.
func encodeExprArgs(args any) ([]byte, error) { return json.Marshal(args) }

// split aggregates are what each task gathers, how that is put together, and what is
// made of it in the end.
type split struct {
	partial, final []wireAgg
	result         []wireColumn
	plain          bool // result is final as it stands

	// sketches are the aggregates that are gathered in sketches: what they are when all
	// rows are in one place, and which of partial sees what they look at.
	sketches []sketched
}

type sketched struct {
	agg Agg
	at  int // of partial
}

// splitAggs splits aggregates over rows of a schema. What several of them need is gathered
// once: the same sum, and the count of rows for that of each column without nulls.
func splitAggs(aggs []Agg, in *arrow.Schema) split {
	s := split{plain: true}
	for i, a := range aggs {
		fn, _, _ := strings.Cut(a.fn, ":")
		switch fn {
		case "avg":
			s.plain = false
			fn := sumOfMean(a.e, in)
			if slices.ContainsFunc(aggs, func(o Agg) bool { return o.fn == "sum" && sameExpr(o.e, a.e) }) {
				fn = "sum" // which has to fit anyway
			}
			sum := s.gather(fmt.Sprintf("(sum %d)", i), fn, a.e)
			n := s.gather(fmt.Sprintf("(count %d)", i), "count", counted(a.e, in))
			s.result = append(s.result, wireColumn{a.name, expr.Col(sum).Div(expr.Col(n))})
			continue
		case "approx_distinct", "approx_quantile":
			s.sketch(a)
			continue
		case "count":
			a.e = counted(a.e, in)
		}
		name := s.gather(a.name, a.fn, a.e)
		s.plain = s.plain && name == a.name
		s.result = append(s.result, wireColumn{a.name, expr.Col(name)})
	}
	return s
}

// sumOfMean is the sum that a mean is worked out of: one that may be larger than the
// numbers, where these are int64.
func sumOfMean(e expr.Expr, in *arrow.Schema) string {
	if b, err := expr.Bind(in, e); err == nil && b.Type().ID() == arrow.INT64 {
		return "wide_sum"
	}
	return "sum"
}

// counted is what a count of an expression has to look at: nothing, where that is a column
// that is never null.
func counted(e expr.Expr, in *arrow.Schema) expr.Expr {
	if name, ok := e.Column(); ok {
		if f, ok := in.FieldsByName(name); ok && len(f) == 1 && !f[0].Nullable {
			return expr.Expr{}
		}
	}
	return e
}

// gather has each task work out an aggregate, unless one does already, and gives the name
// under which it is found in the end.
func (s *split) gather(name, fn string, e expr.Expr) string {
	for _, p := range s.partial {
		if p.Fn == fn && sameExpr(p.Expr, e) {
			return p.Name
		}
	}
	last := fn
	if fn == "count" {
		last = "sum0"
	}
	s.partial = append(s.partial, wireAgg{name, fn, e})
	s.final = append(s.final, wireAgg{name, last, expr.Col(name)})
	return name
}

// sameExpr compares expressions as they travel.
func sameExpr(a, b expr.Expr) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// sketch is for an aggregate that is gathered in sketches. Quantiles of one expression
// share theirs.
func (s *split) sketch(a Agg) {
	kind, asked, _ := strings.Cut(strings.TrimPrefix(a.fn, "approx_"), ":")
	name := "(" + kind + " of " + a.e.String() + ")"
	at := slices.IndexFunc(s.partial, func(p wireAgg) bool { return p.Name == name })
	if at < 0 {
		at = len(s.partial)
		s.partial = append(s.partial, wireAgg{name, kind + "_sketch", a.e})
	}
	of := kind + "_of_sketches"
	if asked != "" {
		of += ":" + asked
	}
	s.sketches = append(s.sketches, sketched{a, at})
	s.final = append(s.final, wireAgg{a.name, of, expr.Col(name)})
	s.result = append(s.result, wireColumn{a.name, expr.Col(a.name)})
}

// whole is partial, which may have been rewritten, for rows that are all in one place:
// there are no sketches between.
func (s split) whole(partial []wireAgg) []wireAgg {
	var all []wireAgg
	for _, a := range partial {
		if !strings.HasSuffix(a.Fn, "_sketch") {
			all = append(all, a)
		}
	}
	for _, k := range s.sketches {
		all = append(all, wireAgg{k.agg.name, k.agg.fn, partial[k.at].Expr})
	}
	return all
}

// typed tells final aggregates of quantile sketches what the values are, which sketches do
// not know: that of the results.
func (s split) typed(results *arrow.Schema) {
	for i, a := range s.final {
		if f, ok := results.FieldsByName(a.Name); ok && strings.HasPrefix(a.Fn, "quantile_of_sketches:") {
			s.final[i].Fn += ":" + expr.TypeName(f[0].Type)
			if f[0].Nullable {
				s.final[i].Fn += "?"
			}
		}
	}
}

// finish is the columns that come out in the end.
func (s split) finish(keys []Column) []wireColumn {
	var cols []wireColumn
	for _, k := range keys {
		cols = append(cols, wireColumn{k.Name, expr.Col(k.Name)})
	}
	return append(cols, s.result...)
}

// On is pairs of columns, of the left and the right table, that are equal in rows
// that belong together: On("order", "id"), or On("id") where both have that name.
type On []onPair

type onPair struct{ left, right string }

// Equal is a condition of a join: the left table's column equals the right one's.
func Equal(left, right string) On { return On{{left, right}} }

// And is both conditions.
func (o On) And(left, right string) On { return append(o[:len(o):len(o)], onPair{left, right}) }

// Join is each pair of rows for which on holds: the columns of t, then those of
// right, all of which must have different names (see Prefix). Null equals nothing.
func (t Table) Join(right Table, on On, opts ...JoinOption) Table {
	return t.joined("Join", "inner", right, on, opts)
}

// LeftJoin is Join, and the rows of t that have no partner, with nulls.
func (t Table) LeftJoin(right Table, on On, opts ...JoinOption) Table {
	return t.joined("LeftJoin", "left", right, on, opts)
}

// FullJoin is LeftJoin, and the rows of right that have no partner.
func (t Table) FullJoin(right Table, on On, opts ...JoinOption) Table {
	return t.joined("FullJoin", "full", right, on, opts)
}

// SemiJoin is the rows of t that have a partner, each once.
func (t Table) SemiJoin(right Table, on On, opts ...JoinOption) Table {
	return t.joined("SemiJoin", "semi", right, on, opts)
}

// AntiJoin is the rows of t that have no partner. A row with a null key has none. NotIn
// takes nulls as SQL's NOT IN does.
func (t Table) AntiJoin(right Table, on On, opts ...JoinOption) Table {
	return t.joined("AntiJoin", "anti", right, on, opts)
}

// Cross is every pair of rows. All of right goes to every task: it should be small,
// as the one row of a GroupBy without keys is.
func (t Table) Cross(right Table) Table {
	const l, r = "(left)", "(right)"
	one := expr.Lit(int8(0))
	return t.With(As(l, one)).joined("Cross", "inner", right.With(As(r, one)), Equal(l, r), []JoinOption{BroadcastRight()}).Drop(l, r)
}

func (t Table) joined(name, how string, right Table, on On, opts []JoinOption) Table {
	var o joinOptions
	for _, f := range opts {
		f.forJoin(&o)
	}
	if right.j != t.j {
		t.j.Errorf("%s: the tables belong to different jobs", name)
	}
	if o.broadcast && how == "full" {
		t.j.Errorf("%s: BroadcastRight would give a right row without partner once per task: leave it out", name)
	}
	if o.broadcast && o.partitions > 0 {
		t.j.Errorf("%s: Partitions means nothing with BroadcastRight: the left side stays where it is", name)
	}
	if len(on) == 0 {
		t.j.Errorf("%s: no columns are compared: use Equal, or Cross", name)
	}
	ok := len(on) > 0
	for _, p := range on {
		l, lok := t.r.schema.FieldsByName(p.left)
		r, rok := right.r.schema.FieldsByName(p.right)
		switch {
		case !lok:
			t.j.Errorf("%s: the left table has no column %q (it has %s)", name, p.left, schemaWords(t.r.schema))
		case !rok:
			t.j.Errorf("%s: the right table has no column %q (it has %s)", name, p.right, schemaWords(right.r.schema))
		case !arrow.TypeEqual(l[0].Type, r[0].Type):
			t.j.Errorf("%s: %s is of type %s, %s of %s: cast one", name, p.left, l[0].Type, p.right, r[0].Type)
		}
		ok = ok && lok && rok
	}
	r := &rel{op: "join", name: name, in: []*rel{t.r, right.r}, join: joinSpec{how, on, o.broadcast}, parts: o.partitions}
	r.schema = joinSchema(t.r.schema, right.r.schema, how)
	if !ok {
		r.schema = t.r.schema
	}
	return t.then(r)
}
