package ops

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

func init() {
	register("limit", "the first n rows", func(a limit) (dataflow.Operator, error) {
		if a.N < 0 {
			return nil, fmt.Errorf("n is %d", a.N)
		}
		return a, nil
	})
}

// limit passes the first N rows and closes its input when it has them.
type limit struct {
	N int64 `json:"n"`
}

// Schema implements dataflow.Operator.
func (l limit) Schema(in ...*arrow.Schema) (*arrow.Schema, error) { return one("limit", in) }

// Open implements dataflow.Operator.
func (l limit) Open(_ *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &limitStream{in: in[0], left: l.N}, nil
}

type limitStream struct {
	final
	in   dataflow.Stream
	left int64
}

func (s *limitStream) Next(ctx context.Context) (dataflow.Batch, error) {
	return s.next(ctx, func(ctx context.Context) (dataflow.Batch, error) {
		if s.left == 0 {
			return nil, io.EOF
		}
		b, err := s.in.Next(ctx)
		if err != nil {
			return nil, err
		}
		if n := b.NumRows(); n > s.left {
			cut := b.NewSlice(0, s.left)
			b.Release()
			b = cut
		}
		s.left -= b.NumRows()
		if s.left == 0 {
			if err := s.in.Close(); err != nil {
				b.Release()
				return nil, err
			}
		}
		return b, nil
	})
}

func (s *limitStream) Close() error {
	s.closed()
	return s.in.Close()
}
