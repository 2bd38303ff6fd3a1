package ops

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// slides are aggregates over the frame of each row, whose ends only move forward. No
// value is ever taken away from an aggregate, so that it is as exact for floats as for
// integers, and good for the smallest and largest. Rows that entered are in chunks. Of
// the chunk that the frame begins in each row is kept with those behind it, worked out
// from the rows themselves when the frame gets there; of the others one value. So few
// are held, however long the frame is. A row is looked at once when it enters and once
// when its chunk is first.
type slides struct {
	fns     []slide
	cols    []int
	outs    []int      // places of their columns
	in, out *rowCursor // at the rows that enter, and at those whose turn to leave comes

	lo, mid, hi int64   // the frame; from lo to mid lies the first chunk
	chunks      []int64 // rows of those between mid and tail
	turned      int     // of the chunks, those that are kept with all behind them
	tail        int64   // rows that entered last
}

// slideChunk is so many rows that are aggregated together as they enter.
const slideChunk = 4096

// A slide is one aggregate: what slides tells it to do.
type slide interface {
	typ() arrow.DataType
	// begin forgets everything.
	begin()
	// read takes the values of the batch that rows enter from.
	read(a arrow.Array)
	// enter adds rows of it to the tail.
	enter(from, to int)
	// closeTail makes a chunk of the tail.
	closeTail()
	// turn keeps each chunk with all that lie behind it.
	turn()
	// open makes the next chunk the first, whose rows fill gives; filled after the last.
	open()
	fill(a arrow.Array, from, to int)
	filled()
	// put notes the value of the frame as the next that comes out; of the first chunk
	// it has the last rows.
	put(rows int)
	// emit makes an array of what was put.
	emit(mem memory.Allocator) (arrow.Array, error)
}

func (s *slides) eval(ctx context.Context, mem memory.Allocator, w *windowRows, out []arrow.Array) error {
	for _, p := range w.pieces {
		if p.fresh {
			s.begin(p.begin)
		}
		for row := p.from; row < p.to; row++ {
			i := row - w.from
			if err := s.move(ctx, w.lo[i], w.hi[i]); err != nil {
				return err
			}
			for _, f := range s.fns {
				f.put(max(0, int(s.mid-s.lo)))
			}
		}
	}
	for i, f := range s.fns {
		var err error
		if out[s.outs[i]], err = f.emit(mem); err != nil {
			return err
		}
	}
	return nil
}

func (s *slides) begin(row int64) {
	s.lo, s.mid, s.hi = row, row, row
	s.chunks, s.turned, s.tail = s.chunks[:0], 0, 0
	for _, f := range s.fns {
		f.begin()
	}
}

// move makes the frame the rows from lo to hi.
func (s *slides) move(ctx context.Context, lo, hi int64) error {
	for s.hi < hi {
		moved, err := s.in.seek(ctx, s.hi)
		if err != nil {
			return err
		}
		to := min(hi, s.in.end, s.hi+slideChunk-s.tail)
		for i, f := range s.fns {
			if moved {
				f.read(s.in.batch.Column(s.cols[i]))
			}
			f.enter(int(s.hi-s.in.start), int(to-s.in.start))
		}
		s.tail += to - s.hi
		s.hi = to
		if s.tail == slideChunk {
			s.closeTail()
		}
	}
	if lo <= s.lo {
		return nil
	}
	for s.lo = lo; lo >= s.mid && s.mid < s.hi; {
		if err := s.leave(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *slides) closeTail() {
	s.chunks, s.tail = append(s.chunks, s.tail), 0
	for _, f := range s.fns {
		f.closeTail()
	}
}

// leave makes the next chunk the first.
func (s *slides) leave(ctx context.Context) error {
	if len(s.chunks) == 0 {
		s.closeTail()
	}
	if s.turned == 0 {
		s.turned = len(s.chunks)
		for _, f := range s.fns {
			f.turn()
		}
	}
	from := s.mid
	s.mid += s.chunks[0]
	s.chunks = s.chunks[1:]
	s.turned--
	for _, f := range s.fns {
		f.open()
	}
	// The rows before lo have left already.
	for at := max(from, s.lo); at < s.mid; {
		if _, err := s.out.seek(ctx, at); err != nil {
			return err
		}
		to := min(s.mid, s.out.end)
		for i, f := range s.fns {
			f.fill(s.out.batch.Column(s.cols[i]), int(at-s.out.start), int(to-s.out.start))
		}
		at = to
	}
	for _, f := range s.fns {
		f.filled()
	}
	return nil
}

func (s *slides) close() error { return closeCursors(s.in, s.out) }

// slideOf is an aggregate of values of V.
type slideOf[V any] struct {
	t    arrow.DataType
	load func(dst []boxed[V], a arrow.Array, from, to int) []boxed[V]
	join func(a, b V) V
	make func(mem memory.Allocator, vs []boxed[V]) (arrow.Array, error)

	first  []boxed[V] // of the first chunk's rows, each with those behind it
	chunks []boxed[V]
	turned int      // of the chunks, those that are kept with all behind them
	behind boxed[V] // the chunks from turned on
	tail   boxed[V]

	vals []boxed[V] // of the batch that rows enter from
	out  []boxed[V]
}

// boxed is a value, or none: of no rows, or of nulls.
type boxed[V any] struct {
	v   V
	has bool
}

func (s *slideOf[V]) typ() arrow.DataType { return s.t }

func (s *slideOf[V]) joined(a, b boxed[V]) boxed[V] {
	switch {
	case !b.has:
		return a
	case !a.has:
		return b
	}
	return boxed[V]{s.join(a.v, b.v), true}
}

func (s *slideOf[V]) begin() {
	s.first, s.chunks, s.turned = s.first[:0], s.chunks[:0], 0
	s.behind, s.tail = boxed[V]{}, boxed[V]{}
}

func (s *slideOf[V]) read(a arrow.Array) { s.vals = s.load(s.vals[:0], a, 0, a.Len()) }

func (s *slideOf[V]) enter(from, to int) {
	for _, v := range s.vals[from:to] {
		s.tail = s.joined(s.tail, v)
	}
}

func (s *slideOf[V]) closeTail() {
	s.chunks = append(s.chunks, s.tail)
	s.behind, s.tail = s.joined(s.behind, s.tail), boxed[V]{}
}

func (s *slideOf[V]) turn() {
	s.behindEach(s.chunks)
	s.turned, s.behind = len(s.chunks), boxed[V]{}
}

// behindEach puts to each value those behind it.
func (s *slideOf[V]) behindEach(vs []boxed[V]) {
	for i := len(vs) - 2; i >= 0; i-- {
		vs[i] = s.joined(vs[i], vs[i+1])
	}
}

func (s *slideOf[V]) open() {
	s.chunks, s.first = s.chunks[1:], s.first[:0]
	s.turned--
}

func (s *slideOf[V]) fill(a arrow.Array, from, to int) { s.first = s.load(s.first, a, from, to) }
func (s *slideOf[V]) filled()                          { s.behindEach(s.first) }

func (s *slideOf[V]) put(rows int) {
	v := boxed[V]{}
	if rows > 0 {
		v = s.first[len(s.first)-rows]
	}
	if s.turned > 0 {
		v = s.joined(v, s.chunks[0])
	}
	s.out = append(s.out, s.joined(s.joined(v, s.behind), s.tail))
}

func (s *slideOf[V]) emit(mem memory.Allocator) (arrow.Array, error) {
	a, err := s.make(mem, s.out)
	s.out = s.out[:0]
	return a, err
}
