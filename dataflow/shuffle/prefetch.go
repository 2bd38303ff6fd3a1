package shuffle

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
)

// ReadOptions of Open. The zero value is good.
type ReadOptions struct {
	// Budget is how many bytes may be fetched and not yet taken; 0: 48 MiB, or a
	// quarter of env.Memory's limit where that is less.
	Budget int64
	// Parallel is how many producers are read at once; 0: 4.
	Parallel int
}

const (
	defaultBudget   = 48 << 20
	defaultParallel = 4
)

// Open reads partitions lo to hi-1 of all the outputs as one stream: the first
// producer's rows, then the second's, and so on, whatever the order in which they
// arrive. Later producers are fetched while earlier ones are consumed, as far as
// the budget and env.Memory, where it is reserved, allow; the frame that the
// consumer waits for is always fetched, so that a stream with no memory at all is
// slow and not stuck.
//
// A producer that fails or sends damaged bytes is asked a second time, from where
// it stopped. Then Next returns an error that wraps a *LostError.
//
// Fetching begins with the first Next and runs in goroutines that end with the
// stream or env.Context; Close waits for them. They allocate from env.Alloc, which
// must allow several goroutines.
func Open(env *dataflow.Env, f Fetcher, from []Location, lo, hi int, schema *arrow.Schema, opt ReadOptions) dataflow.Stream {
	if opt.Budget <= 0 {
		opt.Budget = defaultBudget
		if l := env.Memory.Limit(); l > 0 {
			opt.Budget = min(opt.Budget, l/4)
		}
	}
	if opt.Parallel <= 0 {
		opt.Parallel = defaultParallel
	}
	s := &stream{env: env, fetcher: f, from: from, lo: lo, hi: hi, schema: schema, opt: opt, inputs: make([]input, len(from))}
	s.changed.L = &s.mu
	return s
}

// stream is what fetchers and the consumer share: a queue of batches for each
// producer, filled by fetchers and emptied in turn.
type stream struct {
	env     *dataflow.Env
	fetcher Fetcher
	from    []Location
	lo, hi  int
	schema  *arrow.Schema
	opt     ReadOptions

	cancel  context.CancelFunc // set once started
	unhook  func() bool        // from the end of the fetchers' context
	wg      sync.WaitGroup
	mu      sync.Mutex
	changed sync.Cond // anything below changed
	inputs  []input
	next    int   // producer that no fetcher has taken yet
	head    int   // producer that the consumer is at
	used    int64 // bytes admitted and not yet taken
	closed  bool
	err     error // final
}

// An input is one producer's queue.
type input struct {
	queue []fetched
	ended bool
	err   error // why, where it ended badly
}

type fetched struct {
	batch dataflow.Batch
	grant
}

// A grant is leave to hold so many bytes.
type grant struct {
	size     int64
	reserved bool // in env.Memory too
}

// Next implements dataflow.Stream.
func (s *stream) Next(ctx context.Context) (dataflow.Batch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.closed || len(s.from) == 0 {
		s.err = io.EOF
		return nil, s.err
	}
	if s.cancel == nil {
		s.start()
	}
	defer context.AfterFunc(ctx, s.wake)()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		in := &s.inputs[s.head]
		switch {
		case len(in.queue) > 0:
			f := in.queue[0]
			in.queue[0] = fetched{}
			in.queue = in.queue[1:]
			s.giveBack(f.grant)
			return f.batch, nil
		case in.err != nil:
			s.err = s.lost(in.err)
			return nil, s.err
		case in.ended:
			if s.head++; s.head == len(s.inputs) {
				s.err = io.EOF
				return nil, s.err
			}
			s.changed.Broadcast() // another producer is at the head now
		default:
			s.changed.Wait()
		}
	}
}

// wake lets everyone look again at what they wait for.
func (s *stream) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

func (s *stream) start() {
	ctx, cancel := context.WithCancel(s.env.Context)
	s.cancel = cancel
	s.unhook = context.AfterFunc(ctx, s.wake)
	for range min(s.opt.Parallel, len(s.from)) {
		s.wg.Go(func() { s.fetchAll(ctx) })
	}
}

