package order

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// A Ref names a row of one of several batches. A negative Batch is a row of nulls.
type Ref struct {
	Batch, Row int32
}

// NullRef is a row of nulls.
var NullRef = Ref{Batch: -1}

// Take makes one batch of the rows that refs name, in that order, out of batches
// of one schema. The caller owns the result; the batches stay the caller's. It
// fails when a column would pass 2 GiB of text, or holds a type that cannot be
// gathered (views, unions, run-end encoding).
func Take(mem memory.Allocator, schema *arrow.Schema, batches []dataflow.Batch, refs []Ref) (dataflow.Batch, error) {
	var rows int64
	for _, b := range batches {
		rows += b.NumRows()
	}
	look := rows <= 2*int64(len(refs)) // at all of each batch: pays only where most of it is taken
	return take(mem, schema, batches, refs, func(c int, chunks []arrow.Array) widths {
		if look {
			return widthsOf(chunks)
		}
		return nil
	})
}

// take is Take, told of columns of text how wide their values are, as far as that is known.
func take(mem memory.Allocator, schema *arrow.Schema, batches []dataflow.Batch, refs []Ref, wide func(c int, chunks []arrow.Array) widths) (dataflow.Batch, error) {
	cols := make([]arrow.Array, 0, schema.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	chunks := make([]arrow.Array, len(batches))
	for c := range schema.NumFields() {
		for i, b := range batches {
			chunks[i] = b.Column(c)
		}
		data, err := takeData(mem, schema.Field(c).Type, chunks, refs, wide(c, chunks))
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", schema.Field(c).Name, err)
		}
		cols = append(cols, array.MakeFromData(data))
		data.Release()
	}
	return array.NewRecordBatch(schema, cols, int64(len(refs))), nil
}

// TakeColumn is Take for one column; chunks[r.Batch] holds row r.Row.
func TakeColumn(mem memory.Allocator, t arrow.DataType, chunks []arrow.Array, refs []Ref) (arrow.Array, error) {
	data, err := takeData(mem, t, chunks, refs, nil)
	if err != nil {
		return nil, err
	}
	defer data.Release()
	return array.MakeFromData(data), nil
}

func takeData(mem memory.Allocator, t arrow.DataType, chunks []arrow.Array, refs []Ref, wide widths) (*array.Data, error) {
	if t.ID() == arrow.NULL {
		return array.NewData(t, len(refs), []*memory.Buffer{nil}, nil, len(refs), 0), nil
	}
	valid, nulls := takeValidity(mem, chunks, refs)
	done := func(children []arrow.ArrayData, buffers ...*memory.Buffer) *array.Data {
		d := array.NewData(t, len(refs), append([]*memory.Buffer{valid}, buffers...), children, nulls, 0)
		for _, b := range append(buffers, valid) {
			if b != nil {
				b.Release()
			}
		}
		for _, c := range children {
			c.Release()
		}
		return d
	}
	fail := func(err error) (*array.Data, error) {
		if valid != nil {
			valid.Release()
		}
		return nil, err
	}
	switch t := t.(type) {
	case *arrow.BooleanType:
		return done(nil, takeBits(mem, chunks, refs)), nil
	case *arrow.StringType, *arrow.BinaryType:
		if w, ok := wide.same(len(refs)); ok && valid == nil { // no row of nulls either
			off, vals := takeAligned(mem, chunks, refs, w)
			return done(nil, off, vals), nil
		}
		off, vals, err := takeText32(mem, chunks, refs)
		if err != nil {
			return fail(err)
		}
		return done(nil, off, vals), nil
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		off, vals := takeText64(mem, chunks, refs)
		return done(nil, off, vals), nil
	case *arrow.DictionaryType:
		d, err := takeDictionary(mem, t, chunks, refs, valid, nulls)
		if err != nil {
			return fail(err)
		}
		return d, nil
	case *arrow.StructType:
		children := make([]arrow.ArrayData, 0, t.NumFields())
		fields := make([]arrow.Array, len(chunks))
		for f := range t.NumFields() {
			for i, c := range chunks {
				fields[i] = c.(*array.Struct).Field(f)
			}
			child, err := takeData(mem, t.Field(f).Type, fields, refs, nil)
			if err != nil {
				for _, c := range children {
					c.Release()
				}
				return fail(fmt.Errorf("field %q: %w", t.Field(f).Name, err))
			}
			children = append(children, child)
		}
		return done(children), nil
	case *arrow.FixedSizeListType:
		elems, inner := fixedElements(chunks, refs, int64(t.Len()))
		child, err := takeData(mem, t.Elem(), elems, inner, nil)
		if err != nil {
			return fail(err)
		}
		return done([]arrow.ArrayData{child}), nil
	case arrow.ListLikeType:
		if id := t.ID(); id != arrow.LIST && id != arrow.LARGE_LIST && id != arrow.MAP {
			break
		}
		elems, inner, off, err := elements(mem, t.ID() == arrow.LARGE_LIST, chunks, refs)
		if err != nil {
			return fail(err)
		}
		child, err := takeData(mem, t.Elem(), elems, inner, nil)
		if err != nil {
			off.Release()
			return fail(err)
		}
		return done([]arrow.ArrayData{child}, off), nil
	case arrow.FixedWidthDataType:
		if t.BitWidth()%8 == 0 {
			return done(nil, takeFixed(mem, t.BitWidth()/8, chunks, refs)), nil
		}
	}
	return fail(fmt.Errorf("values of type %s cannot be gathered", t))
}

