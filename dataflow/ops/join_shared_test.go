package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/order"
	"github.com/divisi-data/divisi/internal/race"
)

// wholeStream is the rows of an input that several tasks read; it may break after some.
type wholeStream struct {
	dataflow.Stream
	left int // batches, then it breaks; less than 0: never
}

var errBroken = errors.New("broken")

// Whole implements dataflow.Wholly.
func (s *wholeStream) Whole() (dataflow.Whole, bool) {
	return dataflow.Whole{Stage: 1, Of: "all"}, true
}

func (s *wholeStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.left == 0 {
		return nil, errBroken
	}
	s.left--
	return s.Stream.Next(ctx)
}

// Tasks of one host that join their rows with the same right side share what finds its
// rows. One whose right side breaks fails alone, one that is closed early spoils nothing,
// and with a tenth of the memory each spills for itself: all the others' results are those
// of nested loops.
func TestHashJoinShared(t *testing.T) {
	rng := rand.New(rand.NewPCG(91, 5))
	some := func(rows int, keys int64) dataflow.Batch {
		return keyed(rows, func(int) int64 { return rng.Int64N(keys) - 20 })
	}
	for name, right := range map[string]dataflow.Batch{
		"numbers": some(900, 1200),
		"far":     keyed(900, func(int) int64 { return rng.Int64N(1200) << 40 }),
		"empty":   keyed(0, nil),
	} {
		const tasks = 7
		var lefts [tasks]dataflow.Batch
		for i := range lefts {
			lefts[i] = some(100*i, 1500)
		}
		for turn, typ := range []string{"inner", "left", "semi", "anti"} {
			if turn%race.Stride(3) != 0 {
				continue
			}
			for _, lent := range []int64{10 * order.BatchBytes(right), order.BatchBytes(right) / 10} {
				what := fmt.Sprintf("%s, %s, %d bytes", name, typ, lent)
				root, pool := dataflow.NewMemory("host", 0), dataflow.NewMemory("lent", max(lent, 1))
				own := order.BatchBytes(right)/10 + 64
				shared := dataflow.NewShared(root.Borrower("shared", 0, pool))
				var wg sync.WaitGroup
				for i, l := range lefts {
					wg.Go(func() {
						out, err := sharing(t, root.Borrower("task", own, pool), shared, typ, i, l, right)
						want := joined(typ, l, right, []int{0}, []int{0})
						got := opstest.Rows(out...)
						slices.Sort(want)
						slices.Sort(got)
						switch {
						case i == 2 && right.NumRows() > 0 && errors.Is(err, errBroken): // unless another had made it
						case err != nil:
							t.Errorf("%s: task %d: %v", what, i, err)
						case i != 3 && !slices.Equal(got, want):
							t.Errorf("%s: task %d: %d rows, want %d", what, i, len(got), len(want))
						}
					})
				}
				wg.Wait()
				if root.Used() != 0 {
					t.Errorf("%s: %d bytes are still reserved", what, root.Used())
				}
			}
		}
	}
}

// sharing runs the i-th of the tasks. The right side of the third breaks, the fourth is
// closed after its first batch.
func sharing(t *testing.T, mem *dataflow.Memory, shared *dataflow.Shared, typ string, i int, l, r dataflow.Batch) ([]dataflow.Batch, error) {
	env := dataflow.NewEnv(t.Context())
	env.Memory, env.Shared, env.Spill, env.Temp = mem, shared, block.NewSpill(block.LZ4), dataflow.DirTemp(t.TempDir())
	j := join(t, typ, "right", []int{0}, []int{0})
	if _, err := j.Schema([]*arrow.Schema{l.Schema(), r.Schema()}...); err != nil {
		return nil, err
	}
	right := &wholeStream{Stream: opstest.Slice(env.Alloc, r, 64), left: -1}
	if i == 2 {
		right.left = 5
	}
	s, err := j.Open(env, opstest.Slice(env.Alloc, l, 64), right)
	if err != nil {
		return nil, err
	}
	if i != 3 {
		return opstest.Collect(t.Context(), s)
	}
	b, err := s.Next(t.Context())
	if err == nil {
		b.Release()
	} else if err == io.EOF {
		err = nil
	}
	return nil, errors.Join(err, s.Close())
}

// The second task finds what the first one made, and reads nothing.
func TestHashJoinSharedIsReadOnce(t *testing.T) {
	l, r := keyed(50, func(i int) int64 { return int64(i) }), keyed(50, func(i int) int64 { return int64(2 * i) })
	root := dataflow.NewMemory("host", 0)
	shared := dataflow.NewShared(root)
	for i := range 2 {
		env := dataflow.NewEnv(t.Context())
		env.Memory, env.Shared = root.Child("task", 0), shared
		right := &wholeStream{Stream: opstest.Slice(env.Alloc, r, 64), left: 2 - 2*i}
		s, err := join(t, "inner", "right", []int{0}, []int{0}).Open(env, opstest.Slice(env.Alloc, l, 64), right)
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatalf("task %d: %v", i, err)
		}
		if got := len(opstest.Rows(out...)); got != 25 {
			t.Errorf("task %d: %d rows, want 25", i, got)
		}
	}
	if root.Used() != 0 {
		t.Errorf("%d bytes are still reserved", root.Used())
	}
}
