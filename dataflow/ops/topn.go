package ops

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("topn", "the first n rows of an order", func(a topN) (dataflow.Operator, error) {
		if a.N < 0 {
			return nil, fmt.Errorf("n is %d", a.N)
		}
		return a, nil
	})
}

// topN gives the first N rows that a sort by Keys would. It keeps at most a few
// times N rows; if even they are too many for memory it becomes that sort.
type topN struct {
	Keys []dataflow.SortKey `json:"keys"`
	N    int                `json:"n"`
}

// Schema implements dataflow.Operator.
func (t topN) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	return sortedSchema("topn", t.Keys, in)
}

// Open implements dataflow.Operator.
func (t topN) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &topStream{env: env, by: t.Keys, n: t.N, in: in[0], mem: held{memory: env.Memory}}, nil
}

type topStream struct {
	final
	env *dataflow.Env
	by  []dataflow.SortKey
	n   int
	in  dataflow.Stream

	schema  *arrow.Schema
	enc     *order.Encoder
	mem     held
	batches []dataflow.Batch // the best N first, in order, then newer candidates
	keys    order.Keys
	rows    order.Locator
	sort    order.Sorter
	best    int        // rows of batches[0] that are known to be the best so far
	fresh   order.Keys // of the batch at hand

	read bool
	at   int
	out  dataflow.Stream // when memory did not suffice
}

// Next implements dataflow.Stream.
func (s *topStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *topStream) step(ctx context.Context) (dataflow.Batch, error) {
	if !s.read {
		if s.n == 0 {
			return nil, io.EOF
		}
		if err := s.consume(ctx); err != nil {
			return nil, err
		}
		s.read = true
	}
	if s.out != nil {
		return s.out.Next(ctx)
	}
	if s.at == s.best {
		return nil, io.EOF
	}
	_, size := order.BatchLimits(s.env)
	n := min(s.best-s.at, rowsPerBatch(s.env, size, int64(s.best), order.BatchBytes(s.batches[0])))
	b := s.batches[0].NewSlice(int64(s.at), int64(s.at+n))
	s.at += n
	return b, nil
}

func (s *topStream) consume(ctx context.Context) error {
	for {
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		full, err := s.keep(b)
		if err != nil {
			return err
		}
		if full {
			s.overflow()
			return nil
		}
	}
	if s.rows.Rows() == 0 {
		return nil
	}
	return s.compact()
}

// keep takes over a batch and keeps the rows of it that may be among the best. It
// says so when there is no memory for them; the batch is kept even then.
func (s *topStream) keep(b dataflow.Batch) (full bool, err error) {
	defer func() { b.Release() }()
	if s.enc == nil {
		s.schema = b.Schema()
		if s.enc, err = order.NewEncoder(s.schema, s.by); err != nil {
			return false, err
		}
	}
	if s.best == s.n { // only rows before the last of the best count: a tie came too late
		s.fresh.Reset()
		if err := s.enc.Append(&s.fresh, b); err != nil {
			return false, err
		}
		var refs []order.Ref
		for i := range s.fresh.Len() {
			if s.fresh.Compare(i, &s.keys, s.n-1) < 0 {
				refs = append(refs, order.Ref{Row: int32(i)})
			}
		}
		if len(refs) == 0 {
			return false, nil
		}
		if len(refs) < s.fresh.Len() {
			few, err := order.Take(s.env.Alloc, s.schema, []dataflow.Batch{b}, refs)
			if err != nil {
				return false, err
			}
			b.Release()
			b = few
		}
	}
	if err := s.enc.Append(&s.keys, b); err != nil {
		return false, err
	}
	b.Retain()
	s.batches = append(s.batches, b)
	s.rows.Add(int(b.NumRows()))
	if !s.mem.try(order.BatchBytes(b) + b.NumRows()*order.SortBytesPerRow) {
		return true, nil
	}
	limit, _ := order.BatchLimits(s.env)
	if s.rows.Rows() >= 2*s.n+limit {
		return false, s.compact()
	}
	return false, nil
}

// compact keeps the best N rows only, as one batch.
func (s *topStream) compact() error {
	perm := s.sort.Sort(&s.keys)
	perm = perm[:min(s.n, len(perm))]
	b, err := order.Take(s.env.Alloc, s.schema, s.batches, s.rows.Refs(nil, perm))
	if err != nil {
		return err
	}
	s.forget()
	s.batches = append(s.batches, b)
	s.best = len(perm)
	s.rows.Add(s.best)
	if err := s.mem.set(order.BatchBytes(b) + b.NumRows()*order.SortBytesPerRow); err != nil {
		return err
	}
	return s.enc.Append(&s.keys, b)
}

func (s *topStream) free() {
	s.forget()
	s.mem.releaseAll()
}

// forget lets go of the rows, but not of what is reserved for them.
func (s *topStream) forget() {
	releaseBatches(s.batches)
	s.batches = s.batches[:0]
	s.keys.Reset()
	s.rows.Reset()
}

// overflow hands what is kept, in its order, and the rest of the input to a sort.
func (s *topStream) overflow() {
	kept := s.batches
	s.batches = nil
	s.free()
	s.out = &limitStream{in: newSorter(s.env, s.by, &prepended{batches: kept, in: s.in}), left: int64(s.n)}
}

// Close implements dataflow.Stream.
func (s *topStream) Close() error {
	s.closed()
	s.free()
	var err error
	if s.out != nil {
		err = s.out.Close()
	}
	return errors.Join(err, s.in.Close())
}

// prepended is some batches and then the rest of a stream.
type prepended struct {
	batches []dataflow.Batch
	in      dataflow.Stream
}

func (p *prepended) Next(ctx context.Context) (dataflow.Batch, error) {
	if len(p.batches) > 0 {
		b := p.batches[0]
		p.batches = p.batches[1:]
		return b, nil
	}
	return p.in.Next(ctx)
}

func (p *prepended) Close() error {
	releaseBatches(p.batches)
	p.batches = nil
	return p.in.Close()
}
