package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("aggregate", "sums, counts and ends of groups of rows", func(a aggregateArgs) (dataflow.Operator, error) {
		switch a.Mode {
		case "partial", "final":
		default:
			return nil, fmt.Errorf("the mode is partial or final, not %q", a.Mode)
		}
		if len(a.Keys)+len(a.Aggs) == 0 {
			return nil, errors.New("there are neither keys nor aggregates")
		}
		return &aggregate{aggregateArgs: a}, nil
	})
}

// aggregate groups the rows for which Where is true by Keys and gives a row per
// group: the keys, then the Aggs. Nulls are a group of their own, and so are NaNs;
// -0 is 0. Without keys all rows are one group, which is there even without rows.
//
// In mode final every group comes out once. Groups that are new when memory is
// full are spilled as rows by hash and follow later; where aggregates grow with their
// rows, what is gathered is spilled too (see shed). In mode partial a group may
// come out several times, to be put together by a final aggregate behind an
// exchange: sum of sums, sum0 of counts, min of mins. It holds few groups, and where
// grouping saves nothing it lets rows pass as groups of one.
type aggregate struct {
	aggregateArgs

	// planned remembers what Schema was told, because an input that has no rows
	// cannot say what its columns would have been.
	planned atomic.Pointer[arrow.Schema]
}

type aggregateArgs struct {
	Where expr.Expr `json:"where,omitzero"`
	Keys  []named   `json:"keys,omitempty"`
	Aggs  []agg     `json:"aggs,omitempty"`
	Mode  string    `json:"mode"`
}

// An agg is one aggregate:
//
//	count  rows whose Expr is not null; without Expr all rows
//	sum    of what is not null, exact for decimals; null where there is nothing
//	sum0   the same, zero where there is nothing
//	wide_sum  as sum, of integers a decimal: it fits whatever they are
//	min, max, any
//	and those by sketches, see sketches
type agg struct {
	Name string    `json:"name"`
	Fn   string    `json:"fn"`
	Expr expr.Expr `json:"expr,omitzero"`
}

// bind checks all expressions: the keys, then what the aggregates look at. It gives
// the schema of these and that of the result.
func (a *aggregate) bind(in *arrow.Schema) (b *expr.Bound, inner, out *arrow.Schema, err error) {
	cols := append([]named{}, a.Keys...)
	for _, g := range a.Aggs {
		if g.Expr.IsZero() {
			if g.Fn != "count" {
				return nil, nil, nil, fmt.Errorf("%s of nothing", g.Fn)
			}
			continue
		}
		cols = append(cols, named{g.Name, g.Expr})
	}
	if b, inner, err = bindColumns(in, cols); err != nil {
		return nil, nil, nil, err
	}
	fields := append([]arrow.Field{}, inner.Fields()[:len(a.Keys)]...)
	for _, f := range fields {
		if _, ok := keyWords(f.Type); !ok {
			return nil, nil, nil, fmt.Errorf("rows cannot be grouped by %s, which is of type %s", f.Name, f.Type)
		}
	}
	at := len(a.Keys)
	for _, g := range a.Aggs {
		f := arrow.Field{Type: arrow.PrimitiveTypes.Int64}
		if !g.Expr.IsZero() {
			f = inner.Field(at)
			at++
		}
		acc, err := newAggregate(g.Fn, f.Type)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", g.Name, err)
		}
		never := g.Fn == "count" || g.Fn == "sum0" || neverNull(g.Fn)
		null := f.Nullable || len(a.Keys) == 0 || mayBeNull(g.Fn)
		fields = append(fields, arrow.Field{Name: g.Name, Type: acc.typ(), Nullable: !never && null})
	}
	return b, inner, arrow.NewSchema(fields, nil), nil
}

