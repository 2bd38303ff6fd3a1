package dataflow

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// A WindowSpec says which rows a window function sees: those alike in the columns of
// Over, in an order, and of them, for first, last and aggregates, a frame around
// the row at hand. Without Rows or Range the frame is, where there is an order, all rows
// up to the last that is alike in it, and otherwise the whole partition.
//
//	w := df.Over("customer").OrderBy(df.Asc("day"))
//	t.Window(w, df.RowNumber("n"), df.Lag("before", expr.Col("amount"), 1)).
//		Window(w.Rows(df.Preceding(6), df.CurrentRow()), df.AvgOf("week", expr.Col("amount")))
type WindowSpec struct {
	parts []string
	order []SortByOption
	frame windowFrame
}

// A FrameBound is one end of a frame.
type FrameBound struct {
	at string // unbounded, current, preceding, following
	by any
}

type windowFrame struct {
	unit     string
	from, to FrameBound
}

// Over begins a WindowSpec: the rows alike in these columns, where null is like
// null; without columns all rows, which one task then works on.
func Over(columns ...string) WindowSpec { return WindowSpec{parts: columns} }

// OrderBy says in which order a window has its rows, with Asc and Desc; nulls come
// first, descending last. Partitions says over how many tasks partitions are spread.
func (w WindowSpec) OrderBy(opts ...SortByOption) WindowSpec {
	w.order = opts
	return w
}

// Rows makes the frame the rows from one bound to another, counted in rows; rows beyond
// the partition are left out.
func (w WindowSpec) Rows(from, to FrameBound) WindowSpec {
	w.frame = windowFrame{"rows", from, to}
	return w
}

// Range makes the frame the rows from one bound to another, by the value of the column
// that the rows are ordered by: CurrentRow is all rows alike in it. Preceding and
// Following need exactly one such column, of numbers, or of dates or timestamps, where
// they count days; for a null the frame is the nulls.
func (w WindowSpec) Range(from, to FrameBound) WindowSpec {
	w.frame = windowFrame{"range", from, to}
	return w
}

// Unbounded is the partition's begin or end.
func Unbounded() FrameBound { return FrameBound{at: "unbounded"} }

// CurrentRow is the row at hand.
func CurrentRow() FrameBound { return FrameBound{at: "current"} }

// Preceding is so many rows before the row at hand; of a Range so much, as a number or
// an expression of numbers.
func Preceding(by any) FrameBound { return FrameBound{"preceding", by} }

// Following is so many rows, or so much, behind the row at hand.
func Following(by any) FrameBound { return FrameBound{"following", by} }

// A WindowFunction makes a column of the rows of a window: RowNumber and its like, or
// CountRows, CountOf, SumOf, AvgOf, MinOf and MaxOf over the frame.
type WindowFunction interface{ window() windowFn }

type windowFn struct {
	name, fn string
	e        expr.Expr
	n        int
}

func (f windowFn) window() windowFn { return f }
func (a Agg) window() windowFn      { return windowFn{a.name, a.fn, a.e, 0} }

// RowNumber is 1, 2, ... in the partition. Rows alike in the order are numbered as they
// come, which may differ from run to run: name more columns where that counts.
func RowNumber(name string) WindowFunction { return windowFn{name: name, fn: "row_number"} }

// Rank is the RowNumber of the first row alike in the order: 1, 1, 3.
func Rank(name string) WindowFunction { return windowFn{name: name, fn: "rank"} }

// DenseRank counts the different rows before in the order: 1, 1, 2.
func DenseRank(name string) WindowFunction { return windowFn{name: name, fn: "dense_rank"} }

// Ntile cuts the partition into n parts, 1 to n, whose sizes differ by one at most, the
// larger ones first.
func Ntile(name string, n int) WindowFunction { return windowFn{name: name, fn: "ntile", n: n} }

// Lag is e n rows before, null where there are not so many.
func Lag(name string, e expr.Expr, n int) WindowFunction { return windowFn{name, "lag", e, n} }

// Lead is e n rows behind, null where there are not so many.
func Lead(name string, e expr.Expr, n int) WindowFunction { return windowFn{name, "lead", e, n} }

// FirstOf is e in the first row of the frame, null or not.
func FirstOf(name string, e expr.Expr) WindowFunction { return windowFn{name, "first", e, 0} }

// LastOf is e in the last row of the frame, null or not.
func LastOf(name string, e expr.Expr) WindowFunction { return windowFn{name, "last", e, 0} }

