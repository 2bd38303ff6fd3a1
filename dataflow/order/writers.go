package order

import (
	"bytes"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// What a key says of one column begins with a marker.
const (
	markNull  = 0
	markValue = 1
)

// A writer appends the key of one row of one array, marker first.
type writer interface {
	append(dst []byte, i int) []byte
}

// validity answers for arrays without nulls without looking.
type validity struct {
	arr   arrow.Array
	nulls bool
}

func validityOf(a arrow.Array) validity { return validity{a, a.NullN() > 0} }

func (v *validity) null(i int) bool { return v.nulls && v.arr.IsNull(i) }

// writer makes the writer of an array of any orderable type.
func (e *Encoder) writer(a arrow.Array) (writer, error) {
	v := validityOf(a)
	if n := numberOf(a.DataType()); n.width > 0 {
		return &numberWriter{v, e.orderedScratch(a), n.width}, nil
	}
	switch a := a.(type) {
	case *array.Null:
		return nullWriter{}, nil
	case *array.String, *array.Binary, *array.LargeString, *array.LargeBinary:
		return &textWriter{v, textOf(a), true}, nil
	case *array.FixedSizeBinary:
		return &fixedWriter{v, a.Value}, nil
	case *array.Decimal128:
		return &decimalWriter{v, fixedBytes(a, 16), 16}, nil
	case *array.Decimal256:
		return &decimalWriter{v, fixedBytes(a, 32), 32}, nil
	case *array.Struct:
		w := &structWriter{validity: v}
		for i := range a.NumField() {
			f, err := e.writer(a.Field(i))
			if err != nil {
				return nil, err
			}
			w.fields = append(w.fields, f)
		}
		return w, nil
	case array.ListLike:
		elem, err := e.writer(a.ListValues())
		if err != nil {
			return nil, err
		}
		return &listWriter{v, a, elem}, nil
	case *array.Dictionary:
		values, err := e.writer(a.Dictionary())
		if err != nil {
			return nil, err
		}
		return &dictionaryWriter{v, a, values}, nil
	}
	return nil, fmt.Errorf("values of type %s have no order", a.DataType())
}

// fixedBytes are the values of an array of fixed width.
func fixedBytes(a arrow.Array, width int) []byte {
	if b := a.Data().Buffers()[1]; b != nil {
		return b.Bytes()[width*a.Data().Offset():]
	}
	return nil
}

func (e *Encoder) orderedScratch(a arrow.Array) []uint64 {
	if e.used == len(e.scratch) {
		e.scratch = append(e.scratch, nil)
	}
	s := ordered(e.scratch[e.used][:0], a)
	e.scratch[e.used] = s
	e.used++
	return s
}

type nullWriter struct{}

func (nullWriter) append(dst []byte, _ int) []byte { return append(dst, markNull) }

type numberWriter struct {
	validity
	vals  []uint64
	width int
}

func (w *numberWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	v := w.vals[i]
	switch w.width {
	case 1:
		return append(dst, markValue, byte(v))
	case 2:
		return append(dst, markValue, byte(v>>8), byte(v))
	case 4:
		return append(dst, markValue, byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
	}
	return append(dst, markValue, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

// text is the buffers of an array of strings or bytes.
type text struct {
	data  []byte
	off32 []int32
	off64 []int64
}

func textOf(a arrow.Array) text {
	d := a.Data()
	var t text
	if b := d.Buffers()[2]; b != nil {
		t.data = b.Bytes()
	}
	if d.Len() == 0 {
		return t
	}
	switch a.DataType().ID() {
	case arrow.LARGE_STRING, arrow.LARGE_BINARY:
		t.off64 = arrow.GetOffsets[int64](d, 1)
	default:
		t.off32 = arrow.GetOffsets[int32](d, 1)
	}
	return t
}

func (t *text) value(i int) []byte {
	if t.off32 != nil {
		return t.data[t.off32[i]:t.off32[i+1]]
	}
	return t.data[t.off64[i]:t.off64[i+1]]
}

// A textWriter writes bytes of any length. Unless the key ends with them, they are
// escaped: 0 becomes 0 255, and 0 0 ends them.
type textWriter struct {
	validity
	text
	escaped bool
}

func rawText(a arrow.Array) (writer, bool) {
	switch a.DataType().ID() {
	case arrow.STRING, arrow.BINARY, arrow.LARGE_STRING, arrow.LARGE_BINARY:
		return &textWriter{validityOf(a), textOf(a), false}, true
	}
	return nil, false
}

func (w *textWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	dst = append(dst, markValue)
	v := w.value(i)
	if !w.escaped {
		return append(dst, v...)
	}
	for {
		z := bytes.IndexByte(v, 0)
		if z < 0 {
			return append(append(dst, v...), 0, 0)
		}
		dst = append(append(dst, v[:z]...), 0, 255)
		v = v[z+1:]
	}
}

type fixedWriter struct {
	validity
	value func(int) []byte
}

func (w *fixedWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	return append(append(dst, markValue), w.value(i)...)
}

// A decimalWriter turns little-endian two's complement around.
type decimalWriter struct {
	validity
	data  []byte
	width int
}

func (w *decimalWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	v := w.data[i*w.width : (i+1)*w.width]
	dst = append(dst, markValue, v[w.width-1]^0x80)
	for j := w.width - 2; j >= 0; j-- {
		dst = append(dst, v[j])
	}
	return dst
}

type structWriter struct {
	validity
	fields []writer
}

func (w *structWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	dst = append(dst, markValue)
	for _, f := range w.fields {
		dst = f.append(dst, i)
	}
	return dst
}

// A listWriter writes 1 before each element and 0 after the last.
type listWriter struct {
	validity
	list array.ListLike
	elem writer
}

func (w *listWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	dst = append(dst, markValue)
	from, to := w.list.ValueOffsets(i)
	for j := from; j < to; j++ {
		dst = w.elem.append(append(dst, 1), int(j))
	}
	return append(dst, 0)
}

type dictionaryWriter struct {
	validity
	dict   *array.Dictionary
	values writer
}

func (w *dictionaryWriter) append(dst []byte, i int) []byte {
	if w.null(i) {
		return append(dst, markNull)
	}
	return w.values.append(dst, w.dict.GetValueIndex(i))
}