// Schema implements dataflow.Operator.
func (a *aggregate) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	first, err := one("aggregate", in)
	if err != nil {
		return nil, err
	}
	if _, err := bindWhere(first, a.Where); err != nil {
		return nil, userError("aggregate", err)
	}
	_, _, out, err := a.bind(first)
	if err != nil {
		return nil, userError("aggregate", err)
	}
	a.planned.Store(first)
	return out, nil
}

// Open implements dataflow.Operator.
func (a *aggregate) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &aggStream{aggregate: a, env: env, in: in[0], mem: held{memory: env.Memory}, later: later{mem: held{memory: env.Memory}}}, nil
}

// A partial aggregate holds so many groups, which stay in the cache; when rows are
// fewer than half again as many, grouping is not worth it for a while.
const (
	partialGroups = 1 << 14
	skippedRows   = 16 * partialGroups
)

type aggStream struct {
	*aggregate
	final
	env    *dataflow.Env
	in     dataflow.Stream
	mem    held
	bound  bool
	where  *expr.Evaluator
	cols   *expr.Evaluator
	inner  *arrow.Schema // of what cols gives, and of spilled rows
	schema *arrow.Schema

	groups groupTable
	accs   []accumulator
	grown  grown
	later  later
	gids   []int32
	every  []int32 // 0, 1, 2, ...
	rows   int64   // since the table was empty
	skip   int64   // rows that pass without being grouped
	single dataflow.Batch

	ended   bool // the input at hand is
	emitted int  // groups that came out already, when ended or full
	full    bool // a partial table that must come out first
	spilled bool // in is a run

	level   int
	over    *scatter
	pending []aggRuns
}

// Next implements dataflow.Stream.
func (s *aggStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *aggStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		if s.single != nil {
			b := s.single
			s.single = nil
			return b, nil
		}
		if s.ended || s.full {
			b, err := s.emit()
			if err != nil || b != nil {
				return b, err
			}
			if s.full {
				s.full = false
				s.forget()
				continue
			}
			if err := s.turn(); err != nil {
				return nil, err
			}
			continue
		}
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			if err := s.settle(); err != nil {
				return nil, evalError(s.env, "aggregate", s.in, err)
			}
			if more, err := s.goOn(); err != nil {
				return nil, err
			} else if more {
				continue
			}
			s.ended = true
			if !s.bound && len(s.Keys) == 0 {
				schema := s.planned.Load()
				if schema == nil {
					return nil, &dataflow.Error{Op: "ops.aggregate", Kind: dataflow.Fatal,
						Err: errors.New("an input without rows was not planned: Schema must be called before Open")}
				}
				if err := s.prepare(schema); err != nil {
					return nil, err
				}
			}
			if s.bound && len(s.Keys) == 0 && s.groups.n == 1 {
				s.groups.n = 2
				s.grow()
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		err = s.take(b)
		if err != nil {
			err = evalError(s.env, "aggregate", s.in, err)
		}
		b.Release()
		if err != nil {
			return nil, err
		}
	}
}

// turn goes on to the rows that were spilled, or ends.
func (s *aggStream) turn() error {
	if err := s.in.Close(); err != nil {
		return err
	}
	s.forget()
	if err := s.endPass(); err != nil {
		return err
	}
	if len(s.pending) == 0 {
		return io.EOF
	}
	return s.nextPass()
}

// forget empties the table.
func (s *aggStream) forget() {
	s.emitted, s.rows = 0, 0
	if !s.bound {
		return
	}
	s.groups.reset()
	for _, a := range s.accs {
		a.reset()
	}
	s.grown.held = 0
	s.mem.releaseAll()
}

func (s *aggStream) prepare(in *arrow.Schema) error {
	where, err := bindWhere(in, s.Where)
	if err != nil {
		return userError("aggregate", err)
	}
	if where != nil {
		s.where = where.Evaluator(s.env.Alloc)
	}
	cols, inner, out, err := s.bind(in)
	if err != nil {
		return userError("aggregate", err)
	}
	s.cols, s.inner, s.schema, s.bound = cols.Evaluator(s.env.Alloc), inner, out, true
	at := len(s.Keys)
	for _, g := range s.Aggs {
		var t arrow.DataType
		if !g.Expr.IsZero() {
			t = inner.Field(at).Type
			at++
		}
		acc, err := newAggregate(g.Fn, t)
		if err != nil {
			return userError("aggregate", err)
		}
		s.accs = append(s.accs, acc)
		s.grown.watch(acc)
	}
	s.groups.init(inner.Fields()[:len(s.Keys)])
	return nil
}

