package ops

import (
	"context"
	"errors"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("unique", "the first of the rows that are alike in some columns", func(a unique) (dataflow.Operator, error) { return a, nil })
}

// unique gives the first row of those alike in Columns; a null is like a null. It
// gives rows as it meets them while it can remember their keys. Rows whose keys
// are new when memory is full are spilled by hash and follow at the end, in
// another order.
type unique struct {
	Columns []int `json:"columns"`
}

// Schema implements dataflow.Operator.
func (u unique) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	s, err := one("unique", in)
	if err != nil {
		return nil, err
	}
	if err := checkColumns(s, u.Columns); err != nil {
		return nil, userError("unique", err)
	}
	return sortedSchema("unique", orderBy(u.Columns), in)
}

// Open implements dataflow.Operator.
func (u unique) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	s := &uniqueStream{env: env, cols: u.Columns, in: in[0], mem: held{memory: env.Memory}}
	s.seen.reset(0)
	return s, nil
}

type uniqueStream struct {
	final
	env  *dataflow.Env
	cols []int
	in   dataflow.Stream // the input, or a run of rows scattered before
	mem  held

	enc    *order.Encoder
	seen   table
	hash   []uint64   // of the seen rows
	keys   order.Keys // of the seen rows
	fresh  order.Keys // of the batch at hand
	hashes []uint64
	misses []int32 // rows of it whose keys are new
	refs   []order.Ref

	full    bool // the table takes no more keys
	level   int
	over    *scatter // where rows go that found no place
	pending []uniqueRun
}

type uniqueRun struct {
	run   dataflow.SpillRun
	level int
}

// Next implements dataflow.Stream.
func (s *uniqueStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *uniqueStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			if err := s.turn(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		out, err := s.filter(b)
		b.Release()
		if err != nil || out != nil {
			return out, err
		}
	}
}

// turn goes on to the rows that were spilled, or ends.
func (s *uniqueStream) turn() error {
	if err := s.in.Close(); err != nil {
		return err
	}
	s.forget()
	if s.over != nil {
		runs, err := s.over.finish()
		s.over = nil
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r != nil {
				s.pending = append(s.pending, uniqueRun{r, s.level + 1})
			}
		}
	}
	if len(s.pending) == 0 {
		return io.EOF
	}
	last := s.pending[len(s.pending)-1]
	s.pending = s.pending[:len(s.pending)-1]
	s.level = last.level
	in, err := openRun(last.run)
	if err != nil {
		return err
	}
	s.in = in
	return nil
}

// forget empties the table.
func (s *uniqueStream) forget() {
	s.full = false
	s.seen, s.keys, s.hash = table{}, order.Keys{}, nil
	s.seen.reset(0)
	s.mem.releaseAll()
}

// filter gives the rows of b with new keys, nil if there are none.
func (s *uniqueStream) filter(b dataflow.Batch) (dataflow.Batch, error) {
	var err error
	if s.enc == nil {
		if s.enc, err = order.NewEncoder(b.Schema(), orderBy(s.cols)); err != nil {
			return nil, err
		}
	}
	s.fresh.Reset()
	if err := s.enc.Append(&s.fresh, b); err != nil {
		return nil, err
	}
	if s.hashes, err = hashInto(s.hashes, b, s.cols); err != nil {
		return nil, err
	}
	s.misses = s.misses[:0]
	for i, h := range s.hashes {
		if row, _ := s.seen.find(h, &s.fresh, i, &s.keys); row < 0 {
			s.misses = append(s.misses, int32(i))
		}
	}
	if len(s.misses) == 0 {
		return nil, nil
	}
	if s.full = s.full || !s.room(len(s.misses)); s.full {
		if s.over == nil {
			s.over = newScatter(s.env, "unique", s.level%scatterLevels)
		}
		return nil, s.over.add(b, s.hashes, s.misses)
	}
	s.refs = s.refs[:0]
	for _, i := range s.misses {
		h := s.hashes[i]
		if row, slot := s.seen.find(h, &s.fresh, int(i), &s.keys); row < 0 {
			s.seen.put(slot, h, int32(s.keys.Len()))
			s.keys.AppendFrom(&s.fresh, int(i))
			s.hash = append(s.hash, h)
			s.refs = append(s.refs, order.Ref{Row: i})
		}
	}
	if len(s.refs) == int(b.NumRows()) {
		b.Retain()
		return b, nil
	}
	return order.Take(s.env.Alloc, b.Schema(), []dataflow.Batch{b}, s.refs)
}

// room makes place for n more keys in the table. An empty table takes a batch
// whatever memory says, so that every round gets on.
func (s *uniqueStream) room(n int) bool {
	all := s.keys.Len() + n
	need := slotBytes(all) + 8*int64(all) + s.keys.Bytes() + int64(n)*s.fresh.RowBytes()
	if all > math.MaxInt32 || !s.mem.try(need-s.mem.n) && s.keys.Len() > 0 {
		return false
	}
	if slotsFor(all) > len(s.seen.slots) {
		s.seen.reset(all)
		for row, h := range s.hash {
			s.seen.put(s.seen.free(h), h, int32(row))
		}
	}
	return true
}

// Close implements dataflow.Stream.
func (s *uniqueStream) Close() error {
	s.closed()
	err := s.in.Close()
	if s.over != nil {
		s.over.abort()
		s.over = nil
	}
	for _, p := range s.pending {
		err = errors.Join(err, p.run.Remove())
	}
	s.pending = nil
	s.forget()
	return err
}
