package parquet

import (
	"cmp"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// A filter reads the columns of a condition first and says which rows fulfil it, so that
// of the other columns no more than these is looked at. What of the condition is about a
// column of codes is worked out once a dictionary; then, for the rows that this leaves, the
// rest and the sieves of who reads the rows, first what leaves least for what it reads.
// It rests where most rows pass. The zero value lets all rows pass.
type filter struct {
	where  expr.Expr
	sieves []dataflow.Sieve
	mem    memory.Allocator
	tests  []test // of the row group
	steps  []step

	sel                    []int32
	tried, passed, resting int64
}

const (
	// filterTrial is how many rows are looked at before the filter is judged.
	filterTrial = 1 << 16
	// filterRest is how many rows pass unseen where the filter is not worth it.
	filterRest = 1 << 20
)

// begin prepares the filter for the row group whose columns the stream has opened.
func (f *filter) begin(s *stream) error {
	f.tests, f.steps = f.tests[:0], f.steps[:0]
	var left []expr.Expr
	for _, cond := range byColumn(f.where) {
		t, err := f.test(s, cond)
		if err != nil {
			return err
		}
		if t.column == nil {
			left = append(left, cond)
			continue
		}
		f.tests = append(f.tests, t)
	}
	if len(left) > 0 {
		if rest, ok := bindRest(f.mem, s.schema, expr.All(left...)); ok {
			f.steps = append(f.steps, rest)
		}
	}
	return f.beginSieves(s)
}

// byColumn splits a condition into those on one column, all that are on the same, and
// the others.
func byColumn(where expr.Expr) []expr.Expr {
	var conds []expr.Expr
	at := map[string]int{}
	for _, c := range expr.Conjuncts(where) {
		names := expr.Columns(c)
		if len(names) == 1 {
			if i, ok := at[names[0]]; ok {
				conds[i] = conds[i].And(c)
				continue
			}
			at[names[0]] = len(conds)
		}
		conds = append(conds, c)
	}
	return conds
}

// A test is a condition on a column of codes: which of them fulfil it, a null's behind the
// last.
type test struct {
	column *coded
	passes []uint8
}

// test works a condition out for the values of a column's dictionary. A condition for
// which that cannot be done, or is not worth it, has none.
func (f *filter) test(s *stream, cond expr.Expr) (t test, err error) {
	names := expr.Columns(cond)
	if len(names) != 1 {
		return t, nil
	}
	c, values, err := s.dictionary(names[0])
	if err != nil || c == nil {
		return t, err
	}
	defer values.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: names[0], Type: values.DataType(), Nullable: values.NullN() > 0}}, nil)
	bound, err := expr.BindFilter(schema, cond)
	if err != nil {
		return t, nil
	}
	b := array.NewRecordBatch(schema, []arrow.Array{values}, int64(values.Len()))
	defer b.Release()
	sel, _, err := bound.Evaluator(f.mem).Select(b)
	if err != nil {
		return t, nil
	}
	return testOf(c, values.Len(), sel), nil
}

func testOf(c *coded, n int, codes []int32) test {
	t := test{column: c, passes: make([]uint8, n)}
	for _, code := range codes {
		t.passes[code] = 1
	}
	return t
}

// dictionary is the values of a column of codes of the row group that is about to be read,
// as coded.all gives them; none where that is more than looking at the rows.
func (s *stream) dictionary(name string) (*coded, arrow.Array, error) {
	at := s.schema.FieldIndices(name)
	if len(at) != 1 {
		return nil, nil, nil
	}
	c, ok := s.readers[at[0]].(*coded)
	if !ok {
		return nil, nil, nil
	}
	values, err := c.all()
	if err != nil {
		return nil, nil, err
	}
	defer values.Release()
	if int64(values.Len()) > s.group.rows/2 {
		return nil, nil, nil
	}
	typed, err := files.Retype(values, s.schema.Field(at[0]))
	if err != nil {
		return nil, nil, nil
	}
	return c, typed, nil
}

// choose gives the rows of the next n, or those of them that sel names where it is not
// nil, that pass; dst has room for them and may be sel.
func (t test) choose(dst []int32, n int, sel []int32) ([]int32, error) {
	codes, err := t.column.look(n)
	if err != nil {
		return nil, err
	}
	passes, k := t.passes, 0
	if t.column.optional {
		null := uint32(len(passes) - 1)
		for i, c := range codes {
			if c == nullCode {
				codes[i] = null
			} else if c >= null {
				return nil, outside(c, len(passes)-1)
			}
		}
		defer restoreNulls(codes, null)
	}
	if sel == nil {
		dst = dst[:len(codes)]
		for i, c := range codes {
			if uint(c) >= uint(len(passes)) {
				return nil, outside(c, len(passes))
			}
			dst[k] = int32(i)
			k += int(passes[c])
		}
		return dst[:k], nil
	}
	dst = dst[:len(sel)]
	for _, i := range sel {
		c := codes[i]
		if uint(c) >= uint(len(passes)) {
			return nil, outside(c, len(passes))
		}
		dst[k] = i
		k += int(passes[c])
	}
	return dst[:k], nil
}

func restoreNulls(codes []uint32, null uint32) {
	for i, c := range codes {
		if c == null {
			codes[i] = nullCode
		}
	}
}

// read says which of the next n rows fulfil the condition, nil for all, and puts the
// columns that it had to read of these rows into cols. Where the condition fails, who asks
// for the rows finds it.
func (f *filter) read(s *stream, cols []arrow.Array, n int) (sel []int32, err error) {
	if f.resting > 0 {
		f.resting -= int64(n)
		return nil, nil
	}
	if len(f.tests) == 0 && len(f.steps) == 0 {
		return nil, nil
	}
	f.sel = slices.Grow(f.sel[:0], n)[:n]
	for _, t := range f.tests {
		if sel, err = t.choose(f.sel, n, sel); err != nil {
			return nil, err
		}
		if len(sel) == 0 {
			break
		}
	}
	if sel != nil && len(sel) > n-n/4 {
		sel = nil
	}
	for i := range f.steps {
		if sel != nil && len(sel) == 0 {
			break
		}
		if sel, err = f.step(s, cols, n, sel, &f.steps[i]); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(f.steps, func(a, b step) int { return cmp.Compare(a.price(), b.price()) })
	f.judge(n, sel)
	return sel, nil
}

// narrow leaves those that some names of the rows that sel does: in cols, and of sel.
func (f *filter) narrow(cols []arrow.Array, sel, some []int32) ([]int32, error) {
	if len(some) == 0 {
		return []int32{}, nil // cols are not looked at then
	}
	for c, all := range cols {
		if all == nil {
			continue
		}
		picked, err := expr.Gather(f.mem, all, some)
		if err != nil {
			return nil, err
		}
		all.Release()
		cols[c] = picked
	}
	for i, at := range some { // some goes up: nothing is written over before it is read
		if sel != nil {
			at = sel[at]
		}
		f.sel[i] = at
	}
	return f.sel[:len(some)], nil
}

// judge lets the filter rest where it leaves most rows.
func (f *filter) judge(n int, sel []int32) {
	f.tried += int64(n)
	if sel == nil {
		f.passed += int64(n)
	}
	f.passed += int64(len(sel))
	if f.tried < filterTrial {
		return
	}
	if 2*f.passed > f.tried {
		f.resting = filterRest
	}
	f.tried, f.passed = 0, 0
}
