package expr

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// store makes an array of the frame's rows of v.
func (f *frame) store(v *vec, t arrow.DataType) arrow.Array {
	if v.allNull() {
		if t.ID() == arrow.NULL {
			return array.NewNull(f.n)
		}
		return array.MakeArrayOfNull(f.mem, t, f.n)
	}
	valid, nulls := f.storeValid(v)
	if v.kind == kText {
		return f.storeText(v, t, valid, nulls)
	}
	if v.kind == kBool {
		buf := newBits(f.mem, f.n)
		defer buf.Release()
		dst, m := buf.Bytes(), v.step()
		for i := range f.n {
			dst[i>>3] |= v.bits[i&m] << (i & 7)
		}
		return finish(t, f.n, nulls, valid, buf)
	}
	buf := memory.NewResizableBuffer(f.mem)
	defer buf.Release()
	buf.Resize(f.n * t.(arrow.FixedWidthDataType).BitWidth() / 8)
	raw := buf.Bytes()
	switch t.ID() {
	case arrow.INT8:
		narrow(f, arrow.Int8Traits.CastFromBytes(raw), v.i32, v.step())
	case arrow.INT16:
		narrow(f, arrow.Int16Traits.CastFromBytes(raw), v.i32, v.step())
	case arrow.UINT8:
		narrow(f, arrow.Uint8Traits.CastFromBytes(raw), v.i32, v.step())
	case arrow.UINT16:
		narrow(f, arrow.Uint16Traits.CastFromBytes(raw), v.i32, v.step())
	case arrow.INT32, arrow.DATE32:
		narrow(f, arrow.Int32Traits.CastFromBytes(raw), v.i32, v.step())
	case arrow.UINT32:
		narrow(f, arrow.Uint32Traits.CastFromBytes(raw), v.i64, v.step())
	case arrow.INT64, arrow.TIMESTAMP:
		narrow(f, arrow.Int64Traits.CastFromBytes(raw), v.i64, v.step())
	case arrow.FLOAT32:
		narrow(f, arrow.Float32Traits.CastFromBytes(raw), v.f64, v.step())
	case arrow.FLOAT64:
		narrow(f, arrow.Float64Traits.CastFromBytes(raw), v.f64, v.step())
	case arrow.UINT64:
		dst := arrow.Uint64Traits.CastFromBytes(raw)
		for i := range dst {
			dst[i] = v.num(i).LowBits()
		}
	case arrow.DECIMAL128:
		dst, m := arrow.Decimal128Traits.CastFromBytes(raw), v.step()
		if v.kind == kI64 {
			for i := range dst {
				x := v.i64[i&m]
				dst[i] = decimal128.New(x>>63, uint64(x))
			}
		} else {
			for i := range dst {
				dst[i] = v.dec[i&m]
			}
		}
	}
	return finish(t, f.n, nulls, valid, buf)
}

func narrow[D, S number](f *frame, dst []D, src []S, m int) {
	for i := range dst[:f.n] {
		dst[i] = D(src[i&m])
	}
}

func (f *frame) storeValid(v *vec) (*memory.Buffer, int) {
	if v.valid == nil {
		return nil, 0
	}
	buf := newBits(f.mem, f.n)
	dst, n, m := buf.Bytes(), 0, v.step()
	for i := range f.n {
		bit := v.valid[i&m]
		dst[i>>3] |= bit << (i & 7)
		n += int(bit)
	}
	return buf, f.n - n
}

func (f *frame) storeText(v *vec, t arrow.DataType, valid *memory.Buffer, nulls int) arrow.Array {
	size, m := 0, v.step()
	for i := range f.n {
		if !v.null(i) {
			size += int(v.to[i&m] - v.from[i&m])
		}
	}
	ends, text := memory.NewResizableBuffer(f.mem), memory.NewResizableBuffer(f.mem)
	defer ends.Release()
	defer text.Release()
	ends.Resize(4 * (f.n + 1))
	text.Resize(size)
	to, dst, at := arrow.Int32Traits.CastFromBytes(ends.Bytes()), text.Bytes(), 0
	to[0] = 0
	for i := range f.n {
		if !v.null(i) {
			at += copy(dst[at:], v.data[v.from[i&m]:v.to[i&m]])
		}
		to[i+1] = int32(at)
	}
	return finish(t, f.n, nulls, valid, ends, text)
}
