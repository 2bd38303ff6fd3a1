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
	register("sort", "all rows, in order", func(a sorting) (dataflow.Operator, error) { return a, nil })
}

// sorting reads all of its input and gives the rows back in order; rows alike stay
// in the order they came in. What does not fit in memory is spilled in sorted runs,
// which are merged, in several passes if their batches do not fit at once.
type sorting struct {
	Keys []dataflow.SortKey `json:"keys"`
}

// Schema implements dataflow.Operator.
func (s sorting) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	return sortedSchema("sort", s.Keys, in)
}

// Open implements dataflow.Operator.
func (s sorting) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return newSorter(env, s.Keys, in[0]), nil
}

func newSorter(env *dataflow.Env, keys []dataflow.SortKey, in dataflow.Stream) *sorter {
	return &sorter{env: env, by: keys, in: in, mem: held{memory: env.Memory}}
}

type sorter struct {
	final
	env *dataflow.Env
	by  []dataflow.SortKey
	in  dataflow.Stream

	schema  *arrow.Schema
	enc     *order.Encoder
	mem     held
	batches []dataflow.Batch
	taker   order.Taker // of batches
	bytes   int64       // of batches
	scratch int64       // reserved for keys and sorting; stays from run to run
	keys    order.Keys
	rows    order.Locator
	sort    order.Sorter

	read   bool
	perm   []int32 // rows of batches, in order, that are still to come
	refs   []order.Ref
	runs   []dataflow.SpillRun
	widest int64 // bytes of the largest batch of any run
	out    dataflow.Stream
}

// Next implements dataflow.Stream.
func (s *sorter) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *sorter) step(ctx context.Context) (dataflow.Batch, error) {
	if !s.read {
		if err := s.consume(ctx); err != nil {
			return nil, err
		}
		s.read = true
	}
	if s.out != nil {
		return s.out.Next(ctx)
	}
	_, size := order.BatchLimits(s.env)
	b, err := s.gather(size)
	if err == nil && b == nil {
		s.drop()
		return nil, io.EOF
	}
	return b, err
}

