package parquet

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// A step is a part of a filter that is worked out row by row: a condition, or a sieve.
type step struct {
	cols []int // of the stream's schema
	// pass is as a Sieve's.
	pass func(values []arrow.Array) (rows []int32, all bool, err error)

	tried, left int64 // rows
}

// bindRest makes a step of a condition on columns of a schema; one that cannot be worked
// out here is left to who asks for the rows.
func bindRest(mem memory.Allocator, schema *arrow.Schema, where expr.Expr) (r step, ok bool) {
	var fields []arrow.Field
	for _, name := range expr.Columns(where) {
		at := schema.FieldIndices(name)
		if len(at) != 1 {
			return r, false
		}
		r.cols = append(r.cols, at[0])
		fields = append(fields, schema.Field(at[0]))
	}
	inner := arrow.NewSchema(fields, nil)
	cond, err := expr.BindFilter(inner, where)
	if err != nil || len(fields) == 0 {
		return r, false
	}
	e := cond.Evaluator(mem)
	r.pass = func(values []arrow.Array) (rows []int32, all bool, err error) {
		b := array.NewRecordBatch(inner, values, int64(values[0].Len()))
		defer b.Release()
		return e.Select(b)
	}
	return r, true
}

// sift makes a step of a sieve.
func sift(schema *arrow.Schema, v dataflow.Sieve) step {
	s := step{pass: v.Pass}
	for _, name := range v.Columns {
		s.cols = append(s.cols, schema.FieldIndices(name)[0])
	}
	return s
}

// price is how many columns' values are read for each row that is left out, by what was
// seen.
func (s *step) price() float64 {
	if s.tried == 0 {
		return 0 // it is to be seen
	}
	if s.left == s.tried {
		return math.Inf(1)
	}
	return float64(len(s.cols)) * float64(s.tried) / float64(s.tried-s.left)
}

// step says which of the next n rows, or of those of them that sel names where it is not
// nil, pass a step. It puts the columns that it had to read of these rows into cols. Where
// the step fails, all pass: who asks for the rows finds it.
func (f *filter) step(s *stream, cols []arrow.Array, n int, sel []int32, v *step) (_ []int32, err error) {
	m := n
	if sel != nil {
		m = len(sel)
	}
	read := make([]arrow.Array, len(v.cols))
	for i, c := range v.cols {
		if cols[c] == nil {
			if cols[c], err = s.column(c, n, sel); err != nil {
				return nil, err
			}
		}
		read[i] = cols[c]
	}
	some, all, err := v.pass(read)
	v.tried += int64(m)
	if err != nil || all || len(some) > m-m/4 {
		v.left += int64(m)
		return sel, nil
	}
	v.left += int64(len(some))
	return f.narrow(cols, sel, some)
}
