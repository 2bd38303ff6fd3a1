package ops

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// A narrow is a column of whole numbers that differ by less than 65536 from the least, in
// one or two bytes each instead of eight: what is gathered from here and there is then more
// often in the processor's cache.
type narrow struct {
	least int64
	one   []uint8
	two   []uint16 // where one is nil
}

// narrowRows is how many rows a column has at least to be larger than a cache.
const narrowRows = 1 << 15

// narrowOf is a column of n rows; nil where it is of another type or has nulls, where its
// numbers differ by more, or where there are few rows or there is no room.
func narrowOf(t arrow.DataType, arrs []arrow.Array, n int, mem *held) *narrow {
	if t.ID() != arrow.INT64 || n < narrowRows {
		return nil
	}
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, a := range arrs {
		if a.NullN() > 0 {
			return nil
		}
		l, m := bounds(a)
		least, most = min(least, l), max(most, m)
	}
	c := &narrow{least: least}
	switch span := uint64(most) - uint64(least); {
	case span <= math.MaxUint8 && mem.try(int64(n)):
		c.one = narrowed(make([]uint8, 0, n), arrs, least)
	case span > math.MaxUint8 && span <= math.MaxUint16 && mem.try(2*int64(n)):
		c.two = narrowed(make([]uint16, 0, n), arrs, least)
	default:
		return nil
	}
	return c
}

func narrowed[T uint8 | uint16](dst []T, arrs []arrow.Array, least int64) []T {
	for _, a := range arrs {
		for _, v := range a.(*array.Int64).Int64Values() {
			dst = append(dst, T(uint64(v)-uint64(least)))
		}
	}
	return dst
}

// take makes a column of some rows, in that order.
func (c *narrow) take(mem memory.Allocator, rows []int32) arrow.Array {
	out := dataflow.NewBuffer(mem, 8*len(rows))
	defer out.Release()
	if dst := arrow.GetData[int64](out.Bytes()); c.one != nil {
		widen(dst, c.one, rows, c.least)
	} else {
		widen(dst, c.two, rows, c.least)
	}
	data := array.NewData(arrow.PrimitiveTypes.Int64, len(rows), []*memory.Buffer{nil, out}, nil, 0, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func widen[T uint8 | uint16](dst []int64, src []T, rows []int32, least int64) {
	dst = dst[:len(rows)]
	for i, r := range rows {
		dst[i] = least + int64(src[r])
	}
}
