package ops

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("sample", "some rows, each as likely as any other", func(a sample) (dataflow.Operator, error) {
		if a.Max <= 0 || a.StopAfter < 0 {
			return nil, fmt.Errorf("max is %d and stop_after %d", a.Max, a.StopAfter)
		}
		return a, nil
	})
}

// sample gives at most Max rows of some columns, in the order they came in, each
// row of the input as likely as any other. The same input gives the same sample,
// however it is cut into batches. StopAfter, unless 0, is how many rows it looks
// at before it closes its input.
type sample struct {
	Columns   []int `json:"columns"`
	Max       int   `json:"max"`
	StopAfter int64 `json:"stop_after"`
}

// Schema implements dataflow.Operator.
func (s sample) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	schema, err := one("sample", in)
	if err != nil {
		return nil, err
	}
	if err := checkColumns(schema, s.Columns); err != nil {
		return nil, userError("sample", err)
	}
	return selectFields(schema, s.Columns), nil
}

// Open implements dataflow.Operator.
func (s sample) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &sampleStream{sample: s, env: env, in: in[0], mem: held{memory: env.Memory}, rng: rand.New(rand.NewPCG(0x5eed, uint64(s.Max)))}, nil
}

// sampleStream fills a reservoir: the first Max rows, then row i takes the place
// of a random one with probability Max/(i+1).
type sampleStream struct {
	sample
	final
	env *dataflow.Env
	in  dataflow.Stream
	rng *rand.Rand

	schema  *arrow.Schema
	mem     held
	batches []dataflow.Batch // hold the chosen rows and some that were
	stored  int
	chosen  []order.Ref
	seen    int64
	read    bool
	at      int
}

// Next implements dataflow.Stream.
func (s *sampleStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *sampleStream) step(ctx context.Context) (dataflow.Batch, error) {
	if !s.read {
		if err := s.consume(ctx); err != nil {
			return nil, err
		}
		s.read = true
	}
	if s.at == len(s.chosen) {
		return nil, io.EOF
	}
	_, size := order.BatchLimits(s.env)
	n := min(len(s.chosen)-s.at, rowsPerBatch(s.env, size, int64(max(s.stored, 1)), s.mem.n))
	b, err := order.Take(s.env.Alloc, s.schema, s.batches, s.chosen[s.at:s.at+n])
	s.at += n
	return b, err
}

func (s *sampleStream) consume(ctx context.Context) error {
	for s.StopAfter == 0 || s.seen < s.StopAfter {
		b, err := s.in.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		err = s.look(b)
		b.Release()
		if err != nil {
			return err
		}
	}
	slices.SortFunc(s.chosen, compareRefs)
	return s.in.Close()
}

func compareRefs(a, b order.Ref) int {
	return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Row, b.Row))
}

// look chooses among the rows of b and keeps copies.
func (s *sampleStream) look(b dataflow.Batch) error {
	if s.schema == nil {
		s.schema = selectFields(b.Schema(), s.Columns)
	}
	var rows []order.Ref
	batch := int32(len(s.batches))
	for i := range int32(b.NumRows()) {
		if s.StopAfter > 0 && s.seen == s.StopAfter {
			break
		}
		place := len(s.chosen)
		if place == s.Max {
			place = int(s.rng.Int64N(s.seen + 1))
		} else {
			s.chosen = append(s.chosen, order.Ref{})
		}
		s.seen++
		if place < s.Max {
			s.chosen[place] = order.Ref{Batch: batch, Row: int32(len(rows))}
			rows = append(rows, order.Ref{Row: i})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	narrow := selectColumns(s.schema, b, s.Columns)
	defer narrow.Release()
	kept, err := order.Take(s.env.Alloc, s.schema, []dataflow.Batch{narrow}, rows)
	if err != nil {
		return err
	}
	s.batches = append(s.batches, kept)
	s.stored += len(rows)
	if err := s.mem.must(order.BatchBytes(kept)); err != nil {
		return err
	}
	if s.stored > 2*s.Max+1024 {
		return s.compact()
	}
	return nil
}

// compact forgets the rows that have lost their place. Places stay: which row is
// replaced next must not depend on when this happens.
func (s *sampleStream) compact() error {
	byAge := make([]int, len(s.chosen))
	for i := range byAge {
		byAge[i] = i
	}
	slices.SortFunc(byAge, func(a, b int) int { return compareRefs(s.chosen[a], s.chosen[b]) })
	refs := make([]order.Ref, len(byAge))
	for i, place := range byAge {
		refs[i] = s.chosen[place]
		s.chosen[place] = order.Ref{Row: int32(i)}
	}
	kept, err := order.Take(s.env.Alloc, s.schema, s.batches, refs)
	if err != nil {
		return err
	}
	releaseBatches(s.batches)
	s.batches, s.stored = append(s.batches[:0], kept), len(refs)
	return s.mem.set(order.BatchBytes(kept))
}

// Close implements dataflow.Stream.
func (s *sampleStream) Close() error {
	s.closed()
	releaseBatches(s.batches)
	s.batches, s.chosen = nil, nil
	s.mem.releaseAll()
	return s.in.Close()
}
