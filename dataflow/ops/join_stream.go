package ops

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// joinStream works off pairs of build and probe rows: first the inputs, then, if
// they were spilled, run by run.
type joinStream struct {
	*hashJoin
	joinRole // as it is played: hashJoin's, but where the smaller side is built
	final
	env     *dataflow.Env
	in      [2]dataflow.Stream
	schemas [2]*arrow.Schema // nil where neither planning nor a row has told
	out     *arrow.Schema

	sieves  []dataflow.Sieve // of who reads this
	started bool
	todo    []joinRuns // the last first
	built   built
	finder  *finder  // of a round; built.mem has what is reserved for it, unless it is shared
	release func()   // says that the finder, which is shared, is needed no more
	matched []uint64 // its rows that have a partner, where they come out by that
	round   *probing // nil between two

	// Block by block: what is left of the build side, and the whole probe side.
	rest  dataflow.Stream
	again dataflow.SpillRun
	seen  []uint64 // probe rows that had a partner in some block; nil where nobody asks
	seenN int64    // reserved for it

	lookup lookup   // of rounds
	hashes []uint64 // scratch
}

// joinRuns are two runs with the same part of the hashes; nil is without rows.
type joinRuns struct {
	run   [2]dataflow.SpillRun
	level int  // by which they were scattered, plus one
	hot   bool // scattering did not help
}

func (r joinRuns) remove() error {
	var err error
	for _, run := range r.run {
		if run != nil {
			err = errors.Join(err, run.Remove())
		}
	}
	return err
}

