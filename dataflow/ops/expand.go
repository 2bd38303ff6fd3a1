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
	register("expand", "of each row several, each of columns worked out by expressions of its own", func(a expand) (dataflow.Operator, error) {
		if len(a.Rows) == 0 {
			return nil, errors.New("no rows are named")
		}
		return a, nil
	})
}

// expand makes of each row as many as Rows has lists of columns. All lists have the same
// names and types; a column may be null if it may be in one of them.
type expand struct {
	Rows [][]named `json:"rows"`
}

// bind checks all lists.
func (e expand) bind(in *arrow.Schema) ([]*expr.Bound, *arrow.Schema, error) {
	var bounds []*expr.Bound
	var fields []arrow.Field
	for i, cols := range e.Rows {
		b, s, err := bindColumns(in, cols)
		if err != nil {
			return nil, nil, err
		}
		bounds = append(bounds, b)
		if i == 0 {
			fields = s.Fields()
			continue
		}
		if s.NumFields() != len(fields) {
			return nil, nil, fmt.Errorf("row %d has %d columns, the first has %d", i, s.NumFields(), len(fields))
		}
		for c, f := range s.Fields() {
			if f.Name != fields[c].Name || !arrow.TypeEqual(f.Type, fields[c].Type) {
				return nil, nil, fmt.Errorf("column %d of row %d is %s of type %s, in the first row %s of %s", c, i, f.Name, f.Type, fields[c].Name, fields[c].Type)
			}
			fields[c].Nullable = fields[c].Nullable || f.Nullable
		}
	}
	return bounds, arrow.NewSchema(fields, nil), nil
}

// Schema implements dataflow.Operator.
func (e expand) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	first, err := one("expand", in)
	if err != nil {
		return nil, err
	}
	_, out, err := e.bind(first)
	if err != nil {
		return nil, userError("expand", err)
	}
	return out, nil
}

// Open implements dataflow.Operator.
func (e expand) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &expandStream{expand: e, env: env, in: in[0]}, nil
}

// Estimate implements dataflow.Estimator.
func (e expand) Estimate(in ...float64) float64 { return in[0] * float64(len(e.Rows)) }

type expandStream struct {
	expand
	final
	env    *dataflow.Env
	in     dataflow.Stream
	cols   []*expr.Evaluator
	schema *arrow.Schema

	b  dataflow.Batch // at hand
	at int            // of Rows: what b comes out as next
}

// Next implements dataflow.Stream.
func (s *expandStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *expandStream) step(ctx context.Context) (dataflow.Batch, error) {
	if s.b == nil {
		b, err := s.in.Next(ctx)
		if err != nil {
			return nil, err
		}
		s.b, s.at = b, 0
	}
	if s.schema == nil {
		bounds, schema, err := s.bind(s.b.Schema())
		if err != nil {
			return nil, userError("expand", err)
		}
		for _, b := range bounds {
			s.cols = append(s.cols, b.Evaluator(s.env.Alloc))
		}
		s.schema = schema
	}
	cols, err := s.cols[s.at].Eval(s.b, nil)
	if err != nil {
		return nil, evalError(s.env, "expand", s.in, err)
	}
	out := array.NewRecordBatch(s.schema, cols, s.b.NumRows())
	for _, c := range cols {
		c.Release()
	}
	if s.at++; s.at == len(s.Rows) {
		s.drop()
	}
	return out, nil
}

func (s *expandStream) drop() {
	if s.b != nil {
		s.b.Release()
		s.b = nil
	}
}

// Close implements dataflow.Stream.
func (s *expandStream) Close() error {
	s.closed()
	s.drop()
	return s.in.Close()
}
