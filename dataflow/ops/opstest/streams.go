package opstest

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// Slice is a stream of the rows of b in batches of at most size rows, each a copy
// made with mem. B stays the caller's and must live as long as the stream.
func Slice(mem memory.Allocator, b dataflow.Batch, size int) dataflow.Stream {
	return &slice{mem: mem, b: b, size: size}
}

type slice struct {
	mem    memory.Allocator
	b      dataflow.Batch
	size   int
	at     int
	fail   int // the row to fail at
	fails  bool
	failed bool
	closed bool
}

var errInput = errors.New("the input failed")

func (s *slice) Next(ctx context.Context) (dataflow.Batch, error) {
	switch {
	case s.closed:
		return nil, errors.New("read from a closed input")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case s.fails && s.at >= s.fail:
		s.failed = true
		return nil, errInput
	case s.at >= int(s.b.NumRows()):
		return nil, io.EOF
	}
	n := min(s.size, int(s.b.NumRows())-s.at)
	if s.fails {
		n = min(n, s.fail-s.at)
	}
	refs := make([]order.Ref, n)
	for i := range refs {
		refs[i].Row = int32(s.at + i)
	}
	s.at += n
	return order.Take(s.mem, s.b.Schema(), []dataflow.Batch{s.b}, refs)
}

func (s *slice) Close() error {
	s.closed = true
	return nil
}

// Collect reads a stream to its end and closes it. The caller releases the
// batches.
func Collect(ctx context.Context, s dataflow.Stream) ([]dataflow.Batch, error) {
	var bs []dataflow.Batch
	for {
		b, err := s.Next(ctx)
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return bs, errors.Join(err, s.Close())
		}
		bs = append(bs, b)
	}
}