// consume reads the input to its end, and decides how the rows come out.
func (s *sorter) consume(ctx context.Context) error {
	for {
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := s.keep(b); err != nil {
			return err
		}
	}
	if err := s.in.Close(); err != nil { // what it holds is of use to the merge
		return err
	}
	if len(s.runs) == 0 {
		s.perm = s.sort.Sort(&s.keys)
		return nil
	}
	if len(s.batches) > 0 {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.forget()
	var err error
	s.out, err = s.merge(ctx)
	return err
}

// keep takes over a batch. A batch for which there is no memory goes straight to
// disk with those before it.
func (s *sorter) keep(b dataflow.Batch) error {
	if s.enc == nil {
		s.schema = b.Schema()
		var err error
		if s.enc, err = order.NewEncoder(s.schema, s.by); err != nil {
			b.Release()
			return err
		}
	}
	if int64(s.rows.Rows())+b.NumRows() > math.MaxInt32 {
		if err := s.spill(); err != nil {
			b.Release()
			return err
		}
	}
	s.batches = append(s.batches, b)
	s.taker.Add(b)
	s.rows.Add(int(b.NumRows()))
	if err := s.enc.Append(&s.keys, b); err != nil {
		return err
	}
	size := order.BatchBytes(b)
	scratch := max(s.scratch, s.keys.Bytes()+int64(s.rows.Rows())*order.SortBytesPerRow)
	s.bytes += size
	if s.mem.try(size + scratch - s.scratch) {
		s.scratch = scratch
		return nil
	}
	s.bytes -= size // not reserved
	return s.spillWith(size)
}

// gather makes the next batch of the sorted rows in memory, nil after the last.
func (s *sorter) gather(size int) (dataflow.Batch, error) {
	if len(s.perm) == 0 {
		return nil, nil
	}
	n := min(len(s.perm), rowsPerBatch(s.env, size, int64(s.rows.Rows()), s.bytes))
	s.refs = s.rows.Refs(s.refs[:0], s.perm[:n])
	s.perm = s.perm[n:]
	return s.taker.Take(s.env.Alloc, s.schema, s.refs)
}

func (s *sorter) spill() error { return s.spillWith(0) }

// spillWith writes the rows in memory as a run. The last batch's size may not be
// reserved yet.
func (s *sorter) spillWith(extra int64) error {
	w, err := spillTo(s.env, "sort", s.schema)
	if err != nil {
		return err
	}
	s.perm = s.sort.Sort(&s.keys)
	reserved := s.bytes
	s.bytes += extra
	for {
		b, err := s.gather(runBytes(s.env))
		if err != nil {
			w.Abort()
			s.bytes = reserved
			return err
		}
		if b == nil {
			break
		}
		s.widest = max(s.widest, order.BatchBytes(b))
		err = w.Write(b)
		b.Release()
		if err != nil {
			w.Abort()
			s.bytes = reserved
			return err
		}
	}
	run, err := w.Finish()
	s.bytes = reserved
	if err != nil {
		return err
	}
	s.runs = append(s.runs, run)
	single := len(s.batches) == 1
	releaseBatches(s.batches)
	s.mem.release(s.bytes)
	s.batches, s.bytes = s.batches[:0], 0
	s.taker.Reset()
	s.keys.Reset()
	s.rows.Reset()
	if single { // one batch was too much: what it took was not reserved
		s.dropScratch()
	}
	return nil
}

func (s *sorter) dropScratch() {
	s.mem.release(s.scratch)
	s.forgetScratch()
}

func (s *sorter) forgetScratch() {
	s.keys, s.sort, s.refs, s.perm = order.Keys{}, order.Sorter{}, nil, nil
	s.scratch = 0
}

// drop frees all that is in memory.
func (s *sorter) drop() {
	s.mem.release(s.bytes + s.scratch)
	s.forget()
}

// forget lets go of all that is in memory, but not of what is reserved for it.
func (s *sorter) forget() {
	releaseBatches(s.batches)
	s.batches, s.bytes = nil, 0
	s.taker.Reset()
	s.rows.Reset()
	s.forgetScratch()
}

// merge makes one stream of the runs, keeping their order, in passes of as many as
// memory allows: each holds two batches of each run, the current one and one that
// output still waits for, and their keys.
func (s *sorter) merge(ctx context.Context) (dataflow.Stream, error) {
	each := 3 * max(s.widest, 1)
	fan := len(s.runs)
	for ; fan > 2 && !s.mem.trySet(int64(fan)*each); fan = max(2, fan/2) {
	}
	switch fan {
	case 1: // there is nothing to merge
		s.mem.releaseAll()
	case 2:
		if err := s.mem.set(2 * each); err != nil {
			return nil, err
		}
	}
	for len(s.runs) > fan {
		var next []dataflow.SpillRun
		rest := s.runs
		for len(rest) > 0 {
			n := min(fan, len(rest))
			if n == 1 {
				next, rest = append(next, rest[0]), nil
				break
			}
			run, err := s.mergeRuns(ctx, rest[:n])
			if err != nil {
				s.runs = append(next, rest...)
				return nil, err
			}
			next = append(next, run)
			err = removeRuns(rest[:n])
			rest = rest[n:]
			if err != nil {
				s.runs = append(next, rest...)
				return nil, err
			}
		}
		s.runs = next
	}
	return s.openMerged(s.env, s.runs)
}

func (s *sorter) openMerged(env *dataflow.Env, runs []dataflow.SpillRun) (dataflow.Stream, error) {
	in := make([]dataflow.Stream, 0, len(runs))
	for _, r := range runs {
		st, err := r.Open()
		if err != nil {
			for _, st := range in {
				err = errors.Join(err, st.Close())
			}
			return nil, err
		}
		in = append(in, st)
	}
	return order.Merge(env, s.by, in, true), nil
}

// mergeRuns makes one run of several.
func (s *sorter) mergeRuns(ctx context.Context, runs []dataflow.SpillRun) (run dataflow.SpillRun, err error) {
	env := *s.env
	env.BatchBytes = runBytes(s.env)
	in, err := s.openMerged(&env, runs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	w, err := spillTo(s.env, "sort", s.schema)
	if err != nil {
		return nil, err
	}
	for {
		b, err := in.Next(ctx)
		if err == io.EOF {
			return w.Finish()
		}
		if err == nil {
			s.widest = max(s.widest, order.BatchBytes(b))
			err = w.Write(b)
			b.Release()
		}
		if err != nil {
			w.Abort()
			return nil, err
		}
	}
}

// Close implements dataflow.Stream.
func (s *sorter) Close() error {
	s.closed()
	var errs []error
	if s.out != nil {
		errs = append(errs, s.out.Close())
		s.out = nil
	}
	errs = append(errs, removeRuns(s.runs))
	s.runs = nil
	s.drop()
	s.mem.releaseAll()
	return errors.Join(append(errs, s.in.Close())...)
}
