package expr

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// load makes a column ready to be worked on: its memory where that will do.
func (f *frame) load(a arrow.Array) (*vec, error) {
	v := &vec{kind: kindOf(a.DataType())}
	if v.kind == kNone {
		return nil, fmt.Errorf("a column of type %s cannot be worked on", a.DataType())
	}
	d := a.Data()
	if v.kind == kNull {
		v.konst, v.valid = true, []uint8{0}
		return v, nil
	}
	if a.NullN() > 0 {
		v.valid = f.loadBits(d.Buffers()[0].Bytes(), d.Offset(), d.Len())
	}
	switch a.DataType().ID() {
	case arrow.BOOL:
		v.bits = f.loadBits(d.Buffers()[1].Bytes(), d.Offset(), d.Len())
	case arrow.INT8:
		v.i32 = widen(f, f.i32.get(f.n), arrow.GetValues[int8](d, 1))
	case arrow.INT16:
		v.i32 = widen(f, f.i32.get(f.n), arrow.GetValues[int16](d, 1))
	case arrow.UINT8:
		v.i32 = widen(f, f.i32.get(f.n), arrow.GetValues[uint8](d, 1))
	case arrow.UINT16:
		v.i32 = widen(f, f.i32.get(f.n), arrow.GetValues[uint16](d, 1))
	case arrow.INT32:
		v.i32 = picked(f, &f.i32, arrow.GetValues[int32](d, 1))
	case arrow.DATE32:
		v.i32 = picked(f, &f.i32, arrow.Int32Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset():d.Offset()+d.Len()])
	case arrow.UINT32:
		v.i64 = widen(f, f.i64.get(f.n), arrow.GetValues[uint32](d, 1))
	case arrow.INT64:
		v.i64 = picked(f, &f.i64, arrow.GetValues[int64](d, 1))
	case arrow.TIMESTAMP:
		v.i64 = picked(f, &f.i64, arrow.Int64Traits.CastFromBytes(d.Buffers()[1].Bytes())[d.Offset():d.Offset()+d.Len()])
	case arrow.UINT64:
		f.loadUint64(v, arrow.GetValues[uint64](d, 1))
	case arrow.DECIMAL128:
		f.loadDecimal(v, arrow.GetValues[decimal128.Num](d, 1))
	case arrow.FLOAT32:
		v.f64 = widen(f, f.f64.get(f.n), arrow.GetValues[float32](d, 1))
	case arrow.FLOAT64:
		v.f64 = picked(f, &f.f64, arrow.GetValues[float64](d, 1))
	case arrow.STRING, arrow.BINARY:
		offsets := arrow.GetOffsets[int32](d, 1)
		if d.Buffers()[2] != nil {
			v.data = d.Buffers()[2].Bytes()
		}
		v.from, v.to = picked(f, &f.i32, offsets[:d.Len()]), picked(f, &f.i32, offsets[1:d.Len()+1])
	}
	return v, nil
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~float32 | ~float64
}

// widen copies the frame's rows of src to dst.
func widen[D, S number](f *frame, dst []D, src []S) []D {
	if f.sel != nil {
		for i, r := range f.sel {
			dst[i] = D(src[r])
		}
		return dst
	}
	for i, x := range src[:len(dst)] {
		dst[i] = D(x)
	}
	return dst
}

// picked is the frame's rows of src.
func picked[T any](f *frame, p *pool[T], src []T) []T {
	if f.sel == nil {
		return src
	}
	dst := p.get(f.n)
	for i, r := range f.sel {
		dst[i] = src[r]
	}
	return dst
}

// loadDecimal brings decimals down to int64 if all of them fit.
func (f *frame) loadDecimal(v *vec, src []decimal128.Num) {
	dst := f.i64.get(f.n)
	bad := int64(0)
	if f.sel != nil {
		for i, r := range f.sel {
			lo := int64(src[r].LowBits())
			dst[i] = lo
			bad |= src[r].HighBits() ^ lo>>63
		}
	} else {
		for i := range dst {
			lo := int64(src[i].LowBits())
			dst[i] = lo
			bad |= src[i].HighBits() ^ lo>>63
		}
	}
	if bad == 0 {
		v.kind, v.i64 = kI64, dst
		return
	}
	v.dec = picked(f, &f.dec, src)
}

func (f *frame) loadUint64(v *vec, src []uint64) {
	v.dec = f.dec.get(f.n)
	for i := range v.dec {
		r := i
		if f.sel != nil {
			r = int(f.sel[i])
		}
		v.dec[i] = decimal128.FromU64(src[r])
	}
}

// spread[b] is the bits of b, one a byte, the lowest first.
var spread = func() (t [256]uint64) {
	for b := range t {
		for i := range 8 {
			t[b] |= uint64(b>>i&1) << (8 * i)
		}
	}
	return t
}()

// loadBits makes bytes of the frame's rows of a bitmap of n bits.
func (f *frame) loadBits(bitmap []byte, offset, n int) []uint8 {
	dst := f.u8.get(f.n)
	if f.sel != nil {
		for i, r := range f.sel {
			at := offset + int(r)
			dst[i] = bitmap[at>>3] >> (at & 7) & 1
		}
		return dst
	}
	i := 0
	for ; i < n && (offset+i)&7 != 0; i++ {
		dst[i] = bitmap[(offset+i)>>3] >> ((offset + i) & 7) & 1
	}
	for ; i+8 <= n; i += 8 {
		x := spread[bitmap[(offset+i)>>3]]
		d := dst[i : i+8 : i+8]
		d[0], d[1], d[2], d[3] = uint8(x), uint8(x>>8), uint8(x>>16), uint8(x>>24)
		d[4], d[5], d[6], d[7] = uint8(x>>32), uint8(x>>40), uint8(x>>48), uint8(x>>56)
	}
	for ; i < n; i++ {
		dst[i] = bitmap[(offset+i)>>3] >> ((offset + i) & 7) & 1
	}
	return dst
}

