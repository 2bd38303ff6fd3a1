package dataflow

import (
	"context"
	"sync"
)

// A Whole names all rows of an input that every task of a stage reads, as the tasks find
// them: what has the same name in one process has the same rows in the same order.
type Whole struct {
	Stage, Input int
	Of           string // whose outputs they are
}

// A Wholly is a Stream that may be a Whole.
type Wholly interface {
	Stream
	Whole() (w Whole, ok bool)
}

// WholeOf is the name of a stream's rows, of which none is read yet, if it has one.
func WholeOf(s Stream) (w Whole, ok bool) {
	if s, is := s.(Wholly); is {
		return s.Whole()
	}
	return w, false
}

// Shared is what tasks of one process make of Wholes, one of them for all that need it: the
// first makes it while the others wait. Who fails or is cancelled spoils nothing: the next
// one tries. While anybody uses it, its memory is reserved here, which outlives the tasks;
// then it is left for a later task in room that nobody wants, until a task of another stage
// makes something, or somebody wants the room.
type Shared struct {
	memory *Memory

	mu sync.Mutex
	of map[Whole]*sharing
}

// A sharing is what was made, or is to be made, of a Whole.
type sharing struct {
	done  chan struct{} // closed when who makes it has ended
	what  any
	bytes int64
	users int
	alone bool // there was no room for one that is shared: everybody makes his own
}

// leftShared is a sharing's that nobody uses.
type leftShared struct {
	of    Whole
	what  any
	bytes int64
}

// NewShared shares what finds room in m.
func NewShared(m *Memory) *Shared { return &Shared{memory: m, of: map[Whole]*sharing{}} }

// MakeShared gives what somebody has made of w's rows, and what says that it is needed no more;
// it must not be changed, and memory for it is reserved meanwhile. Where nobody has, make is
// called. If there is no room to share what that makes, or if it makes nothing to share,
// which it says by 0 bytes, what it makes is given with a release of nil: the caller's own,
// for which it has reserved memory itself.
func MakeShared[T any](ctx context.Context, s *Shared, w Whole, make func() (what T, bytes int64, err error)) (what T, release func(), err error) {
	for {
		x, mine, have := s.take(w)
		switch {
		case have:
			return x.what.(T), func() { s.release(w, x) }, nil
		case mine:
			defer s.ended(w, x)
			what, bytes, err := make()
			if err == nil && s.put(x, what, bytes) {
				release = func() { s.release(w, x) }
			}
			return what, release, err
		}
		select {
		case <-x.done:
		case <-ctx.Done():
			return what, nil, context.Cause(ctx)
		}
		if x.alone {
			what, _, err = make()
			return what, nil, err
		}
	}
}

// take is the sharing of w, and whether the caller has it now as one more user. If not,
// mine says that the caller is to make it.
func (s *Shared) take(w Whole) (x *sharing, mine, have bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.of[w]; x != nil {
		if x.what == nil {
			return x, false, false
		}
		x.users++
		return x, false, true
	}
	x = &sharing{done: make(chan struct{})}
	s.of[w] = x
	left, ok := inheritThat(s.memory, func(l leftShared) bool { return l.of == w })
	if ok && s.memory.TryReserve(left.bytes) {
		x.what, x.bytes, x.users = left.what, left.bytes, 1
		close(x.done)
		return x, false, true
	}
	disinherit(s.memory, func(l leftShared) bool { return l.of.Stage != w.Stage })
	return x, true, false
}

// put makes what was made the others' too, if there is room.
func (s *Shared) put(x *sharing, what any, bytes int64) bool {
	room := bytes > 0 && s.memory.TryReserve(bytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.alone = !room; room {
		x.what, x.bytes, x.users = what, bytes, 1
	}
	return room
}

// ended lets those go on who wait for x. What failed is for the next one to try.
func (s *Shared) ended(w Whole, x *sharing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.what == nil && !x.alone {
		delete(s.of, w)
	}
	close(x.done)
}

// release counts one less who uses x. The last one leaves it.
func (s *Shared) release(w Whole, x *sharing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.users--; x.users > 0 {
		return
	}
	delete(s.of, w)
	s.memory.Release(x.bytes)
	leave(s.memory, leftShared{w, x.what, x.bytes}, x.bytes)
	x.what = nil
}
