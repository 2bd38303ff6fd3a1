package ops

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

func init() {
	register("project", "some columns, in a given order", func(a project) (dataflow.Operator, error) { return a, nil })
}

// project passes the columns it names, in that order; a column may be named twice.
type project struct {
	Columns []int `json:"columns"`
}

// Schema implements dataflow.Operator.
func (p project) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	s, err := one("project", in)
	if err != nil {
		return nil, err
	}
	if err := checkColumns(s, p.Columns); err != nil {
		return nil, userError("project", err)
	}
	return selectFields(s, p.Columns), nil
}

// Open implements dataflow.Operator.
func (p project) Open(_ *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &projectStream{in: in[0], cols: p.Columns}, nil
}

type projectStream struct {
	final
	in     dataflow.Stream
	cols   []int
	schema *arrow.Schema
}

func (s *projectStream) Next(ctx context.Context) (dataflow.Batch, error) {
	return s.next(ctx, func(ctx context.Context) (dataflow.Batch, error) {
		b, err := s.in.Next(ctx)
		if err != nil {
			return nil, err
		}
		defer b.Release()
		if s.schema == nil {
			s.schema = selectFields(b.Schema(), s.cols)
		}
		return selectColumns(s.schema, b, s.cols), nil
	})
}

func (s *projectStream) Close() error {
	s.closed()
	return s.in.Close()
}
