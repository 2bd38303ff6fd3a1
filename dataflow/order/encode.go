package order

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// An Encoder makes the keys of rows of one schema. It keeps scratch memory and is
// used by one goroutine.
type Encoder struct {
	keys    []dataflow.SortKey
	narrow  bool
	scratch [][]uint64
	used    int
}

// NewEncoder is an encoder of the columns that keys name, or says why rows of the
// schema cannot be ordered by them.
func NewEncoder(schema *arrow.Schema, keys []dataflow.SortKey) (*Encoder, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("an order needs at least one column")
	}
	for _, k := range keys {
		if k.Column < 0 || k.Column >= schema.NumFields() {
			return nil, fmt.Errorf("no column %d to order by: the rows have %d", k.Column, schema.NumFields())
		}
		if f := schema.Field(k.Column); !Orderable(f.Type) {
			return nil, fmt.Errorf("column %q: values of type %s have no order", f.Name, f.Type)
		}
	}
	return &Encoder{keys: keys, narrow: len(keys) == 1 && numberOf(schema.Field(keys[0].Column).Type).width > 0}, nil
}

// Encode makes the keys of all rows of one batch.
func Encode(b dataflow.Batch, keys []dataflow.SortKey) (*Keys, error) {
	e, err := NewEncoder(b.Schema(), keys)
	if err != nil {
		return nil, err
	}
	k := new(Keys)
	return k, e.Append(k, b)
}

// Append adds the keys of all rows of b to k, which belongs to this encoder alone.
func (e *Encoder) Append(k *Keys, b dataflow.Batch) error {
	n := int(b.NumRows())
	if k.Len() == 0 {
		k.narrow = e.narrow
	}
	e.used = 0
	if e.narrow {
		e.appendNarrow(k, b.Column(e.keys[0].Column), n)
		return nil
	}
	if len(k.off) == 0 {
		k.off = append(k.off, 0)
	}
	// A single ascending column of text, the most common key, needs no escapes.
	if c := b.Column(e.keys[0].Column); len(e.keys) == 1 && !e.keys[0].Descending {
		if w, ok := rawText(c); ok {
			if t := w.(*textWriter); !t.nulls && t.off32 != nil {
				k.appendText(t.off32[:n+1], t.data)
				return nil
			}
			for i := range n {
				k.buf = w.append(k.buf, i)
				k.end(false)
			}
			return nil
		}
	}
	first := e.keys[0]
	ws := make([]writer, len(e.keys))
	for i, key := range e.keys {
		c := b.Column(key.Column)
		w, raw := rawText(c)
		if !raw || key.Descending || i < len(e.keys)-1 {
			var err error
			if w, err = e.writer(c); err != nil {
				return err
			}
		}
		ws[i] = w
	}
	for i := range n {
		for j, w := range ws {
			start := len(k.buf)
			k.buf = w.append(k.buf, i)
			if e.keys[j].Descending {
				for x := start; x < len(k.buf); x++ {
					k.buf[x] = ^k.buf[x]
				}
			}
		}
		k.end(first.Descending)
	}
	return nil
}

// appendText adds the keys of a single ascending column without nulls.
func (k *Keys) appendText(offsets []int32, data []byte) {
	rows := len(offsets) - 1
	k.prefix, k.off = slices.Grow(k.prefix, rows), slices.Grow(k.off, rows)
	at := len(k.buf)
	end := at + rows + int(offsets[rows]-offsets[0])
	buf := slices.Grow(k.buf, end-at)[:end]
	from := offsets[0]
	for _, to := range offsets[1:] {
		buf[at] = markValue
		copyText(buf, data, at+1, int(from), int(to-from))
		at += 1 + int(to-from)
		k.off = append(k.off, int64(at))
		k.prefix = append(k.prefix, word(data[from:to]))
		from = to
	}
	k.buf = buf
}

// end closes a key and takes its prefix: the eight bytes behind the marker of the
// first column. A null there has the smallest prefix of all, or the largest.
func (k *Keys) end(descending bool) {
	start := k.off[len(k.off)-1]
	k.off = append(k.off, int64(len(k.buf)))
	k.prefix = append(k.prefix, prefixOf(k.buf[start:], descending))
}

func prefixOf(key []byte, descending bool) uint64 {
	switch {
	case !descending && key[0] == markNull:
		return 0
	case descending && key[0] == ^byte(markNull):
		return math.MaxUint64
	}
	return word(key[1:])
}

// word is the first eight bytes as a number, zeros where they end.
func word(b []byte) uint64 {
	if len(b) >= 8 {
		return binary.BigEndian.Uint64(b)
	}
	var w uint64
	for i, c := range b {
		w |= uint64(c) << (56 - 8*i)
	}
	return w
}

