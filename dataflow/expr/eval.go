package expr

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Bound is expressions that were checked against a schema. It is immutable.
type Bound struct {
	fields []arrow.Field // what each expression gives
	roots  []*bnode
	nodes  int
}

// bnode is a node of a checked expression. Alike parts of the expressions are one.
type bnode struct {
	id       int
	op       string
	typ      arrow.DataType
	nullable bool
	args     []*bnode
	text     string // for errors

	col  int  // of a column, else -1
	lit  *vec // of a literal
	cost int  // a guess, to look at the cheap conditions first
	// fails says that evaluating it may fail, so that it is only done for rows that
	// need it.
	fails bool
	// Exactly one of the two, where the node is no column or literal: strict gets
	// its arguments' values, lazy asks for what it needs.
	strict func(f *frame, a []*vec) (*vec, error)
	lazy   func(f *frame, n *bnode) (*vec, error)
}

// Fields are what the expressions give: types and whether they can be null. Their
// names are those of the columns that they are, else how they print.
func (b *Bound) Fields() []arrow.Field { return b.fields }

// Type is the type of the first expression.
func (b *Bound) Type() arrow.DataType { return b.fields[0].Type }

// A RowError says which row of a batch an expression failed on.
type RowError struct {
	Row  int
	Expr string
	Err  error
}

func (e *RowError) Error() string { return e.Expr + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *RowError) Unwrap() error { return e.Err }

// An Evaluator evaluates bound expressions. It keeps working memory from one batch
// to the next and is used by one goroutine.
type Evaluator struct {
	*Bound
	pools
	mem   memory.Allocator
	batch arrow.RecordBatch
	memos [][]*vec
	used  int
	sels  pool[int32]
}

// Evaluator makes one; what Eval returns is allocated from mem.
func (b *Bound) Evaluator(mem memory.Allocator) *Evaluator { return &Evaluator{Bound: b, mem: mem} }

// A frame is some rows of a batch, and what was worked out for them.
type frame struct {
	*Evaluator
	sel  []int32 // nil: all rows
	n    int
	memo []*vec
}

func (e *Evaluator) begin(batch arrow.RecordBatch) {
	e.pools.reset()
	e.sels.reset()
	e.batch, e.used = batch, 0
}

func (e *Evaluator) frame(sel []int32) *frame {
	f := &frame{Evaluator: e, sel: sel, n: int(e.batch.NumRows())}
	if sel != nil {
		f.n = len(sel)
	}
	if e.used == len(e.memos) {
		e.memos = append(e.memos, make([]*vec, e.nodes))
	}
	f.memo = e.memos[e.used]
	clear(f.memo)
	e.used++
	return f
}

// only is a frame of some of f's rows.
func (f *frame) only(rows []int32) *frame {
	if f.sel == nil {
		return f.frame(rows)
	}
	sel := f.sels.get(len(rows))
	for i, r := range rows {
		sel[i] = f.sel[r]
	}
	return f.frame(sel)
}

func (f *frame) eval(n *bnode) (*vec, error) {
	if n.lit != nil {
		return n.lit, nil
	}
	if v := f.memo[n.id]; v != nil {
		return v, nil
	}
	v, err := f.work(n)
	if err == nil {
		f.memo[n.id] = v
	}
	return v, err
}

func (f *frame) work(n *bnode) (*vec, error) {
	switch {
	case n.col >= 0:
		return f.load(f.batch.Column(n.col))
	case n.lazy != nil:
		return n.lazy(f, n)
	}
	var few [4]*vec
	args := few[:0]
	for _, a := range n.args {
		v, err := f.eval(a)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	v, err := n.strict(f, args)
	if err != nil {
		return nil, f.located(n, err)
	}
	return v, nil
}

// A rowFailure is what kernels report: the row is the frame's.
type rowFailure struct {
	row int
	err error
}

func (e *rowFailure) Error() string { return e.err.Error() }

func failure(row int, format string, args ...any) error {
	return &rowFailure{row, fmt.Errorf(format, args...)}
}

func (f *frame) located(n *bnode, err error) error {
	var r *rowFailure
	if !errors.As(err, &r) {
		return err
	}
	row := r.row
	if f.sel != nil && row < len(f.sel) {
		row = int(f.sel[row])
	}
	return &RowError{Row: row, Expr: n.text, Err: r.err}
}

// Eval gives the values of all expressions for the rows of a batch, or for those
// that sel names, in that order, if it is not nil. The caller owns the arrays;
// one that is a column as it stands shares its memory.
func (e *Evaluator) Eval(batch arrow.RecordBatch, sel []int32) ([]arrow.Array, error) {
	e.begin(batch)
	f := e.frame(sel)
	out := make([]arrow.Array, 0, len(e.roots))
	for i, n := range e.roots {
		a, err := f.array(n, e.fields[i].Type)
		if err != nil {
			for _, a := range out {
				a.Release()
			}
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func (f *frame) array(n *bnode, t arrow.DataType) (arrow.Array, error) {
	if n.col >= 0 {
		c := f.batch.Column(n.col)
		if f.sel != nil {
			return Gather(f.mem, c, f.sel)
		}
		c.Retain()
		return c, nil
	}
	v, err := f.eval(n)
	if err != nil {
		return nil, err
	}
	return f.store(v, t), nil
}

// Select gives the rows of a batch for which all expressions, which must be
// conditions, are true. The result is valid until the evaluator's next call; all
// says that it is every row.
func (e *Evaluator) Select(batch arrow.RecordBatch) (rows []int32, all bool, err error) {
	e.begin(batch)
	n := int(batch.NumRows())
	f := e.frame(nil)
	for _, root := range e.roots {
		v, err := f.eval(root)
		if err != nil {
			return nil, false, err
		}
		next := f.sels.get(f.n)
		next = next[:f.trueRows(next, v)]
		if len(next) == f.n {
			continue
		}
		if f.sel != nil {
			for i, r := range next {
				next[i] = f.sel[r]
			}
		}
		rows = next
		if len(rows) == 0 {
			return rows, false, nil
		}
		f = e.frame(rows)
	}
	if f.sel == nil {
		rows = f.sels.get(n)
		for i := range rows {
			rows[i] = int32(i)
		}
		return rows, true, nil
	}
	return rows, false, nil
}

// trueRows writes the rows where v is true to dst, which has room for all, and
// says how many they are. It has no branches: which rows pass is hard to foresee.
func (f *frame) trueRows(dst []int32, v *vec) int {
	if v.konst {
		if v.allNull() || v.bits[0] == 0 {
			return 0
		}
		for i := range f.n {
			dst[i] = int32(i)
		}
		return f.n
	}
	k := 0
	bits := v.bits[:f.n]
	if v.valid == nil {
		for i, b := range bits {
			dst[k] = int32(i)
			k += int(b)
		}
		return k
	}
	valid := v.valid[:len(bits)]
	for i, b := range bits {
		dst[k] = int32(i)
		k += int(b & valid[i])
	}
	return k
}
