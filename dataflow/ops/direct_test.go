package ops

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// keysOf is rows of a key of a type of whole numbers, drawn by next, which says no for a
// null, and a text.
func keysOf(typ arrow.DataType, n int, next func(i int) (int64, bool)) dataflow.Batch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(typ, str))
	defer rb.Release()
	for i := range n {
		v, ok := next(i)
		if !ok {
			rb.Field(0).AppendNull()
		} else {
			switch b := rb.Field(0).(type) {
			case *array.Int64Builder:
				b.Append(v)
			case *array.Int32Builder:
				b.Append(int32(v))
			case *array.Date32Builder:
				b.Append(arrow.Date32(v))
			}
		}
		rb.Field(1).(*array.StringBuilder).Append(string(rune('a' + i%26)))
	}
	return rb.NewRecordBatch()
}

// Whole numbers that lie close together, at the ends of their type and with nulls and
// duplicates among them, join as any keys do; so do those that lie far apart.
func TestHashJoinWholeNumbers(t *testing.T) {
	rng := rand.New(rand.NewPCG(71, 2))
	for _, c := range []struct {
		name         string
		typ          arrow.DataType
		least, span  int64
		nulls        int // one of so many, 0 for none
		left, right  int
		beyond       int64 // how far the left side's numbers reach over the right's
		indexedRight bool
	}{
		{"few", i64, 5, 20, 0, 60, 40, 0, true},
		{"counted", i64, -9, 0, 0, 90, 40, 30, true},
		{"counted int32", arrow.PrimitiveTypes.Int32, math.MinInt32, 0, 0, 60, 40, 0, true},
		{"counted but for nulls", i64, 8, 0, 7, 60, 40, 0, true},
		{"nulls", i64, -7, 30, 4, 60, 40, 9, true},
		{"only nulls", i64, 0, 5, 1, 30, 30, 0, true},
		{"least", i64, math.MinInt64, 40, 5, 60, 40, 0, true},
		{"largest", i64, math.MaxInt64 - 40, 40, 5, 60, 40, 0, true},
		{"int32", arrow.PrimitiveTypes.Int32, math.MinInt32, 50, 6, 60, 40, 0, true},
		{"dates", arrow.FixedWidthTypes.Date32, -40, 90, 6, 60, 40, 50, true},
		{"far", i64, -1 << 60, 1 << 61, 3, 60, 40, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			draw := func(reach int64) func(int) (int64, bool) {
				return func(i int) (int64, bool) {
					if c.nulls > 0 && rng.IntN(c.nulls) == 0 {
						return 0, false
					}
					if c.span == 0 {
						return c.least - reach + int64(i), true
					}
					return c.least - reach + rng.Int64N(c.span+2*reach), true
				}
			}
			l, r := keysOf(c.typ, c.left, draw(c.beyond)), keysOf(c.typ, c.right, draw(0))
			eachJoin(t, func(t *testing.T, typ, build string) {
				opstest.Run(t, join(t, typ, build, []int{0}, []int{0}), []dataflow.Batch{l, r}, joined(typ, l, r, []int{0}, []int{0}), opstest.Unordered())
			})
			var b built
			b.mem = held{memory: dataflow.NewMemory("test", 0)}
			r.Retain()
			if ok, err := b.add(r, []int{0}, false); err != nil || !ok {
				t.Fatal(ok, err)
			}
			f, err := b.index(memory.DefaultAllocator, []int{0}, []int{0, 1})
			if err != nil {
				t.Fatal(err)
			}
			if (f.direct != nil) != c.indexedRight {
				t.Errorf("indexed directly: %v, want %v", f.direct != nil, c.indexedRight)
			}
			f.close()
			b.close()
			if n := b.mem.memory.Used(); n != 0 {
				t.Errorf("%d bytes are still reserved", n)
			}
		})
	}
}
