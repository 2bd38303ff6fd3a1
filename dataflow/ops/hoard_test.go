package ops

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// ending notes that a stream has come to its end.
type ending struct {
	dataflow.Stream
	ended bool
}

func (e *ending) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := e.Stream.Next(ctx)
	e.ended = e.ended || err == io.EOF
	return b, err
}

// A sort has what it needs to merge its runs although others take all that is free once
// it has read its input: of what it has, it keeps so much.
func TestSortKeepsWhatMergingTakes(t *testing.T) {
	const limit = 32 << 10
	b := keyed(3000, func(i int) int64 { return int64(i) })
	keys := []dataflow.SortKey{{Column: 0, Descending: true}}
	env := dataflow.NewEnv(t.Context())
	env.BatchBytes, env.BatchRows = 512, 20
	spill := &opstest.Spill{}
	env.Memory, env.Spill = dataflow.NewMemory("test", limit), spill
	in := &ending{Stream: opstest.Slice(memory.DefaultAllocator, b, 20)}
	others := env.Memory.Child("others", 0)
	env.Memory.Refuse(func(int64) bool {
		if in.ended {
			if err := others.Reserve(limit - env.Memory.Used()); err != nil {
				t.Error(err)
			}
		}
		return in.ended
	})
	s, err := op(t, "sort", args{"keys": keys}).Open(env, in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := opstest.Collect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := opstest.Rows(out...), sorted(b, keys); !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	if spill.Made() < 3 {
		t.Errorf("%d runs: there is nothing to merge", spill.Made())
	}
	if env.Memory.Used() != others.Used() {
		t.Errorf("%d bytes are still reserved", env.Memory.Used()-others.Used())
	}
}

// What is reserved already is neither asked for anew nor given back before less is needed.
func TestHeldIsSet(t *testing.T) {
	m := dataflow.NewMemory("test", 100)
	h := held{memory: m}
	if err := h.must(60); err != nil {
		t.Fatal(err)
	}
	m.Refuse(func(int64) bool { return true })
	if !h.trySet(60) || !h.trySet(40) || h.trySet(41) || m.Used() != 40 {
		t.Errorf("%d bytes are held, want 40", m.Used())
	}
	if err := h.set(100); err != nil || m.Used() != 100 {
		t.Errorf("%d bytes are held, want 100: %v", m.Used(), err)
	}
	if err := h.set(101); err == nil || m.Used() != 100 {
		t.Errorf("%d bytes are held, want 100 and an error", m.Used())
	}
	h.releaseAll()
	if m.Used() != 0 {
		t.Errorf("%d bytes are still held", m.Used())
	}
}