// takeValidity is nil where no row is null.
func takeValidity(mem memory.Allocator, chunks []arrow.Array, refs []Ref) (*memory.Buffer, int) {
	maps := make([]bitmap, len(chunks))
	any := false
	for i, c := range chunks {
		if c.NullN() > 0 {
			maps[i] = bitmap{c.Data().Buffers()[0].Bytes(), c.Data().Offset()}
			any = true
		}
	}
	if !any {
		for _, r := range refs {
			if r.Batch < 0 {
				any = true
				break
			}
		}
		if !any {
			return nil, 0
		}
	}
	out := dataflow.NewBuffer(mem, int(bitutil.BytesForBits(int64(len(refs)))))
	bits := out.Bytes()
	clear(bits)
	nulls := 0
	for i, r := range refs {
		if r.Batch < 0 || !maps[r.Batch].valid(int(r.Row)) {
			nulls++
			continue
		}
		bits[i>>3] |= 1 << (i & 7)
	}
	if nulls == 0 {
		out.Release()
		return nil, 0
	}
	return out, nulls
}

type bitmap struct {
	bits []byte
	off  int
}

func (m bitmap) valid(i int) bool { return m.bits == nil || bitutil.BitIsSet(m.bits, m.off+i) }

func takeBits(mem memory.Allocator, chunks []arrow.Array, refs []Ref) *memory.Buffer {
	out := dataflow.NewBuffer(mem, int(bitutil.BytesForBits(int64(len(refs)))))
	bits := out.Bytes()
	clear(bits)
	src := make([]bitmap, len(chunks))
	for i, c := range chunks {
		if b := c.Data().Buffers()[1]; b != nil {
			src[i] = bitmap{b.Bytes(), c.Data().Offset()}
		}
	}
	for i, r := range refs {
		if r.Batch >= 0 && bitutil.BitIsSet(src[r.Batch].bits, src[r.Batch].off+int(r.Row)) {
			bits[i>>3] |= 1 << (i & 7)
		}
	}
	return out
}

func takeFixed(mem memory.Allocator, width int, chunks []arrow.Array, refs []Ref) *memory.Buffer {
	out := dataflow.NewBuffer(mem, width*len(refs))
	switch width {
	case 1:
		takeNumbers(arrow.GetData[uint8](out.Bytes()), chunks, refs)
	case 2:
		takeNumbers(arrow.GetData[uint16](out.Bytes()), chunks, refs)
	case 4:
		takeNumbers(arrow.GetData[uint32](out.Bytes()), chunks, refs)
	case 8:
		takeNumbers(arrow.GetData[uint64](out.Bytes()), chunks, refs)
	default:
		dst := out.Bytes()
		src := make([][]byte, len(chunks))
		for i, c := range chunks {
			src[i] = fixedBytes(c, width)
		}
		for i := 0; i < len(refs); {
			r, next := refs[i], runEnd(refs, i)
			if to := dst[i*width : next*width]; r.Batch >= 0 {
				copy(to, src[r.Batch][int(r.Row)*width:])
			} else {
				clear(to)
			}
			i = next
		}
	}
	return out
}

func takeNumbers[T uint8 | uint16 | uint32 | uint64](dst []T, chunks []arrow.Array, refs []Ref) {
	src := make([][]T, len(chunks))
	for i, c := range chunks {
		src[i] = arrow.GetValues[T](c.Data(), 1)
	}
	if len(src) == 1 { // of which a batch is put in order
		one, dst := src[0], dst[:len(refs)]
		for i, r := range refs {
			if r.Batch < 0 {
				dst[i] = 0
				continue
			}
			dst[i] = one[r.Row]
		}
		return
	}
	for i, r := range refs {
		if r.Batch < 0 {
			dst[i] = 0
			continue
		}
		dst[i] = src[r.Batch][r.Row]
	}
}