// take puts the rows of a batch into their groups.
func (s *aggStream) take(b dataflow.Batch) error {
	var cols []arrow.Array
	n := int(b.NumRows())
	if s.spilled {
		cols = b.Columns()
	} else {
		if !s.bound {
			if err := s.prepare(b.Schema()); err != nil {
				return err
			}
		}
		var rows []int32
		if s.where != nil {
			sel, all, err := s.where.Select(b)
			if err != nil || len(sel) == 0 {
				return err
			}
			if !all {
				if done, err := s.takeMost(b, sel); done || err != nil {
					return err
				}
				rows, n = sel, len(sel)
			}
		}
		var err error
		if cols, err = s.cols.Eval(b, rows); err != nil {
			return err
		}
		defer func() {
			for _, c := range cols {
				c.Release()
			}
		}()
	}
	if s.skip > 0 {
		s.skip -= int64(n)
		var err error
		s.single, err = s.pass(cols, n)
		return err
	}
	return s.collect(cols, n, nil)
}

// takeMost is take where nearly all rows pass: columns are looked at as they lie
// instead of being gathered, and the few other rows count for group 0. It is not
// done where an expression fails, which may be on such a row only.
func (s *aggStream) takeMost(b dataflow.Batch, sel []int32) (done bool, err error) {
	n := int(b.NumRows())
	if s.skip > 0 || len(sel) < n-n/4 {
		return false, nil
	}
	cols, err := s.cols.Eval(b, nil)
	if err != nil {
		return false, nil
	}
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	return true, s.collect(cols, n, sel)
}

// pass makes groups of one of the rows.
func (s *aggStream) pass(cols []arrow.Array, n int) (dataflow.Batch, error) {
	out := make([]arrow.Array, 0, s.schema.NumFields())
	defer func() {
		for _, a := range out {
			a.Release()
		}
	}()
	for _, c := range cols[:len(s.Keys)] {
		c.Retain()
		out = append(out, c)
	}
	rest := cols[len(s.Keys):]
	s.gids = s.gids[:0]
	for i := range n {
		s.gids = append(s.gids, int32(i+1))
	}
	for i, acc := range s.accs {
		var c arrow.Array
		if !s.Aggs[i].Expr.IsZero() {
			c, rest = rest[0], rest[1:]
		}
		acc.reset()
		acc.grow(n + 1)
		if err := acc.update(s.gids, c); err != nil {
			return nil, err
		}
		a, err := acc.emit(s.env.Alloc, 1, n+1)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
		acc.reset()
	}
	return array.NewRecordBatch(s.schema, out, int64(n)), nil
}

// collect takes n rows, or those of them that sel names, now or later.
func (s *aggStream) collect(cols []arrow.Array, n int, sel []int32) error {
	if kept, err := s.keep(cols, n, sel); kept || err != nil {
		return err
	}
	return s.group(cols, n, sel)
}

// sel is what a sel of nil stands for: all of n rows.
func (s *aggStream) sel(n int, sel []int32) []int32 {
	if sel != nil {
		return sel
	}
	for i := len(s.every); i < n; i++ {
		s.every = append(s.every, int32(i))
	}
	return s.every[:n]
}