// windowSpec is a WindowSpec in a rel.
type windowSpec struct {
	parts     []string
	functions []windowFn
	frame     windowFrame
}

// Window adds a column per function; rows stay as they are, grouped by partition and in
// order. Windows of the same partitions and order, one after the other, are sorted
// once. A function sees its partition row by row, and of rows far apart only what it
// needs; what does not fit in memory is spilled.
func (t Table) Window(w WindowSpec, functions ...WindowFunction) Table {
	var o sortByOptions
	for _, f := range w.order {
		f.forSortBy(&o)
	}
	r := &rel{op: "window", name: "Window", in: []*rel{t.r}, sort: o.columns, parts: o.partitions}
	r.window = windowSpec{parts: w.parts, frame: w.frame}
	for _, f := range functions {
		r.window.functions = append(r.window.functions, f.window())
	}
	r.schema = t.r.schema
	if err := r.checkWindow(); err != nil {
		t.j.report(fmt.Errorf("Window: %w", err))
		return t.then(r)
	}
	// The types are what the operator would give of all columns.
	s, err := r.windowStep(r.window.functions)
	if err != nil {
		t.j.report(fmt.Errorf("Window: %w", err))
		return t.then(r)
	}
	names := fieldNames(t.r.schema)
	var cols []Column
	for i, e := range columnRefs(names) {
		cols = append(cols, Column{names[i], e})
	}
	before := t.planned("Window", "select", selectArgs{Columns: wireColumns(append(cols, s.before...))}, t.r.schema)
	if before.NumFields() > 0 {
		if mid := t.planned("Window", "window", s.args(r, before), before); mid.NumFields() > 0 {
			r.schema = t.planned("Window", "select", selectArgs{Columns: append(wireColumns(cols), s.result...)}, mid)
		}
	}
	return t.then(r)
}

func (r *rel) checkWindow() error {
	if len(r.window.functions) == 0 {
		return fmt.Errorf("no functions are named")
	}
	for _, name := range append(slices.Clone(r.window.parts), sortNames(r.sort)...) {
		if !r.in[0].schema.HasField(name) {
			return fmt.Errorf("there is no column %q (the columns are %s)", name, schemaWords(r.in[0].schema))
		}
	}
	for _, f := range r.window.functions {
		if f.fn == "distinct" || f.fn == "any" || strings.HasPrefix(f.fn, "approx_") {
			return fmt.Errorf("%s: there is no %s over a window", f.name, f.fn)
		}
		if r.in[0].schema.HasField(f.name) {
			return fmt.Errorf("there is a column %q already: choose another name", f.name)
		}
	}
	return nil
}

func sortNames(cols []sortColumn) []string {
	var names []string
	for _, c := range cols {
		names = append(names, c.name)
	}
	return names
}

// Arguments of the operator of kind "window".
type (
	windowArgs struct {
		Partition []int            `json:"partition,omitempty"`
		Order     []SortKey        `json:"order,omitempty"`
		Frame     wireFrame        `json:"frame,omitzero"`
		Functions []wireWindowFunc `json:"functions"`
	}
	wireFrame struct {
		Unit       string    `json:"unit,omitempty"`
		From       wireBound `json:"from,omitzero"`
		To         wireBound `json:"to,omitzero"`
		Key        int       `json:"key,omitempty"`
		Descending bool      `json:"descending,omitempty"`
	}
	wireBound struct {
		At string `json:"at,omitempty"`
		By int64  `json:"by,omitempty"`
	}
	wireWindowFunc struct {
		Name   string `json:"name"`
		Fn     string `json:"fn"`
		Column int    `json:"column"`
		N      int64  `json:"n,omitempty"`
	}
)

// A windowStep is a window in steps: columns worked out before it, what it does with
// them, and what is made of that.
type windowStep struct {
	before    []Column
	functions []windowFn // that look at columns only
	result    []wireColumn
	plain     bool // result is what functions gives
	frame     wireFrame
	key       string    // of a range by distance
	bounds    [2]string // its columns
}

