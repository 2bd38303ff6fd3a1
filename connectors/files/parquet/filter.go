package parquet

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// A filter reads the columns of a condition first and says which rows fulfil it, so that
// of the other columns no more than these is looked at. It rests where most rows pass.
// The zero value lets all rows pass.
type filter struct {
	where  *expr.Evaluator
	cols   []int // of the stream's schema
	schema *arrow.Schema
	some   *expr.Evaluator // the columns, of rows that pass

	tried, passed, rest int64
}

const (
	// filterTrial is how many rows are looked at before the filter is judged.
	filterTrial = 1 << 16
	// filterRest is how many rows pass unseen where the filter is not worth it.
	filterRest = 1 << 20
)

// bind prepares a condition on columns of a schema; one that cannot be worked out here
// is left to who asks for the rows.
func (f *filter) bind(mem memory.Allocator, schema *arrow.Schema, where expr.Expr) {
	if where.IsZero() {
		return
	}
	var fields []arrow.Field
	var es []expr.Expr
	for _, name := range expr.Columns(where) {
		at := schema.FieldIndices(name)
		if len(at) != 1 {
			return
		}
		f.cols = append(f.cols, at[0])
		fields, es = append(fields, schema.Field(at[0])), append(es, expr.Col(name))
	}
	f.schema = arrow.NewSchema(fields, nil)
	cond, err := expr.BindFilter(f.schema, where)
	if err != nil {
		return
	}
	cols, err := expr.Bind(f.schema, es...)
	if err != nil {
		return
	}
	f.where, f.some = cond.Evaluator(mem), cols.Evaluator(mem)
}

// read puts the condition's columns of the next n rows into cols and says which rows
// they are of, nil for all. Where the condition fails, who asks for the rows finds it.
func (f *filter) read(s *stream, cols []arrow.Array, n int) (sel []int32, err error) {
	if f.rest > 0 {
		f.rest -= int64(n)
		return nil, nil
	}
	if f.where == nil {
		return nil, nil
	}
	read := make([]arrow.Array, len(f.cols))
	for i, c := range f.cols {
		if cols[c], err = s.column(c, n, nil); err != nil {
			return nil, err
		}
		read[i] = cols[c]
	}
	b := array.NewRecordBatch(f.schema, read, int64(n))
	defer b.Release()
	sel, all, err := f.where.Select(b)
	if err != nil || all {
		return nil, nil
	}
	f.tried += int64(n)
	f.passed += int64(len(sel))
	if f.tried >= filterTrial {
		if 2*f.passed > f.tried {
			f.rest = filterRest
		}
		f.tried, f.passed = 0, 0
	}
	if len(sel) > n-n/4 {
		return nil, nil
	}
	if len(sel) == 0 {
		return []int32{}, nil // cols are not looked at then
	}
	picked, err := f.some.Eval(b, sel)
	if err != nil {
		return nil, nil
	}
	for i, c := range f.cols {
		cols[c].Release()
		cols[c] = picked[i]
	}
	return slices.Clone(sel), nil
}
