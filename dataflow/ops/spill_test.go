package ops

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// The same through files: nothing is lost on the way and no file remains.
func TestSpillToFiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(20, 21))
	l := opstest.Random(memory.DefaultAllocator, rng, opstest.SchemaOf(i16, str, i64), 4000)
	r := opstest.Random(memory.DefaultAllocator, rng, opstest.SchemaOf(str, i16), 3000)
	r = r.NewSlice(0, 900)
	keys := []dataflow.SortKey{{Column: 0}, {Column: 1, Descending: true}}
	for _, c := range []struct {
		name string
		op   dataflow.Operator
		in   []dataflow.Batch
		want []string
	}{
		{"sort", op(t, "sort", args{"keys": keys}), []dataflow.Batch{l}, sorted(l, keys)},
		{"unique", op(t, "unique", args{"columns": []int{0, 1, 2}}), []dataflow.Batch{l}, distinct(l, 0, 1, 2)},
		{"hashjoin", join(t, "full", "left", []int{0, 1}, []int{1, 0}), []dataflow.Batch{l, r}, joined("full", l, r, []int{0, 1}, []int{1, 0})},
	} {
		t.Run(c.name, func(t *testing.T) {
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			dir := t.TempDir()
			env := dataflow.NewEnv(t.Context())
			env.Alloc, env.Memory, env.Temp, env.Spill = mem, dataflow.NewMemory("test", 60<<10), dataflow.DirTemp(dir), block.NewSpill(block.None)
			spilled := 0
			env.Events = &dataflow.Events{Spilled: func(dataflow.SpillInfo) { spilled++ }}
			var in []dataflow.Stream
			for _, b := range c.in {
				in = append(in, opstest.Slice(mem, b, 64))
			}
			s, err := c.op.Open(env, in...)
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
			if c.name != "sort" {
				slices.Sort(got)
				slices.Sort(c.want)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%d rows, want %d", len(got), len(c.want))
			}
			if spilled == 0 {
				t.Error("nothing was spilled")
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%d files remain", len(left))
			}
			mem.AssertSize(t, 0)
			if env.Memory.Used() != 0 {
				t.Errorf("%d bytes are still reserved", env.Memory.Used())
			}
		})
	}
}