// group puts n rows, or those of them that sel names, into their groups.
func (s *aggStream) group(cols []arrow.Array, n int, sel []int32) error {
	if cap(s.gids) < n {
		s.gids = make([]int32, n)
	}
	s.gids = s.gids[:n]
	if sel != nil {
		clear(s.gids)
	}
	sel = s.sel(n, sel)
	s.rows += int64(len(sel))
	if len(s.Keys) == 0 {
		s.groups.n = 2
		for _, i := range sel {
			s.gids[i] = 1
		}
	} else if err := s.find(cols, n, sel); err != nil {
		return err
	}
	s.grow()
	rest := cols[len(s.Keys):]
	if s.grown.merging {
		return s.merge(rest)
	}
	for i, acc := range s.accs {
		var c arrow.Array
		if !s.Aggs[i].Expr.IsZero() {
			c, rest = rest[0], rest[1:]
		}
		if err := acc.update(s.gids, c); err != nil {
			return err
		}
	}
	return s.fit()
}

func (s *aggStream) grow() {
	for _, acc := range s.accs {
		acc.grow(s.groups.n)
	}
}

// find sets gids to the rows' groups, 0 for those that find no room in memory,
// which are spilled.
func (s *aggStream) find(cols []arrow.Array, n int, sel []int32) error {
	g := &s.groups
	partial := s.Mode == "partial"
	force := partial || g.n == 1
	each := s.bytesEach()
	g.room = func(groups int, text int64) bool {
		ok := s.mem.try(int64(groups)*each + text)
		if !ok && partial {
			s.full = true
		}
		return ok || force
	}
	missed := g.find(cols[:len(s.Keys)], n, sel, s.gids)
	if partial && g.n > partialGroups {
		s.full = true
	}
	if s.full && s.rows < int64(g.n)*3/2 {
		s.skip = skippedRows
	}
	if len(missed) == 0 {
		return nil
	}
	if s.grown.merging {
		return s.spillStates(cols, n, g.hashes[:n], missed)
	}
	if s.over == nil {
		s.over = newScatter(s.env, "aggregate", s.level%scatterLevels)
	}
	b := array.NewRecordBatch(s.inner, cols, int64(n))
	defer b.Release()
	return s.over.add(b, g.hashes[:n], missed)
}

// bytesEach is the most that a group takes, beside what grows with its rows.
func (s *aggStream) bytesEach() int64 {
	each := s.groups.bytesEach()
	for _, a := range s.accs {
		each += a.bytesEach()
	}
	return each
}

// batchRows is how many groups make a batch.
func (s *aggStream) batchRows() int {
	limit, size := order.BatchLimits(s.env)
	each := s.groups.bytesEach() + 8*int64(len(s.accs)) + (s.groups.textBytes()+s.grown.bytes())/int64(s.groups.n)
	return max(1, min(limit, int(int64(size)/max(1, each))))
}

// emit gives the next groups, nil after the last.
func (s *aggStream) emit() (dataflow.Batch, error) {
	s.emitted = max(s.emitted, 1)
	if !s.bound || s.emitted >= s.groups.n {
		return nil, nil
	}
	from, to := s.emitted, min(s.emitted+s.batchRows(), s.groups.n)
	out := make([]arrow.Array, 0, s.schema.NumFields())
	defer func() {
		for _, a := range out {
			a.Release()
		}
	}()
	for c := range s.Keys {
		a, err := s.groups.emit(s.env.Alloc, c, from, to)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	for _, acc := range s.accs {
		a, err := acc.emit(s.env.Alloc, from, to)
		if err != nil {
			return nil, userError("aggregate", err)
		}
		out = append(out, a)
	}
	s.emitted = to
	return array.NewRecordBatch(s.schema, out, int64(to-from)), nil
}

// Close implements dataflow.Stream.
func (s *aggStream) Close() error {
	s.closed()
	err := s.in.Close()
	if s.single != nil {
		s.single.Release()
		s.single = nil
	}
	if s.over != nil {
		s.over.abort()
		s.over = nil
	}
	err = errors.Join(err, s.grown.close())
	for _, p := range s.pending {
		err = errors.Join(err, p.remove())
	}
	s.pending = nil
	s.later.drop()
	s.forget()
	return err
}
