package ops

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// A narrow column gives the numbers that it was made of, whatever the least of them is, and
// is made only where that can be and there is room.
func TestNarrow(t *testing.T) {
	rng := rand.New(rand.NewPCG(18, 3))
	for _, c := range []struct {
		least, span int64
		rows        int
		nulls, room bool
		bytes       int64 // that it takes; 0: there is none
	}{
		{0, 256, narrowRows, false, true, narrowRows},
		{math.MinInt64, 256, narrowRows + 9, false, true, narrowRows + 9},
		{math.MaxInt64 - 255, 256, narrowRows, false, true, narrowRows},
		{-5, 1 << 16, narrowRows, false, true, 2 * narrowRows},
		{-5, 1 << 16, narrowRows, false, false, 0},
		{-5, 1<<16 + 1, narrowRows, false, true, 0},
		{0, 2, narrowRows - 1, false, true, 0},
		{0, 2, narrowRows, true, true, 0},
	} {
		rb := array.NewInt64Builder(memory.DefaultAllocator)
		var arrs []arrow.Array
		for i := range c.rows {
			v := c.least + rng.Int64N(c.span)
			switch i {
			case 0:
				v = c.least
			case 1:
				v = c.least + c.span - 1
			}
			rb.Append(v)
			if i%1000 == 999 {
				arrs = append(arrs, rb.NewArray())
			}
		}
		if c.nulls {
			rb.AppendNull()
		}
		arrs = append(arrs, rb.NewArray())
		mem := dataflow.NewMemory("test", 1)
		if c.room {
			mem = dataflow.NewMemory("test", 0)
		}
		n := narrowOf(arrow.PrimitiveTypes.Int64, arrs, c.rows, &held{memory: mem})
		if (n != nil) != (c.bytes > 0) || mem.Used() != c.bytes {
			t.Errorf("%+v: narrow is %v, of %d bytes", c, n != nil, mem.Used())
		}
		if n == nil {
			continue
		}
		rows := []int32{1, 0, int32(c.rows) - 1, 1}
		for range 500 {
			rows = append(rows, rng.Int32N(int32(c.rows)))
		}
		got := n.take(memory.DefaultAllocator, rows).(*array.Int64)
		for i, r := range rows {
			if want := arrs[r/1000].(*array.Int64).Value(int(r % 1000)); got.Value(i) != want {
				t.Fatalf("%+v: row %d is %d, want %d", c, r, got.Value(i), want)
			}
		}
	}
}

// Joins of more rows than a narrow column needs give those of nested loops: with rows of
// nulls for what has no partner too.
func TestHashJoinNarrow(t *testing.T) {
	l := keyed(3000, func(i int) int64 { return int64(i * 37 % 50_000) })
	r := keyed(narrowRows+100, func(i int) int64 { return int64(i / 2) })
	small := array.NewInt64Builder(memory.DefaultAllocator)
	for i := range r.NumRows() {
		small.Append(i % 300)
	}
	r = array.NewRecordBatch(r.Schema(), []arrow.Array{r.Column(0), small.NewArray()}, r.NumRows())
	for _, typ := range []string{"inner", "left"} {
		j := join(t, typ, "right", []int{0}, []int{0})
		if _, err := j.Schema(l.Schema(), r.Schema()); err != nil {
			t.Fatal(err)
		}
		env := dataflow.NewEnv(t.Context())
		s, err := j.Open(env, opstest.Slice(env.Alloc, l, 700), opstest.Slice(env.Alloc, r, 5000))
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		want, got := joined(typ, l, r, []int{0}, []int{0}), opstest.Rows(out...)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d rows, want %d", typ, len(got), len(want))
		}
	}
}
