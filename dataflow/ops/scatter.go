package ops

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// Rows that do not fit in memory are scattered by bits of their hash into so many
// runs; a run that still does not fit is scattered by the next bits.
const (
	scatterBits = 4
	scatterRuns = 1 << scatterBits
	// scatterLevels is how often rows can be scattered by other bits.
	scatterLevels = 8
)

// scatterOf is the run of a hash at a level. The rows of one task may be alike in
// some bits of their hash, which chose the task: folding and multiplying brings
// the others to the top, where the run is read.
func scatterOf(hash uint64, level int) int {
	h := (hash ^ hash>>32) * 0x9fb21c651e98df25
	return int(h >> (64 - scatterBits*(level+1)) & (scatterRuns - 1))
}

// A scatter writes rows to runs by their hash. Small batches are put together.
type scatter struct {
	env   *dataflow.Env
	name  string
	level int
	mem   held

	schema  *arrow.Schema
	writers [scatterRuns]dataflow.SpillWriter
	refs    [scatterRuns][]order.Ref
	batches []dataflow.Batch
	bytes   int64
	rows    int64
}

func newScatter(env *dataflow.Env, name string, level int) *scatter {
	return &scatter{env: env, name: name, level: level, mem: held{memory: env.Memory}}
}

// add takes the rows of b that sel names, or all if it is nil; hashes are of all
// rows of b. The batch stays the caller's.
func (s *scatter) add(b dataflow.Batch, hashes []uint64, sel []int32) error {
	s.schema = b.Schema()
	at := int32(len(s.batches))
	put := func(i int32) {
		p := scatterOf(hashes[i], s.level)
		s.refs[p] = append(s.refs[p], order.Ref{Batch: at, Row: i})
		s.rows++
	}
	if sel == nil {
		for i := range int32(b.NumRows()) {
			put(i)
		}
	} else {
		for _, i := range sel {
			put(i)
		}
	}
	b.Retain()
	s.batches = append(s.batches, b)
	size := order.BatchBytes(b)
	s.bytes += size
	_, want := order.BatchLimits(s.env)
	if s.bytes >= int64(scatterRuns*want) || !s.mem.try(size) {
		return s.flush()
	}
	return nil
}

// flush writes what is put together.
func (s *scatter) flush() error {
	n := rowsPerBatch(s.env, runBytes(s.env), max(s.rows, 1), s.bytes)
	for p := range s.refs {
		for refs := s.refs[p]; len(refs) > 0; {
			if s.writers[p] == nil {
				w, err := spillTo(s.env, s.name, s.schema)
				if err != nil {
					return err
				}
				s.writers[p] = w
			}
			few := refs[:min(n, len(refs))]
			refs = refs[len(few):]
			b, err := order.Take(s.env.Alloc, s.schema, s.batches, few)
			if err != nil {
				return err
			}
			err = s.writers[p].Write(b)
			b.Release()
			if err != nil {
				return err
			}
		}
		s.refs[p] = s.refs[p][:0]
	}
	s.drop()
	return nil
}

func (s *scatter) drop() {
	releaseBatches(s.batches)
	s.batches, s.bytes, s.rows = s.batches[:0], 0, 0
	s.mem.releaseAll()
}

// finish gives the runs; one is nil where no row fell. They are the caller's.
func (s *scatter) finish() (runs [scatterRuns]dataflow.SpillRun, err error) {
	defer s.abort()
	if err := s.flush(); err != nil {
		return runs, err
	}
	for p, w := range s.writers {
		if w == nil {
			continue
		}
		s.writers[p] = nil
		run, err := w.Finish()
		if err != nil {
			for _, r := range runs {
				if r != nil {
					err = errors.Join(err, r.Remove())
				}
			}
			return [scatterRuns]dataflow.SpillRun{}, err
		}
		runs[p] = run
	}
	return runs, nil
}

// abort throws away what is not finished. It may be called twice.
func (s *scatter) abort() {
	for p, w := range s.writers {
		if w != nil {
			w.Abort()
			s.writers[p] = nil
		}
	}
	s.drop()
}

// hashInto is dataflow.HashColumns into memory that is used again.
func hashInto(dst []uint64, b dataflow.Batch, cols []int) ([]uint64, error) {
	n := int(b.NumRows())
	if cap(dst) < n {
		dst = make([]uint64, n)
	}
	dst = dst[:n]
	return dst, dataflow.HashColumns(dst, b, cols)
}

// runStream reads a run, and removes it when closed.
type runStream struct {
	run dataflow.SpillRun
	in  dataflow.Stream
}

func openRun(run dataflow.SpillRun) (dataflow.Stream, error) {
	in, err := run.Open()
	if err != nil {
		return nil, errors.Join(err, run.Remove())
	}
	return &runStream{run, in}, nil
}

func (r *runStream) Next(ctx context.Context) (dataflow.Batch, error) { return r.in.Next(ctx) }

func (r *runStream) Close() error { return errors.Join(r.in.Close(), r.run.Remove()) }

// drain calls f with every batch of a stream.
func drain(ctx context.Context, in dataflow.Stream, f func(dataflow.Batch) error) error {
	for {
		b, err := in.Next(ctx)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = f(b)
		b.Release()
		if err != nil {
			return err
		}
	}
}