func (e *Encoder) appendNarrow(k *Keys, c arrow.Array, n int) {
	start := len(k.prefix)
	k.prefix = ordered(k.prefix, c)
	descending := e.keys[0].Descending
	if descending {
		for i := start; i < len(k.prefix); i++ {
			k.prefix[i] = ^k.prefix[i]
		}
	}
	nulls := c.NullN() > 0
	if k.tie == nil && nulls {
		k.tie = make([]uint8, start, start+n)
		for i := range k.tie {
			k.tie[i] = tieValue
		}
	}
	if k.tie == nil {
		return
	}
	for i := range n {
		switch {
		case !nulls || c.IsValid(i):
			k.tie = append(k.tie, tieValue)
		case descending:
			k.tie = append(k.tie, tieNullLast)
			k.prefix[start+i] = math.MaxUint64
		default:
			k.tie = append(k.tie, tieNullFirst)
			k.prefix[start+i] = 0
		}
	}
}

// Orderable reports whether values of a type can be a sort key.
func Orderable(t arrow.DataType) bool {
	if numberOf(t).width > 0 {
		return true
	}
	switch t := t.(type) {
	case *arrow.NullType, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType,
		*arrow.FixedSizeBinaryType, *arrow.Decimal128Type, *arrow.Decimal256Type:
		return true
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if !Orderable(f.Type) {
				return false
			}
		}
		return true
	case *arrow.ListType:
		return Orderable(t.Elem())
	case *arrow.LargeListType:
		return Orderable(t.Elem())
	case *arrow.FixedSizeListType:
		return Orderable(t.Elem())
	case *arrow.DictionaryType:
		return Orderable(t.ValueType)
	}
	return false
}

// A number is how values of a type are read when they are numbers of at most eight
// bytes: how many, and what they mean. Width is 0 for other types.
type number struct {
	width int // 1, 2, 4, 8 bytes; a bool, which is a bit, counts as one byte
	what  numberKind
}

type numberKind uint8

const (
	isUnsigned numberKind = iota
	isSigned
	isFloat
	isBool
)

func numberOf(t arrow.DataType) number {
	switch t.ID() {
	case arrow.BOOL:
		return number{1, isBool}
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.DATE32, arrow.DATE64, arrow.TIMESTAMP, arrow.TIME32, arrow.TIME64,
		arrow.DURATION, arrow.INTERVAL_MONTHS, arrow.DECIMAL32, arrow.DECIMAL64:
		return number{t.(arrow.FixedWidthDataType).BitWidth() / 8, isSigned}
	case arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return number{t.(arrow.FixedWidthDataType).BitWidth() / 8, isUnsigned}
	case arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64:
		return number{t.(arrow.FixedWidthDataType).BitWidth() / 8, isFloat}
	}
	return number{}
}

// ordered appends the values of an array of numbers as unsigned ones of the same
// order and width. What stands for a null is not defined.
func ordered(dst []uint64, a arrow.Array) []uint64 {
	n, d := numberOf(a.DataType()), a.Data()
	switch n.what {
	case isBool:
		b := a.(*array.Boolean)
		for i := range b.Len() {
			var v uint64
			if b.Value(i) {
				v = 1
			}
			dst = append(dst, v)
		}
		return dst
	case isSigned:
		switch n.width {
		case 1:
			return orderedInts(dst, arrow.GetValues[int8](d, 1), 1<<7)
		case 2:
			return orderedInts(dst, arrow.GetValues[int16](d, 1), 1<<15)
		case 4:
			return orderedInts(dst, arrow.GetValues[int32](d, 1), 1<<31)
		}
		return orderedInts(dst, arrow.GetValues[int64](d, 1), 1<<63)
	case isUnsigned:
		switch n.width {
		case 1:
			return orderedInts(dst, arrow.GetValues[uint8](d, 1), 0)
		case 2:
			return orderedInts(dst, arrow.GetValues[uint16](d, 1), 0)
		case 4:
			return orderedInts(dst, arrow.GetValues[uint32](d, 1), 0)
		}
		return orderedInts(dst, arrow.GetValues[uint64](d, 1), 0)
	}
	switch n.width {
	case 2:
		for _, v := range arrow.GetValues[uint16](d, 1) {
			dst = append(dst, orderedFloat(uint64(v), 0x7c00, 16))
		}
	case 4:
		for _, v := range arrow.GetValues[uint32](d, 1) {
			dst = append(dst, orderedFloat(uint64(v), 0x7f80_0000, 32))
		}
	case 8:
		for _, v := range arrow.GetValues[uint64](d, 1) {
			dst = append(dst, orderedFloat(v, 0x7ff0_0000_0000_0000, 64))
		}
	}
	return dst
}

// orderedInts keeps the low bytes of each value and turns its sign bit, so that a
// number of width w uses w bytes.
func orderedInts[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](dst []uint64, vs []T, sign uint64) []uint64 {
	if sign == 0 {
		for _, v := range vs {
			dst = append(dst, uint64(v))
		}
		return dst
	}
	mask := sign | (sign - 1)
	for _, v := range vs {
		dst = append(dst, (uint64(v)&mask)^sign)
	}
	return dst
}

// orderedFloat takes the bits of an IEEE float of a width, and those of its
// infinity.
func orderedFloat(v, inf uint64, width uint) uint64 {
	sign := uint64(1) << (width - 1)
	switch size := v &^ sign; {
	case size == 0: // -0 is 0
		return sign
	case size > inf: // one NaN, behind all numbers
		return sign | (sign - 1)
	case v&sign != 0:
		return ^v & (sign | (sign - 1))
	}
	return v | sign
}