// fetchAll takes one producer after the other, in order, until none is left.
func (s *stream) fetchAll(ctx context.Context) {
	for {
		s.mu.Lock()
		i := s.next
		if s.closed || i == len(s.from) {
			s.mu.Unlock()
			return
		}
		s.next++
		s.mu.Unlock()

		err := s.fetch(ctx, i)

		s.mu.Lock()
		s.inputs[i].ended, s.inputs[i].err = true, err
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// fetch reads one producer, a second time if need be.
func (s *stream) fetch(ctx context.Context, i int) error {
	frames := 0 // queued so far
	err := s.attempt(ctx, i, &frames)
	if err == nil || final(err) || ctx.Err() != nil {
		return err
	}
	s.env.Log.Warn("shuffle: fetching again", "output", s.from[i].String(), "after", err)
	return s.attempt(ctx, i, &frames)
}

// attempt reads one producer once, without the frames that are queued already:
// what was sealed never changes, so they are the same.
func (s *stream) attempt(ctx context.Context, i int, frames *int) error {
	body, err := s.fetcher.Fetch(ctx, s.from[i], s.lo, s.hi)
	if err != nil {
		return err
	}
	r, err := newRange(body, s.from[i].Path, s.lo, s.hi, s.schema, s.env.Alloc)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	defer r.Close()
	for n := 0; ; n++ {
		var g grant
		r.Admit = func(h block.Header) error {
			if n < *frames {
				return nil
			}
			s.drop(g) // of a frame without rows, which Next passes over
			var err error
			g, err = s.admit(ctx, i, int64(h.Decoded))
			return err
		}
		b, err := r.Next(ctx)
		if err == nil && n < *frames {
			b.Release()
			continue
		}
		s.mu.Lock()
		if err != nil || s.closed {
			s.giveBack(g)
			s.mu.Unlock()
			if err == nil {
				b.Release()
				err = context.Canceled
			}
			if err == io.EOF {
				return nil
			}
			return err
		}
		s.inputs[i].queue = append(s.inputs[i].queue, fetched{b, g})
		*frames++
		s.changed.Broadcast()
		s.mu.Unlock()
	}
}

// admit waits until a frame of n bytes may be fetched from producer i.
func (s *stream) admit(ctx context.Context, i int, n int64) (grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return grant{}, err
		}
		if s.closed {
			return grant{}, context.Canceled
		}
		if s.used+n <= s.opt.Budget && s.env.Memory.TryReserve(n) {
			s.used += n
			return grant{n, true}, nil
		}
		if i == s.head && len(s.inputs[i].queue) == 0 {
			s.used += n
			return grant{n, false}, nil // the consumer waits for this one
		}
		s.changed.Wait()
	}
}

// giveBack ends a grant; the lock is held.
func (s *stream) giveBack(g grant) {
	s.used -= g.size
	if g.reserved {
		s.env.Memory.Release(g.size)
	}
	s.changed.Broadcast()
}

func (s *stream) drop(g grant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveBack(g)
}

// lost names all producers that are known to be lost by now; the lock is held.
func (s *stream) lost(err error) error {
	if final(err) {
		return err
	}
	kind := dataflow.InputLost
	if dataflow.KindOf(err) == dataflow.Corrupt {
		kind = dataflow.Corrupt
	}
	l := &LostError{Err: err}
	for i := range s.inputs {
		if e := s.inputs[i].err; e != nil && !final(e) {
			l.Locations = append(l.Locations, s.from[i])
		}
	}
	return &dataflow.Error{Op: "shuffle.Fetch", Task: s.env.Task.String(), Path: s.from[s.head].Address, Kind: kind, Err: l}
}

// Close implements dataflow.Stream.
func (s *stream) Close() error {
	s.mu.Lock()
	s.closed = true
	cancel, unhook := s.cancel, s.unhook
	s.changed.Broadcast()
	s.mu.Unlock()
	if cancel == nil {
		return nil
	}
	unhook() // the broadcast above was that
	cancel()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.inputs {
		for _, f := range s.inputs[i].queue {
			f.batch.Release()
			s.giveBack(f.grant)
		}
		s.inputs[i].queue = nil
	}
	if s.err == nil {
		s.err = io.EOF
	}
	return nil
}