// windowStep takes functions apart. An argument that is no column becomes one, a mean a
// sum and a count, a frame by distance two columns of keys.
func (r *rel) windowStep(functions []windowFn) (windowStep, error) {
	s := windowStep{plain: true}
	add := func(f windowFn) {
		if _, ok := f.e.Column(); !ok && !f.e.IsZero() {
			c := Column{fmt.Sprintf("(arg %d)", len(s.before)), f.e}
			s.before, f.e = append(s.before, c), expr.Col(c.Name)
		}
		s.functions = append(s.functions, f)
	}
	for i, f := range functions {
		out := expr.Col(f.name)
		if f.fn == "avg" {
			s.plain = false
			sum, n := fmt.Sprintf("(sum %d)", i), fmt.Sprintf("(count %d)", i)
			add(windowFn{sum, sumOfMean(f.e, r.in[0].schema), f.e, 0})
			add(windowFn{n, "count", f.e, 0})
			out = expr.Col(sum).Div(expr.Col(n))
		} else {
			add(f)
		}
		s.result = append(s.result, wireColumn{f.name, out})
	}
	return s, s.setFrame(r)
}

func (s *windowStep) setFrame(r *rel) error {
	f := r.window.frame
	s.frame.Unit = f.unit
	if f.unit == "" {
		return nil
	}
	var distances [2]expr.Expr // added to the key
	for i, b := range []FrameBound{f.from, f.to} {
		w := []*wireBound{&s.frame.From, &s.frame.To}[i]
		switch {
		case b.at == "unbounded":
			w.At = []string{"start", "end"}[i]
		case b.at == "current":
			w.At = "current"
		case b.at != "preceding" && b.at != "following":
			return fmt.Errorf("a frame is between two of Unbounded, Preceding, CurrentRow and Following")
		case f.unit == "rows":
			n, ok := b.by.(int)
			if !ok || n < 0 {
				return fmt.Errorf("a frame of rows is bounded by a number of rows, not by %v", b.by)
			}
			if w.At, w.By = "by", int64(n); b.at == "preceding" {
				w.By = -w.By
			}
		default:
			w.At = "by"
			distances[i] = expr.Lit(b.by)
			if len(r.sort) != 1 {
				return fmt.Errorf("a Range by distance needs an order of exactly one column, not of %d", len(r.sort))
			}
			s.frame.Descending = r.sort[0].descending
			if (b.at == "preceding") != s.frame.Descending {
				distances[i] = expr.Lit(0).Sub(distances[i])
			}
		}
	}
	if distances == [2]expr.Expr{} {
		return nil
	}
	return s.setDistances(r, distances)
}

// setDistances adds columns of the keys at which the frame of a row begins and ends, and
// the key of its own, all of the type that holds them.
func (s *windowStep) setDistances(r *rel, distances [2]expr.Expr) error {
	in := r.in[0].schema
	key := expr.Col(r.sort[0].name)
	field, _ := in.FieldsByName(r.sort[0].name)
	plus := func(e, d expr.Expr) expr.Expr {
		if id := field[0].Type.ID(); id == arrow.DATE32 || id == arrow.TIMESTAMP {
			return e.AddDays(d)
		}
		return e.Add(d)
	}
	all := key
	for _, d := range distances {
		if !d.IsZero() {
			all = plus(all, d)
		}
	}
	b, err := expr.Bind(in, all)
	if err != nil {
		return fmt.Errorf("the frame's Range: %w", err)
	}
	t := b.Fields()[0].Type
	s.key = "(key)"
	s.before = append(s.before, Column{s.key, key.Cast(t)})
	for i, d := range distances {
		if !d.IsZero() {
			s.bounds[i] = []string{"(from)", "(to)"}[i]
			bound := plus(key, d).Cast(t)
			if t.ID() == arrow.INT64 {
				bound = within(key, d)
			}
			s.before = append(s.before, Column{s.bounds[i], bound})
		}
	}
	return nil
}

// within is e + d, or the end of the int64s where it would be beyond it: no key is there.
func within(e, d expr.Expr) expr.Expr {
	size := d.Abs()
	top, bottom := expr.Lit(int64(math.MaxInt64)), expr.Lit(int64(math.MinInt64))
	return expr.Case().
		When(d.Gt(0).And(e.Gt(top.Sub(size))), top).
		When(d.Lt(0).And(e.Lt(bottom.Add(size))), bottom).
		Else(e.Add(d))
}