// Next implements dataflow.Stream.
func (s *joinStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *joinStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		if s.round != nil {
			b, err := s.round.next(ctx)
			if err != io.EOF {
				return b, err
			}
			if err := s.endRound(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if !s.started {
			s.started = true
			if s.Build == "auto" {
				if err := s.choose(ctx); err != nil {
					return nil, err
				}
			}
			if err := s.begin(ctx, s.in[s.build], s.in[s.probe], joinRuns{}); err != nil {
				return nil, err
			}
			continue
		}
		if len(s.todo) == 0 {
			return nil, io.EOF
		}
		if err := s.beginRuns(ctx); err != nil {
			return nil, err
		}
	}
}

// beginRuns starts the next pair of runs.
func (s *joinStream) beginRuns(ctx context.Context) error {
	r := s.todo[len(s.todo)-1]
	s.todo = s.todo[:len(s.todo)-1]
	if r.run[s.build] == nil && !s.probeUnmatched || r.run[s.probe] == nil && !s.buildUnmatched {
		return r.remove()
	}
	var in [2]dataflow.Stream
	for side, run := range r.run {
		if run == nil {
			in[side] = nothing{}
			continue
		}
		st, err := openRun(run)
		if err != nil {
			if side == right {
				err = errors.Join(err, in[left].Close())
			} else if r.run[right] != nil {
				err = errors.Join(err, r.run[right].Remove())
			}
			return err
		}
		in[side] = st
	}
	return s.begin(ctx, in[s.build], in[s.probe], r)
}

type nothing struct{}

func (nothing) Next(context.Context) (dataflow.Batch, error) { return nil, io.EOF }
func (nothing) Close() error                                 { return nil }

// begin joins two streams, which it owns, in the way that memory allows.
func (s *joinStream) begin(ctx context.Context, build, probe dataflow.Stream, r joinRuns) (err error) {
	nested := r.hot || r.level == scatterLevels
	if run := r.run[s.probe]; nested && run != nil && (s.probeMatched || s.probeUnmatched) {
		// Before the rows, which take what there is.
		bytes := (run.Rows() + 63) / 64 * 8
		if err := s.env.Memory.Reserve(bytes); err != nil {
			return errors.Join(err, build.Close(), probe.Close())
		}
		s.seen, s.seenN = make([]uint64, bytes/8), bytes
	}
	all, err := s.find(ctx, build, nested)
	switch {
	case err != nil:
		return errors.Join(err, build.Close(), probe.Close())
	case all:
		s.endBlocks() // one is enough
		if err := build.Close(); err != nil {
			return errors.Join(err, probe.Close())
		}
		s.beginRound(probe)
		s.putSieves(probe)
		return nil
	case nested:
		s.rest, s.again = build, r.run[s.probe]
		return s.beginBlock(probe)
	}
	return s.scatter(ctx, build, probe, r.level)
}

// find makes a finder of the rows to build, if all of them find room. Where other tasks
// read the same rows, and no row comes out because of what this one finds, it is theirs too.
func (s *joinStream) find(ctx context.Context, build dataflow.Stream, force bool) (all bool, err error) {
	own := func() (*finder, int64, error) {
		if all, err = s.built.fill(ctx, build, s.keysOf(s.build), force); err != nil || !all {
			return nil, 0, err
		}
		f, err := s.index()
		return f, s.built.mem.n, err
	}
	whole, ok := dataflow.WholeOf(build)
	if !ok || s.env.Shared == nil || s.buildMatched || s.buildUnmatched {
		s.finder, _, err = own()
		return all, err
	}
	if s.finder, s.release, err = dataflow.MakeShared(ctx, s.env.Shared, whole, own); s.release != nil {
		s.built.mem.releaseAll()
		all = true
	}
	return all, err
}

// scatter spills both sides and notes the pairs of runs.
func (s *joinStream) scatter(ctx context.Context, build, probe dataflow.Stream, level int) (err error) {
	defer func() { err = errors.Join(err, build.Close(), probe.Close()) }()
	var pairs [scatterRuns]joinRuns
	var rows int64
	defer func() {
		for _, p := range pairs {
			err = errors.Join(err, p.remove())
		}
	}()
	for _, side := range []int{s.build, s.probe} {
		sc := newScatter(s.env, "hashjoin", level)
		defer sc.abort()
		cols, in := s.keysOf(side), build
		if side == s.build {
			if err := s.built.scatterInto(sc, cols); err != nil {
				return err
			}
		} else {
			in = probe
		}
		err := drain(ctx, in, func(b dataflow.Batch) (err error) {
			s.schemas[side] = b.Schema()
			if s.hashes, err = hashInto(s.hashes, b, cols); err != nil {
				return err
			}
			return sc.add(b, s.hashes, nil)
		})
		if err != nil {
			return err
		}
		runs, err := sc.finish()
		if err != nil {
			return err
		}
		for i, run := range runs {
			pairs[i].run[side] = run
			if side == s.build && run != nil {
				rows += run.Rows()
			}
		}
	}
	for i := len(pairs) - 1; i >= 0; i-- {
		p := pairs[i]
		p.level = level + 1
		if b := p.run[s.build]; b != nil {
			p.hot = b.Rows() > rows*9/10
		}
		s.todo = append(s.todo, p)
	}
	pairs = [scatterRuns]joinRuns{}
	return nil
}

// index makes a finder of the rows that are built.
func (s *joinStream) index() (*finder, error) {
	if len(s.built.batches) > 0 {
		s.schemas[s.build] = s.built.batches[0].Schema()
	}
	var out []int
	if schema := s.schemas[s.build]; schema != nil && (s.pairs || s.build == left) {
		out = s.columnsOf(s.build, schema)
	}
	return s.built.index(s.env.Alloc, s.keysOf(s.build), out)
}

// beginRound joins the rows of the finder with all of a stream.
func (s *joinStream) beginRound(probe dataflow.Stream) {
	if s.finder.schema != nil {
		s.schemas[s.build] = s.finder.schema
	}
	s.matched = nil
	if s.buildMatched || s.buildUnmatched {
		s.matched = make([]uint64, (s.finder.places.Rows()+63)/64)
	}
	s.round = &probing{joinStream: s, in: probe}
}

// dropFinder frees the rows of a round.
func (s *joinStream) dropFinder() {
	if s.release != nil {
		s.release()
	} else if s.finder != nil {
		s.finder.close()
		s.built.mem.releaseAll()
	}
	s.finder, s.release = nil, nil
}

// beginBlock joins the rows that are built with the whole probe run.
func (s *joinStream) beginBlock(probe dataflow.Stream) error {
	f, err := s.index()
	if err != nil {
		return errors.Join(err, probe.Close())
	}
	s.finder = f
	s.beginRound(probe)
	s.round.block = true
	return nil
}

// endRound ends a round and starts the next of the same pair, if there is one.
func (s *joinStream) endRound(ctx context.Context) error {
	r := s.round
	s.round = nil
	s.dropFinder()
	if !r.block {
		return r.close()
	}
	// The run is removed with the first stream over it: keep that open meanwhile.
	keep := func() (dataflow.Stream, error) {
		if s.again == nil {
			return nothing{}, nil
		}
		in, err := s.again.Open()
		if err != nil {
			return nil, errors.Join(err, r.in.Close())
		}
		return &reopened{in, r.in}, nil
	}
	if s.rest != nil {
		all, err := s.built.fill(ctx, s.rest, s.keysOf(s.build), true)
		if err != nil {
			return errors.Join(err, r.close())
		}
		if all {
			err := s.rest.Close()
			s.rest = nil
			if err != nil {
				return errors.Join(err, r.close())
			}
		}
		if !all || len(s.built.batches) > 0 {
			in, err := keep()
			if err != nil {
				return err
			}
			return s.beginBlock(in)
		}
	}
	if s.probeUnmatched && !r.last {
		in, err := keep()
		if err != nil {
			return err
		}
		s.finder = &finder{}
		s.round = &probing{joinStream: s, in: in, block: true, last: true}
		return nil
	}
	s.endBlocks()
	return r.close()
}

// reopened is another reading of a run whose first stream removes it.
type reopened struct {
	dataflow.Stream
	first dataflow.Stream
}

func (r *reopened) Close() error { return errors.Join(r.Stream.Close(), r.first.Close()) }

func (s *joinStream) endBlocks() {
	s.env.Memory.Release(s.seenN)
	s.seen, s.seenN, s.again = nil, 0, nil
}

// Close implements dataflow.Stream.
func (s *joinStream) Close() error {
	s.closed()
	var err error
	if s.round != nil {
		err = s.round.close()
		s.round = nil
	}
	if s.rest != nil {
		err = errors.Join(err, s.rest.Close())
		s.rest = nil
	}
	s.endBlocks()
	for _, r := range s.todo {
		err = errors.Join(err, r.remove())
	}
	s.todo = nil
	s.dropFinder()
	s.built.close()
	return errors.Join(err, s.in[left].Close(), s.in[right].Close())
}
