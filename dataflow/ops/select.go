package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

func init() {
	register("select", "columns worked out by expressions, of the rows that fulfil a condition", func(a selection) (dataflow.Operator, error) {
		if a.Where.IsZero() && len(a.Columns) == 0 {
			return nil, errors.New("neither a condition nor columns are named")
		}
		return a, nil
	})
}

// selection passes the rows for which Where is true (all, without one) and of them
// the Columns (without any: all columns as they are). Columns are worked out for
// the rows that pass only.
type selection struct {
	Where   expr.Expr `json:"where,omitzero"`
	Columns []named   `json:"columns,omitempty"`
}

// named is an expression and what its column is called.
type named struct {
	Name string    `json:"name"`
	Expr expr.Expr `json:"expr"`
}

// bindColumns checks named expressions; the schema has their names.
func bindColumns(in *arrow.Schema, cols []named) (*expr.Bound, *arrow.Schema, error) {
	es := make([]expr.Expr, len(cols))
	for i, c := range cols {
		es[i] = c.Expr
	}
	b, err := expr.Bind(in, es...)
	if err != nil {
		return nil, nil, err
	}
	fields := make([]arrow.Field, len(cols))
	for i, f := range b.Fields() {
		fields[i] = arrow.Field{Name: cols[i].Name, Type: f.Type, Nullable: f.Nullable}
	}
	return b, arrow.NewSchema(fields, nil), nil
}

func allColumns(in *arrow.Schema) []named {
	cols := make([]named, in.NumFields())
	for i, f := range in.Fields() {
		cols[i] = named{f.Name, expr.Col(f.Name)}
	}
	return cols
}

func bindWhere(in *arrow.Schema, where expr.Expr) (*expr.Bound, error) {
	if where.IsZero() {
		return nil, nil
	}
	return expr.BindFilter(in, where)
}

// Schema implements dataflow.Operator.
func (s selection) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	first, err := one("select", in)
	if err != nil {
		return nil, err
	}
	if _, err := bindWhere(first, s.Where); err != nil {
		return nil, userError("select", err)
	}
	if len(s.Columns) == 0 {
		return first, nil
	}
	_, out, err := bindColumns(first, s.Columns)
	if err != nil {
		return nil, userError("select", err)
	}
	return out, nil
}

// Open implements dataflow.Operator.
func (s selection) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &selectStream{selection: s, env: env, in: in[0]}, nil
}

type selectStream struct {
	selection
	final
	env    *dataflow.Env
	in     dataflow.Stream
	where  *expr.Evaluator // nil: every row
	cols   *expr.Evaluator // nil: every column
	schema *arrow.Schema
}

// Next implements dataflow.Stream.
func (s *selectStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *selectStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		b, err := s.in.Next(ctx)
		if err != nil {
			return nil, err
		}
		out, err := s.batch(b)
		if err != nil {
			err = evalError(s.env, "select", s.in, err)
		}
		b.Release()
		if err != nil || out != nil {
			return out, err
		}
	}
}

// evalError names the record that an expression failed on.
func evalError(env *dataflow.Env, kind string, in dataflow.Stream, err error) error {
	var at *expr.RowError
	if !errors.As(err, &at) {
		return fmt.Errorf("ops.%s: %w", kind, err)
	}
	if env.Redact {
		err = dataflow.RedactError(err)
	}
	return &dataflow.Error{Op: "ops." + kind, Path: dataflow.Locate(in, at.Row), Kind: dataflow.User, Err: err}
}

func (s *selectStream) bind(in *arrow.Schema) error {
	where, err := bindWhere(in, s.Where)
	if err != nil {
		return userError("select", err)
	}
	if where != nil {
		s.where = where.Evaluator(s.env.Alloc)
	}
	s.schema = in
	if len(s.Columns) == 0 {
		if where == nil {
			return nil
		}
		return s.bindAll(in)
	}
	cols, schema, err := bindColumns(in, s.Columns)
	if err != nil {
		return userError("select", err)
	}
	s.cols, s.schema = cols.Evaluator(s.env.Alloc), schema
	return nil
}

// bindAll prepares the gathering of all columns. Their names may not be unique, so
// they are found by place.
func (s *selectStream) bindAll(in *arrow.Schema) error {
	fields := in.Fields()
	renamed := make([]arrow.Field, len(fields))
	for i, f := range fields {
		f.Name = fmt.Sprint(i)
		renamed[i] = f
	}
	cols, _, err := bindColumns(arrow.NewSchema(renamed, nil), allColumns(arrow.NewSchema(renamed, nil)))
	if err != nil {
		return userError("select", err)
	}
	s.cols = cols.Evaluator(s.env.Alloc)
	return nil
}

// batch is what of b passes, nil if nothing does.
func (s *selectStream) batch(b dataflow.Batch) (dataflow.Batch, error) {
	if s.schema == nil {
		if err := s.bind(b.Schema()); err != nil {
			return nil, err
		}
	}
	var rows []int32
	n := b.NumRows()
	if s.where != nil {
		sel, all, err := s.where.Select(b)
		if err != nil || len(sel) == 0 {
			return nil, err
		}
		if !all {
			rows, n = sel, int64(len(sel))
		}
	}
	if s.cols == nil || rows == nil && len(s.Columns) == 0 {
		b.Retain()
		return b, nil
	}
	arrs, err := s.cols.Eval(b, rows)
	if err != nil {
		return nil, err
	}
	out := array.NewRecordBatch(s.schema, arrs, n)
	for _, a := range arrs {
		a.Release()
	}
	return out, nil
}

// Locate implements dataflow.Locator where every row passes.
func (s *selectStream) Locate(row int) string {
	if s.where != nil {
		return ""
	}
	return dataflow.Locate(s.in, row)
}

// Close implements dataflow.Stream.
func (s *selectStream) Close() error {
	s.closed()
	return s.in.Close()
}