// args is the operator over rows of a schema.
func (s *windowStep) args(r *rel, in *arrow.Schema) windowArgs {
	at := func(name string) int { return in.FieldIndices(name)[0] }
	a := windowArgs{Frame: s.frame, Order: sortKeys(r.sort, in)}
	for _, name := range r.window.parts {
		a.Partition = append(a.Partition, at(name))
	}
	if s.key != "" {
		a.Frame.Key = at(s.key)
	}
	for i, b := range []*wireBound{&a.Frame.From, &a.Frame.To} {
		if s.bounds[i] != "" {
			b.By = int64(at(s.bounds[i]))
		}
	}
	for _, f := range s.functions {
		w := wireWindowFunc{f.name, f.fn, -1, int64(f.n)}
		if name, ok := f.e.Column(); ok {
			if i := in.FieldIndices(name); len(i) == 1 {
				w.Column = i[0]
			}
		}
		a.Functions = append(a.Functions, w)
	}
	return a
}

func sortKeys(cols []sortColumn, in *arrow.Schema) []SortKey {
	var keys []SortKey
	for _, c := range cols {
		keys = append(keys, SortKey{in.FieldIndices(c.name)[0], c.descending})
	}
	return keys
}

// windowed brings partitions together, puts them in order, and runs the functions that
// are needed.
func (l *lowering) windowed(r *rel, need []string) lowered {
	var fns []windowFn
	for _, f := range r.window.functions {
		if slices.Contains(need, f.name) {
			fns = append(fns, f)
		}
	}
	keep := only(need, r.in[0].schema)
	if len(fns) == 0 {
		return l.lower(r.in[0], keep)
	}
	step, err := r.windowStep(fns)
	if err != nil {
		l.j.report(fmt.Errorf("%s (%s): %w", r.name, r.site, err))
	}
	names := with(with(keep, r.window.parts...), sortNames(r.sort)...)
	for _, f := range step.functions {
		if name, ok := f.e.Column(); ok && r.in[0].schema.HasField(name) {
			names = with(names, name)
		}
	}
	es := columnRefs(names)
	for _, c := range step.before {
		names, es = append(names, c.Name), append(es, c.Expr)
	}
	if len(names) == 0 { // rows alone count
		names = []string{narrowest(r.in[0].schema)}
		es = columnRefs(names)
	}
	below, es, conds := rowsBelow(r.in[0], es)
	in := l.input(below, append(slices.Clone(es), conds...), conds)
	if len(conds) > 0 || !sameNames(es, names) {
		in = l.selected(r, r.name+" (columns)", in, es, names, conds)
	}
	in = l.inOrder(r, l.together(r, in))
	out := l.operator(r, r.name, "window", step.args(r, in.n.Schema), in)
	out.n.SortedBy = in.n.SortedBy
	if step.plain {
		return out
	}
	cols := columnRefs(keep)
	for _, c := range step.result {
		cols, keep = append(cols, c.Expr), append(keep, c.Name)
	}
	return l.selected(r, r.name+" (means)", out, cols, keep, nil)
}

// sameNames reports whether expressions are just the columns of these names.
func sameNames(es []expr.Expr, names []string) bool {
	for i, e := range es {
		if name, ok := e.Column(); !ok || name != names[i] {
			return false
		}
	}
	return true
}

// together brings the rows of each of a window's partitions into one task.
func (l *lowering) together(r *rel, in lowered) lowered {
	parts := r.window.parts
	if len(parts) == 0 {
		return l.exchange(r, r.name+" (to one)", in, Exchange{Kind: Single})
	}
	if len(in.by) > 0 && r.parts == 0 && !slices.ContainsFunc(in.by, func(b string) bool { return !slices.Contains(parts, b) }) {
		return in
	}
	x := Exchange{Kind: Hash, Partitions: r.parts}
	for _, p := range parts {
		x.Columns = append(x.Columns, in.n.Schema.FieldIndices(p)[0])
	}
	return l.exchange(r, r.name+" (exchange)", in, x)
}

// inOrder sorts the rows of a window, unless they are.
func (l *lowering) inOrder(r *rel, in lowered) lowered {
	var keys []SortKey
	for _, p := range r.window.parts {
		keys = append(keys, SortKey{Column: in.n.Schema.FieldIndices(p)[0]})
	}
	keys = append(keys, sortKeys(r.sort, in.n.Schema)...)
	have := in.n.SortedBy
	if len(keys) == 0 || len(have) >= len(keys) && slices.Equal(have[:len(keys)], keys) {
		return in
	}
	out := l.operator(r, r.name+" (order)", "sort", sortArgs{keys}, in)
	out.n.SortedBy = keys
	return out
}
