package dataflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// MapBatch gives whole batches to a function, in columns: those of A go in, those
// of B must come out. The function releases nothing it was given; the caller owns
// what it returns. MapBatchTask gives the function the task's allocator.
func MapBatch[A, B any](d Dataset[A], f func(ctx context.Context, b Batch) (Batch, error)) Dataset[B] {
	return rowwise(MapBatchTask[A, B](d, func(*Task) func(context.Context, Batch) (Batch, error) { return f }))
}

// MapBatchTask is MapBatch with a function made per task.
func MapBatchTask[A, B any](d Dataset[A], f func(*Task) func(ctx context.Context, b Batch) (Batch, error), sides ...AnySide) Dataset[B] {
	out := codecFor[B](d.j)
	n := &Node{Kind: OperatorNode, Name: "MapBatch", In: []*Node{d.node}, Sides: sideNodes(sides)}
	n.Op = &batchOp[A, B]{n, d.codec, out, f}
	return then(d.j, n, out)
}

type batchOp[A, B any] struct {
	node *Node
	in   *codec[A]
	out  *codec[B]
	f    func(*Task) func(context.Context, Batch) (Batch, error)
}

// Schema implements Operator.
func (o *batchOp[A, B]) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	err := sameColumns(in, 1)
	if err == nil {
		err = o.in.accepts(in[0])
	}
	if err != nil {
		return nil, &Error{Op: o.node.Name + " (" + o.node.Site + ")", Kind: User, Err: err}
	}
	return o.out.schema, nil
}

// Open implements Operator.
func (o *batchOp[A, B]) Open(env *Env, in ...Stream) (Stream, error) {
	return &batchOpStream[A, B]{op: o, r: &run{env: env, in: in, steps: []*Node{o.node}, show: showBatch}}, nil
}

func showBatch(b Batch, _ int) string { return fmt.Sprintf("batch of %d rows", b.NumRows()) }

type batchOpStream[A, B any] struct {
	op    *batchOp[A, B]
	r     *run
	f     func(context.Context, Batch) (Batch, error)
	out   Batch // what is left of the last result
	begun bool
	err   error
}

// Next implements Stream.
func (s *batchOpStream[A, B]) Next(ctx context.Context) (Batch, error) {
	for s.err == nil {
		if b := s.piece(); b != nil {
			return b, nil
		}
		b, err := s.r.in[0].Next(ctx)
		if err != nil {
			s.err = err
			break
		}
		s.r.batch = b
		s.out, s.err = s.call(ctx, b)
		s.r.batch = nil
		b.Release()
	}
	return nil, s.err
}

// piece cuts what is left to the size of a batch.
func (s *batchOpStream[A, B]) piece() Batch {
	b := s.out
	s.out = nil
	if b == nil {
		return nil
	}
	n, most := b.NumRows(), int64(max(1, s.r.env.BatchRows))
	if n == 0 {
		b.Release()
		return nil
	}
	if n > most {
		s.out = b.NewSlice(most, n)
		first := b.NewSlice(0, most)
		b.Release()
		return first
	}
	return b
}

// call runs the author's function. The result gets the schema that was promised.
func (s *batchOpStream[A, B]) call(ctx context.Context, b Batch) (out Batch, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.r.failure(v)
		}
	}()
	if !s.begun {
		s.begun = true
		s.f = begin(s.r, 0, s.op.f)
	}
	got, err := s.f(ctx, b)
	if err != nil {
		return nil, s.r.userError(err)
	}
	if got == nil {
		return nil, nil
	}
	defer got.Release()
	if err := s.op.out.accepts(got.Schema()); err != nil {
		return nil, s.r.userError(err)
	}
	return newBatch(s.op.out.schema, got), nil
}

// Close implements Stream.
func (s *batchOpStream[A, B]) Close() error {
	if s.out != nil {
		s.out.Release()
		s.out = nil
	}
	if s.err == nil {
		s.err = errClosed
	}
	s.r.end()
	var errs []error
	for _, in := range s.r.in {
		errs = append(errs, in.Close())
	}
	s.r.in, s.r.ended = nil, nil
	return errors.Join(errs...)
}

// newBatch is b's columns under another schema of the same types.
func newBatch(s *arrow.Schema, b Batch) Batch {
	cols := make([]arrow.Array, b.NumCols())
	for i := range cols {
		d := b.Column(i).Data()
		cast := array.NewData(s.Field(i).Type, d.Len(), d.Buffers(), d.Children(), d.NullN(), d.Offset())
		cols[i] = array.MakeFromData(cast)
		cast.Release()
		defer cols[i].Release()
	}
	return array.NewRecordBatch(s, cols, b.NumRows())
}
