package ops

import (
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/internal/race"
)

// Many groups, of which rows are kept for later, beside the oracle: by keys of all kinds,
// with and without nulls, with enough memory, with a part of it, and with a tenth.
func TestAggregateLater(t *testing.T) {
	b := sales(90_000, 200_000)
	needed := int64(0)
	for _, keys := range [][]string{{"d"}, {"k"}, {"g", "d"}, {"m", "f"}, {"k", "g", "d"}}[race.Tries(0, 0, 4):] {
		var cols []int
		for _, k := range keys {
			cols = append(cols, b.Schema().FieldIndices(k)[0])
		}
		want := grouped(b, nil, cols...)
		slices.Sort(want)
		if len(want) < laterGroups {
			t.Fatalf("%d groups are too few for any to be kept", len(want))
		}
		for _, part := range []int64{0, 2, 10} {
			t.Run(fmt.Sprintf("by %v with 1/%d", keys, part), func(t *testing.T) {
				limit := int64(0)
				if part > 0 {
					limit = needed / part
				}
				mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
				env := dataflow.NewEnv(t.Context())
				env.Alloc, env.Memory, env.Temp, env.Spill = mem, dataflow.NewMemory("test", limit), dataflow.DirTemp(t.TempDir()), block.NewSpill(block.None)
				o := aggregated(t, "final", expr.Expr{}, keys, allAggs...)
				if _, err := o.Schema(b.Schema()); err != nil {
					t.Fatal(err)
				}
				s, err := o.Open(env, opstest.Slice(mem, b, 7000))
				if err != nil {
					t.Fatal(err)
				}
				out, err := opstest.Collect(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				got := opstest.Rows(out...)
				for _, b := range out {
					b.Release()
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%d groups, want %d", len(got), len(want))
				}
				if kept := cap(s.(*aggStream).later.refs) > 0; !kept && part == 0 {
					t.Error("no rows were kept")
				}
				needed = max(needed, env.Memory.Peak())
				mem.AssertSize(t, 0)
				if env.Memory.Used() != 0 {
					t.Errorf("%d bytes are still reserved", env.Memory.Used())
				}
			})
		}
	}
}
