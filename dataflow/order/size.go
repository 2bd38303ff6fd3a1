package order

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"

	"github.com/divisi-data/divisi/dataflow"
)

// BatchBytes is the size of a batch's rows in memory. Of a slice of a larger
// batch it counts the slice; a dictionary is counted whole.
func BatchBytes(b dataflow.Batch) int64 {
	var n int64
	for _, c := range b.Columns() {
		n += ArrayBytes(c)
	}
	return n
}

// ArrayBytes is BatchBytes for one column.
func ArrayBytes(a arrow.Array) int64 {
	rows := int64(a.Len())
	if rows == 0 {
		return 0 // it may have no offsets
	}
	var n int64
	if a.NullN() > 0 {
		n += bitutil.BytesForBits(rows)
	}
	switch a := a.(type) {
	case *array.Null:
	case *array.String:
		n += 4*rows + int64(len(a.ValueBytes()))
	case *array.Binary:
		n += 4*rows + int64(len(a.ValueBytes()))
	case *array.LargeString:
		n += 8*rows + int64(len(a.ValueBytes()))
	case *array.LargeBinary:
		n += 8*rows + int64(len(a.ValueBytes()))
	case *array.Struct:
		for i := range a.NumField() {
			n += ArrayBytes(a.Field(i))
		}
	case *array.Dictionary:
		n += ArrayBytes(a.Indices()) + ArrayBytes(a.Dictionary())
	case array.ListLike:
		n += 8 * rows
		if rows > 0 {
			from, _ := a.ValueOffsets(0)
			_, to := a.ValueOffsets(int(rows) - 1)
			if all := int64(a.ListValues().Len()); all > 0 && to > from {
				n += ArrayBytes(a.ListValues()) * (to - from) / all
			}
		}
	default:
		if t, ok := a.DataType().(arrow.FixedWidthDataType); ok {
			n += bitutil.BytesForBits(rows * int64(t.BitWidth()))
			break
		}
		for _, b := range a.Data().Buffers() {
			if b != nil {
				n += int64(b.Len())
			}
		}
	}
	return n
}

// BatchLimits are the rows and bytes a batch should have, or the defaults.
func BatchLimits(env *dataflow.Env) (rows, bytes int) {
	rows, bytes = env.BatchRows, env.BatchBytes
	if rows <= 0 {
		rows = dataflow.DefaultBatchRows
	}
	if bytes <= 0 {
		bytes = dataflow.DefaultBatchBytes
	}
	return rows, bytes
}
