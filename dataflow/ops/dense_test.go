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
)

// denseRows is a batch of a column of numbers, of which some are null.
func denseRows(rng *rand.Rand, n int, least, span int64, nulls bool) dataflow.Batch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "n", Type: i64, Nullable: true}}, nil))
	defer rb.Release()
	for range n {
		if nulls && rng.IntN(3) == 0 {
			rb.Field(0).AppendNull()
			continue
		}
		rb.Field(0).(*array.Int64Builder).Append(least + rng.Int64N(span))
	}
	return rb.NewRecordBatch()
}

// A dense set passes the rows whose numbers are in it, all of them and no others.
func TestDense(t *testing.T) {
	rng := rand.New(rand.NewPCG(40, 1))
	for _, c := range []struct {
		rows, asked  int
		least, span  int64
		nulls, dense bool
	}{
		{0, 50, 0, 10, false, true},
		{1, 50, 7, 1, false, true},
		{40, 300, -100, 200, true, true},
		{40, 300, math.MinInt64, 500, true, true},
		{40, 300, math.MaxInt64 - 500, 500, false, true},
		{30000, 300, 0, 3 << 20, true, true},
		{40, 300, -1 << 40, 1 << 41, false, false},
	} {
		built := []dataflow.Batch{denseRows(rng, c.rows/2, c.least, c.span, c.nulls), denseRows(rng, c.rows-c.rows/2, c.least, c.span, c.nulls)}
		mem := held{memory: dataflow.NewMemory("test", 0)}
		d := denseOf([]arrow.Array{built[0].Column(0), built[1].Column(0)}, c.rows, &mem)
		if (d != nil) != c.dense {
			t.Errorf("%+v: dense is %v", c, d != nil)
		}
		if d == nil {
			continue
		}
		in := map[int64]bool{}
		for _, b := range built {
			for i, v := range b.Column(0).(*array.Int64).Int64Values() {
				if b.Column(0).IsValid(i) {
					in[v] = true
				}
			}
		}
		asked := denseRows(rng, c.asked, max(c.least, math.MinInt64+5)-5, 2*min(c.span, 1<<61), true)
		a := array.NewSlice(asked.Column(0), 1, int64(c.asked)).(*array.Int64)
		var want []int32
		for i, v := range a.Int64Values() {
			if a.IsValid(i) && in[v] {
				want = append(want, int32(i))
			}
		}
		got, all, err := d.pass([]arrow.Array{a})
		if err != nil || all || !slices.Equal(got, want) {
			t.Errorf("%+v: %d rows pass, want %d (all: %v, %v)", c, len(got), len(want), all, err)
		}
	}
	// Without room there is none.
	small := dataflow.NewMemory("test", 64)
	if d := denseOf([]arrow.Array{denseRows(rng, 100, 0, 1<<15, false).Column(0)}, 100, &held{memory: small}); d != nil || small.Used() != 0 {
		t.Errorf("a set of kilobytes was made in 64 bytes, of which %d are held", small.Used())
	}
}