// Gather makes an array of the rows of a that sel names, in that order. The caller
// owns it.
func Gather(mem memory.Allocator, a arrow.Array, sel []int32) (arrow.Array, error) {
	d := a.Data()
	width := 0
	switch t := a.DataType().(type) {
	case *arrow.StringType, *arrow.BinaryType:
		return gatherText(mem, a, sel)
	case arrow.FixedWidthDataType:
		width = t.BitWidth() / 8
		if _, dict := t.(*arrow.DictionaryType); dict || t.BitWidth()%8 != 0 {
			width = 0
		}
		if _, nested := t.(arrow.NestedType); nested {
			width = 0
		}
	}
	if width == 0 || d.Buffers()[1] == nil {
		return gatherAny(mem, a, sel)
	}
	buf := memory.NewResizableBuffer(mem)
	defer buf.Release()
	buf.Resize(width * len(sel))
	src, dst := d.Buffers()[1].Bytes()[d.Offset()*width:], buf.Bytes()
	switch width {
	case 4:
		x, y := arrow.Uint32Traits.CastFromBytes(src), arrow.Uint32Traits.CastFromBytes(dst)
		for i, r := range sel {
			y[i] = x[r]
		}
	case 8:
		x, y := arrow.Uint64Traits.CastFromBytes(src), arrow.Uint64Traits.CastFromBytes(dst)
		for i, r := range sel {
			y[i] = x[r]
		}
	case 16:
		x, y := arrow.Decimal128Traits.CastFromBytes(src), arrow.Decimal128Traits.CastFromBytes(dst)
		for i, r := range sel {
			y[i] = x[r]
		}
	default:
		for i, r := range sel {
			copy(dst[i*width:(i+1)*width], src[int(r)*width:])
		}
	}
	valid, nulls := gatherValid(mem, a, sel)
	return finish(a.DataType(), len(sel), nulls, valid, buf), nil
}

// finish makes an array of buffers that it takes its own references to; valid is
// given away.
func finish(t arrow.DataType, n, nulls int, valid *memory.Buffer, rest ...*memory.Buffer) arrow.Array {
	data := array.NewData(t, n, append([]*memory.Buffer{valid}, rest...), nil, nulls, 0)
	defer data.Release()
	if valid != nil {
		valid.Release()
	}
	return array.MakeFromData(data)
}

func gatherValid(mem memory.Allocator, a arrow.Array, sel []int32) (*memory.Buffer, int) {
	if a.NullN() == 0 {
		return nil, 0
	}
	bitmap, offset := a.Data().Buffers()[0].Bytes(), a.Data().Offset()
	buf := newBits(mem, len(sel))
	dst, n := buf.Bytes(), 0
	for i, r := range sel {
		at := offset + int(r)
		bit := bitmap[at>>3] >> (at & 7) & 1
		dst[i>>3] |= bit << (i & 7)
		n += int(bit)
	}
	if n == len(sel) {
		buf.Release()
		return nil, 0
	}
	return buf, len(sel) - n
}

func newBits(mem memory.Allocator, n int) *memory.Buffer {
	buf := memory.NewResizableBuffer(mem)
	buf.Resize(int(bitutil.BytesForBits(int64(n))))
	clear(buf.Bytes())
	return buf
}

func gatherText(mem memory.Allocator, a arrow.Array, sel []int32) (arrow.Array, error) {
	d := a.Data()
	offsets := arrow.GetOffsets[int32](d, 1)
	var size int64
	for _, r := range sel {
		size += int64(offsets[r+1] - offsets[r])
	}
	if bits.Len64(uint64(size)) > 31 {
		return nil, fmt.Errorf("a column of %d bytes of text is too long for a batch", size)
	}
	ends, text := memory.NewResizableBuffer(mem), memory.NewResizableBuffer(mem)
	defer ends.Release()
	defer text.Release()
	ends.Resize(4 * (len(sel) + 1))
	text.Resize(int(size))
	to, dst := arrow.Int32Traits.CastFromBytes(ends.Bytes()), text.Bytes()
	to[0] = 0
	if size > 0 {
		src, at := d.Buffers()[2].Bytes(), int32(0)
		for i, r := range sel {
			at += int32(copy(dst[at:], src[offsets[r]:offsets[r+1]]))
			to[i+1] = at
		}
	} else {
		clear(to)
	}
	valid, nulls := gatherValid(mem, a, sel)
	return finish(a.DataType(), len(sel), nulls, valid, ends, text), nil
}

// gatherAny leaves the rarer types to Arrow.
func gatherAny(mem memory.Allocator, a arrow.Array, sel []int32) (arrow.Array, error) {
	b := array.NewInt32Builder(mem)
	defer b.Release()
	b.AppendValues(sel, nil)
	at := b.NewArray()
	defer at.Release()
	return compute.TakeArray(compute.WithAllocator(context.Background(), mem), a, at)
}
