package dataflow

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// fixedLayout is for values whose bytes are the same in Go and in Arrow.
func fixedLayout[E int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](t arrow.DataType) *layout {
	return &layout{
		typ:    t,
		column: func(w *columns) column { return &fixedColumn[E]{base: base{w: w, typ: t}} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*fixedColumn[E])
			return func(p unsafe.Pointer) { f.append(*(*E)(p)) }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := fixedValues[E](a)
			return func(i int, p unsafe.Pointer) { *(*E)(p) = v[i] }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 { return mix64(uint64(*(*E)(p)), seed) },
		cmp:  func(p, q unsafe.Pointer) int { return cmp.Compare(*(*E)(p), *(*E)(q)) },
	}
}

// fixedValues is the values of a primitive array, rows of its slice alone.
func fixedValues[E any](a arrow.Array) []E {
	d := a.Data()
	if d.Len() == 0 {
		return nil
	}
	b := d.Buffers()[1].Bytes()
	return unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(b))), d.Offset()+d.Len())[d.Offset():]
}

// floatLayout differs in the hash: values that are equal hash alike, and all NaNs.
func floatLayout[E float32 | float64](t arrow.DataType) *layout {
	return &layout{
		typ:    t,
		column: func(w *columns) column { return &fixedColumn[E]{base: base{w: w, typ: t}} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*fixedColumn[E])
			return func(p unsafe.Pointer) { f.append(*(*E)(p)) }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := fixedValues[E](a)
			return func(i int, p unsafe.Pointer) { *(*E)(p) = v[i] }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 {
			v := float64(*(*E)(p))
			switch {
			case v == 0:
				v = 0 // minus zero too
			case v != v:
				v = math.NaN()
			}
			return mix64(math.Float64bits(v), seed)
		},
		cmp: func(p, q unsafe.Pointer) int {
			a, b := *(*E)(p), *(*E)(q)
			switch {
			case a != a && b != b:
				return 0
			case a != a:
				return 1
			case b != b:
				return -1
			}
			return cmp.Compare(a, b)
		},
	}
}

func boolLayout() *layout {
	t := arrow.FixedWidthTypes.Boolean
	return &layout{
		typ:    t,
		column: func(w *columns) column { return &bitColumn{base: base{w: w, typ: t}} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*bitColumn)
			return func(p unsafe.Pointer) { f.append(*(*bool)(p)) }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := a.(*array.Boolean)
			return func(i int, p unsafe.Pointer) { *(*bool)(p) = v.Value(i) }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 { return mix64(uint64(*(*uint8)(p)), seed) },
		cmp:  func(p, q unsafe.Pointer) int { return cmp.Compare(*(*uint8)(p), *(*uint8)(q)) },
	}
}

// stringValues is the offsets and bytes of a string or binary array.
func stringValues(a arrow.Array) (ends []int32, data string) {
	d := a.Data()
	if d.Len() == 0 {
		return nil, ""
	}
	o := d.Buffers()[1].Bytes()
	ends = unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(o))), d.Offset()+d.Len()+1)[d.Offset():]
	if b := d.Buffers()[2]; b != nil {
		data = unsafe.String(unsafe.SliceData(b.Bytes()), b.Len())
	}
	return ends, data
}

func stringLayout() *layout {
	t := arrow.BinaryTypes.String
	return &layout{
		typ:    t,
		column: func(w *columns) column { return newBytesColumn(w, t) },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*bytesColumn)
			return func(p unsafe.Pointer) { f.append(*(*string)(p)) }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			ends, data := stringValues(a)
			return func(i int, p unsafe.Pointer) { *(*string)(p) = data[ends[i]:ends[i+1]] }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 { return hashString(*(*string)(p), seed) },
		cmp:  func(p, q unsafe.Pointer) int { return strings.Compare(*(*string)(p), *(*string)(q)) },
	}
}

func newBytesColumn(w *columns, t arrow.DataType) *bytesColumn {
	return &bytesColumn{base: base{w: w, typ: t}, ends: fixedColumn[int32]{base: base{w: w}}}
}

func bytesLayout() *layout {
	t := arrow.BinaryTypes.Binary
	return &layout{
		typ:    t,
		column: func(w *columns) column { return newBytesColumn(w, t) },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*bytesColumn)
			return func(p unsafe.Pointer) {
				b := *(*[]byte)(p)
				f.append(unsafe.String(unsafe.SliceData(b), len(b)))
			}
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			ends, data := stringValues(a)
			return func(i int, p unsafe.Pointer) {
				s := data[ends[i]:ends[i+1]]
				if len(s) == 0 {
					*(*[]byte)(p) = nil
					return
				}
				*(*[]byte)(p) = unsafe.Slice(unsafe.StringData(s), len(s))
			}
		},
		cmp: func(p, q unsafe.Pointer) int { return bytes.Compare(*(*[]byte)(p), *(*[]byte)(q)) },
	}
}

func fixedBytesLayout(width int) *layout {
	t := &arrow.FixedSizeBinaryType{ByteWidth: width}
	return &layout{
		typ:    t,
		column: func(w *columns) column { return &widthColumn{base: base{w: w, typ: t}, width: width} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*widthColumn)
			return func(p unsafe.Pointer) { f.append(unsafe.Slice((*byte)(p), width)) }
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := a.(*array.FixedSizeBinary)
			return func(i int, p unsafe.Pointer) { copy(unsafe.Slice((*byte)(p), width), v.Value(i)) }
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 {
			return hashString(unsafe.String((*byte)(p), width), seed)
		},
		cmp: func(p, q unsafe.Pointer) int {
			return bytes.Compare(unsafe.Slice((*byte)(p), width), unsafe.Slice((*byte)(q), width))
		},
	}
}

// Times that fit 64 bits of nanoseconds.
var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

func timeLayout() *layout {
	t := &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}
	return &layout{
		goType: timeType, typ: t, nullable: true,
		column: func(w *columns) column { return &fixedColumn[int64]{base: base{w: w, typ: t}} },
		put: func(c column) func(unsafe.Pointer) {
			f := c.(*fixedColumn[int64])
			return func(p unsafe.Pointer) {
				v := *(*time.Time)(p)
				if v.IsZero() {
					f.null()
					return
				}
				if v.Before(firstTime) || v.After(lastTime) {
					panic(&Error{Op: "encode", Kind: User, Err: fmt.Errorf("time %s does not fit a timestamp in nanoseconds (years 1678 to 2262)", v)})
				}
				f.append(v.UnixNano())
			}
		},
		get: func(a arrow.Array) func(int, unsafe.Pointer) {
			v := fixedValues[int64](a)
			return func(i int, p unsafe.Pointer) {
				if a.IsNull(i) {
					*(*time.Time)(p) = time.Time{}
					return
				}
				*(*time.Time)(p) = time.Unix(0, v[i]).UTC()
			}
		},
		hash: func(p unsafe.Pointer, seed uint64) uint64 {
			v := (*time.Time)(p)
			return mix64(uint64(v.Unix()), mix64(uint64(v.Nanosecond()), seed))
		},
		cmp: func(p, q unsafe.Pointer) int {
			a, b := (*time.Time)(p), (*time.Time)(q)
			if az, bz := a.IsZero(), b.IsZero(); az || bz {
				return cmp.Compare(btoi(bz), btoi(az))
			}
			return a.Compare(*b)
		},
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
