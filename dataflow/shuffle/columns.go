package shuffle

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// rowSizes is about how many bytes each row of b has: exact for numbers and text,
// an average for what nests. It re-uses dst.
func rowSizes(dst []int32, b dataflow.Batch) []int32 {
	n := int(b.NumRows())
	if cap(dst) < n {
		dst = make([]int32, n)
	}
	dst = dst[:n]
	fixed := int64(1)
	for _, c := range b.Columns() {
		switch c.(type) {
		case *array.String, *array.Binary, *array.LargeString, *array.LargeBinary:
			fixed += 4
		default:
			fixed += order.ArrayBytes(c) / int64(n)
		}
	}
	for i := range dst {
		dst[i] = int32(min(fixed, 1<<30))
	}
	for _, c := range b.Columns() {
		switch c := c.(type) {
		case *array.String:
			addLengths(dst, c.ValueOffsets())
		case *array.Binary:
			addLengths(dst, c.ValueOffsets())
		case *array.LargeString:
			addLengths(dst, c.ValueOffsets())
		case *array.LargeBinary:
			addLengths(dst, c.ValueOffsets())
		}
	}
	return dst
}

func addLengths[T int32 | int64](dst []int32, offsets []T) {
	if len(offsets) <= len(dst) {
		return
	}
	for i := range dst {
		dst[i] = int32(min(int64(dst[i])+int64(offsets[i+1]-offsets[i]), 1<<30))
	}
}

// narrowDictionaries reports whether joining the dictionaries of several batches
// could pass what an index can count.
func narrowDictionaries(s *arrow.Schema) bool {
	for _, f := range s.Fields() {
		if narrow(f.Type) {
			return true
		}
	}
	return false
}

func narrow(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return t.IndexType.(arrow.FixedWidthDataType).BitWidth() < 32 || narrow(t.ValueType)
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if narrow(f.Type) {
				return true
			}
		}
	}
	return false
}

// compact replaces a column's dictionary by the part of it that the rows use, where
// that is smaller: each frame carries its dictionary, and a partition's few rows
// need little of a large one. It takes b over and returns it or its successor.
func compact(mem memory.Allocator, b dataflow.Batch) (dataflow.Batch, error) {
	var cols []arrow.Array
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i, c := range b.Columns() {
		d, ok := c.(*array.Dictionary)
		if !ok || d.Dictionary().Len() <= d.Len() {
			continue
		}
		small, err := compactColumn(mem, d)
		if err != nil {
			b.Release()
			return nil, err
		}
		if cols == nil {
			cols = make([]arrow.Array, b.NumCols())
			for j, c := range b.Columns() {
				c.Retain()
				cols[j] = c
			}
		}
		cols[i].Release()
		cols[i] = small
	}
	if cols == nil {
		return b, nil
	}
	defer b.Release()
	return array.NewRecordBatch(b.Schema(), cols, b.NumRows()), nil
}

func compactColumn(mem memory.Allocator, d *array.Dictionary) (arrow.Array, error) {
	t := d.DataType().(*arrow.DictionaryType)
	place := make([]int32, d.Dictionary().Len()) // one more than the new index of a value, 0: unused
	var used []order.Ref
	indices := array.NewBuilder(mem, t.IndexType)
	defer indices.Release()
	for i := range d.Len() {
		if d.IsNull(i) {
			indices.AppendNull()
			continue
		}
		v := d.GetValueIndex(i)
		if place[v] == 0 {
			used = append(used, order.Ref{Row: int32(v)})
			place[v] = int32(len(used))
		}
		appendIndex(indices, int(place[v]-1))
	}
	idx := indices.NewArray()
	defer idx.Release()
	dict, err := order.TakeColumn(mem, t.ValueType, []arrow.Array{d.Dictionary()}, used)
	if err != nil {
		return nil, err
	}
	defer dict.Release()
	return array.NewDictionaryArray(t, idx, dict), nil
}

func appendIndex(b array.Builder, i int) {
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(i))
	case *array.Uint8Builder:
		b.Append(uint8(i))
	case *array.Int16Builder:
		b.Append(int16(i))
	case *array.Uint16Builder:
		b.Append(uint16(i))
	case *array.Int32Builder:
		b.Append(int32(i))
	case *array.Uint32Builder:
		b.Append(uint32(i))
	case *array.Int64Builder:
		b.Append(int64(i))
	case *array.Uint64Builder:
		b.Append(uint64(i))
	}
}
