package opstest

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// Spill keeps runs in the memory of the test, outside every budget, and counts.
type Spill struct {
	mu   sync.Mutex
	made int
	live int
	fail int // the write that fails, counted down; 0: none

	fault func(what string) error
}

// Made is the number of runs that were begun.
func (s *Spill) Made() int { s.mu.Lock(); defer s.mu.Unlock(); return s.made }

// Live is the number of runs begun and not removed.
func (s *Spill) Live() int { s.mu.Lock(); defer s.mu.Unlock(); return s.live }

func (s *Spill) add(live int) { s.mu.Lock(); s.live += live; s.mu.Unlock() }

// FailAt makes the nth write fail with ErrDiskFull.
func (s *Spill) FailAt(n int) { s.mu.Lock(); s.fail = n; s.mu.Unlock() }

// Fault has f asked before everything that may fail with files: "create", "write",
// "finish", "open" and "read". An error of f is what comes of it.
func (s *Spill) Fault(f func(what string) error) { s.mu.Lock(); s.fault = f; s.mu.Unlock() }

func (s *Spill) fails(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault == nil {
		return nil
	}
	return s.fault(what)
}

// Create implements dataflow.Spill.
func (s *Spill) Create(env *dataflow.Env, name string, schema *arrow.Schema) (dataflow.SpillWriter, error) {
	if err := s.fails("create"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	s.live++
	return &run{spill: s, env: env, schema: schema}, nil
}

type run struct {
	spill    *Spill
	env      *dataflow.Env
	schema   *arrow.Schema
	batches  []dataflow.Batch
	rows     int64
	bytes    int64
	finished bool
	gone     bool
}

func (r *run) Write(b dataflow.Batch) error {
	r.spill.mu.Lock()
	fail := r.spill.fail == 1
	if r.spill.fail > 0 {
		r.spill.fail--
	}
	r.spill.mu.Unlock()
	switch {
	case fail:
		return dataflow.ErrDiskFull
	case r.finished || r.gone:
		return errors.New("write to a finished run")
	case b.NumRows() == 0:
		return errors.New("an empty batch was spilled")
	case !b.Schema().Equal(r.schema):
		return errors.New("a batch of another schema was spilled")
	}
	if err := r.spill.fails("write"); err != nil {
		return err
	}
	kept, err := copyOf(memory.DefaultAllocator, b) // outside what the test counts
	if err != nil {
		return err
	}
	r.batches = append(r.batches, kept)
	r.rows += b.NumRows()
	r.bytes += order.BatchBytes(b)
	return nil
}

func (r *run) Finish() (dataflow.SpillRun, error) {
	if err := r.spill.fails("finish"); err != nil {
		r.Abort() // as a Finish that fails does
		return nil, err
	}
	r.finished = true
	return r, nil
}

func (r *run) Abort() { _ = r.Remove() }

func (r *run) Open() (dataflow.Stream, error) {
	if !r.finished || r.gone {
		return nil, errors.New("open of an unfinished or removed run")
	}
	if err := r.spill.fails("open"); err != nil {
		return nil, err
	}
	return &runStream{run: r}, nil
}

func (r *run) Rows() int64  { return r.rows }
func (r *run) Bytes() int64 { return r.bytes }

func (r *run) Remove() error {
	if r.gone {
		return nil
	}
	r.gone = true
	r.spill.add(-1)
	for _, b := range r.batches {
		b.Release()
	}
	r.batches = nil
	return nil
}

type runStream struct {
	run *run
	at  int
}

// Next copies, as a run that was on disk would.
func (s *runStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.run.gone {
		return nil, errors.New("read from a removed run")
	}
	if s.at == len(s.run.batches) {
		return nil, io.EOF
	}
	if err := s.run.spill.fails("read"); err != nil {
		return nil, err
	}
	b := s.run.batches[s.at]
	s.at++
	return copyOf(s.run.env.Alloc, b)
}

func copyOf(mem memory.Allocator, b dataflow.Batch) (dataflow.Batch, error) {
	refs := make([]order.Ref, b.NumRows())
	for i := range refs {
		refs[i].Row = int32(i)
	}
	return order.Take(mem, b.Schema(), []dataflow.Batch{b}, refs)
}

func (s *runStream) Close() error { return nil }
