package sequencefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

const classPrefix = "org.apache.hadoop.io."

// kind is how a class's values are told.
type kind int

const (
	bytesKind kind = iota
	integerKind
	floatKind
	boolKind
	nullKind
)

// class is one of Hadoop's classes: the column that its values make when nothing else
// is asked for, and their bytes.
type class struct {
	typ   arrow.DataType
	kind  kind
	width int // of the bytes; 0: a length, or a number of variable length, begins them
}

var classes = map[string]class{
	classPrefix + "Text":            {arrow.BinaryTypes.String, bytesKind, 0},
	classPrefix + "BytesWritable":   {arrow.BinaryTypes.Binary, bytesKind, 0},
	classPrefix + "ByteWritable":    {arrow.PrimitiveTypes.Int8, integerKind, 1},
	classPrefix + "ShortWritable":   {arrow.PrimitiveTypes.Int16, integerKind, 2},
	classPrefix + "IntWritable":     {arrow.PrimitiveTypes.Int32, integerKind, 4},
	classPrefix + "LongWritable":    {arrow.PrimitiveTypes.Int64, integerKind, 8},
	classPrefix + "VIntWritable":    {arrow.PrimitiveTypes.Int32, integerKind, 0},
	classPrefix + "VLongWritable":   {arrow.PrimitiveTypes.Int64, integerKind, 0},
	classPrefix + "FloatWritable":   {arrow.PrimitiveTypes.Float32, floatKind, 4},
	classPrefix + "DoubleWritable":  {arrow.PrimitiveTypes.Float64, floatKind, 8},
	classPrefix + "BooleanWritable": {arrow.FixedWidthTypes.Boolean, boolKind, 1},
	classPrefix + "NullWritable":    {arrow.Null, nullKind, 0},
}

func classNames() string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(classes)) {
		names = append(names, strings.TrimPrefix(n, classPrefix))
	}
	return strings.Join(names, ", ")
}

// classFor is what a column is written as unless the options say.
func classFor(dt arrow.DataType) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(classes)) { // before the V ones
		if arrow.TypeEqual(classes[name].typ, dt) {
			return name, true
		}
	}
	return "", false
}

var errBytes = errors.New("a value has too few or too many bytes")

// value is what a class's bytes say: text is a part of them.
func (c class) decode(name string, b []byte) (text []byte, n int64, f float64, err error) {
	if c.width > 0 && len(b) != c.width {
		return nil, 0, 0, errBytes
	}
	switch c.kind {
	case nullKind:
		if len(b) != 0 {
			err = errBytes
		}
	case boolKind:
		n = int64(b[0])
	case floatKind:
		if c.width == 4 {
			f = float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
		} else {
			f = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case bytesKind:
		rest := b
		if name == classPrefix+"Text" {
			n, rest, err = cutVLong(b)
		} else if len(b) < 4 {
			err = errBytes
		} else {
			n, rest = int64(int32(binary.BigEndian.Uint32(b))), b[4:]
		}
		if err == nil && n != int64(len(rest)) {
			err = errBytes
		}
		text = rest
	case integerKind:
		switch c.width {
		case 0:
			var rest []byte
			if n, rest, err = cutVLong(b); err == nil && len(rest) > 0 {
				err = errBytes
			}
		case 1:
			n = int64(int8(b[0]))
		case 2:
			n = int64(int16(binary.BigEndian.Uint16(b)))
		case 4:
			n = int64(int32(binary.BigEndian.Uint32(b)))
		default:
			n = int64(binary.BigEndian.Uint64(b))
		}
	}
	return text, n, f, err
}

// appender makes what appends a class's values to a column. Text and bytes may be
// either, integers and floats any that is as wide or wider, and no value is null.
func appender(name string, f arrow.Field) (func(b array.Builder, raw []byte) error, error) {
	c := classes[name]
	wrong := dataflow.Mark(fmt.Errorf("column %s holds %s, which cannot be read as %s", f.Name, strings.TrimPrefix(name, classPrefix), f.Type), dataflow.ErrColumns)
	var put func(b array.Builder, text []byte, n int64, x float64)
	switch f.Type.ID() {
	case arrow.STRING, arrow.BINARY:
		if c.kind != bytesKind {
			return nil, wrong
		}
		if f.Type.ID() == arrow.STRING {
			put = func(b array.Builder, text []byte, _ int64, _ float64) {
				b.(*array.StringBuilder).BinaryBuilder.Append(text)
			}
		} else {
			put = func(b array.Builder, text []byte, _ int64, _ float64) { b.(*array.BinaryBuilder).Append(text) }
		}
	case arrow.INT8:
		put = func(b array.Builder, _ []byte, n int64, _ float64) { b.(*array.Int8Builder).Append(int8(n)) }
	case arrow.INT16:
		put = func(b array.Builder, _ []byte, n int64, _ float64) { b.(*array.Int16Builder).Append(int16(n)) }
	case arrow.INT32:
		put = func(b array.Builder, _ []byte, n int64, _ float64) { b.(*array.Int32Builder).Append(int32(n)) }
	case arrow.INT64:
		put = func(b array.Builder, _ []byte, n int64, _ float64) { b.(*array.Int64Builder).Append(n) }
	case arrow.FLOAT32:
		put = func(b array.Builder, _ []byte, _ int64, x float64) { b.(*array.Float32Builder).Append(float32(x)) }
	case arrow.FLOAT64:
		put = func(b array.Builder, _ []byte, _ int64, x float64) { b.(*array.Float64Builder).Append(x) }
	case arrow.BOOL:
		put = func(b array.Builder, _ []byte, n int64, _ float64) { b.(*array.BooleanBuilder).Append(n != 0) }
	case arrow.NULL:
		put = func(b array.Builder, _ []byte, _ int64, _ float64) { b.AppendNull() }
	default:
		return nil, wrong
	}
	if c.kind == nullKind {
		if !f.Nullable {
			return nil, wrong
		}
		put = func(b array.Builder, _ []byte, _ int64, _ float64) { b.AppendNull() }
	} else if c.kind != bytesKind && !widens(c.typ, f.Type) {
		return nil, wrong
	} else if c.kind == bytesKind && f.Type.ID() != arrow.STRING && f.Type.ID() != arrow.BINARY {
		return nil, wrong
	}
	vint := name == classPrefix+"VIntWritable"
	return func(b array.Builder, raw []byte) error {
		text, n, x, err := c.decode(name, raw)
		if err == nil && vint && n != int64(int32(n)) {
			err = errBytes
		}
		if err != nil {
			return err
		}
		put(b, text, n, x)
		return nil
	}, nil
}

// widens reports whether each value of one type is one of another.
func widens(from, to arrow.DataType) bool {
	if arrow.TypeEqual(from, to) {
		return true
	}
	a, ok := from.(arrow.FixedWidthDataType)
	b, ok2 := to.(arrow.FixedWidthDataType)
	return ok && ok2 && a.BitWidth() <= b.BitWidth() &&
		(arrow.IsSignedInteger(from.ID()) && arrow.IsSignedInteger(to.ID()) || arrow.IsFloating(from.ID()) && arrow.IsFloating(to.ID()))
}

// Hadoop's numbers of variable length: a byte from -112 to 127 is the number; below, it
// says how many bytes follow, big-endian, and whether their complement is meant.

func readVLong(r io.ByteReader) (int64, error) {
	first, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	n, negative := vlongSize(first)
	if n == 0 {
		return int64(int8(first)), nil
	}
	var v int64
	for range n {
		b, err := r.ReadByte()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		v = v<<8 | int64(b)
	}
	if negative {
		v = ^v
	}
	return v, nil
}

func vlongSize(first byte) (n int, negative bool) {
	switch b := int(int8(first)); {
	case b >= -112:
		return 0, false
	case b < -120:
		return -120 - b, true
	default:
		return -112 - b, false
	}
}

func cutVLong(b []byte) (v int64, rest []byte, err error) {
	if len(b) == 0 {
		return 0, nil, errBytes
	}
	n, negative := vlongSize(b[0])
	if n == 0 {
		return int64(int8(b[0])), b[1:], nil
	}
	if len(b) < 1+n {
		return 0, nil, errBytes
	}
	for _, x := range b[1 : 1+n] {
		v = v<<8 | int64(x)
	}
	if negative {
		v = ^v
	}
	return v, b[1+n:], nil
}

func appendVLong(b []byte, v int64) []byte {
	if v >= -112 && v <= 127 {
		return append(b, byte(v))
	}
	first := -112
	if v < 0 {
		v, first = ^v, -120
	}
	n := 1
	for n < 8 && v>>(8*n) != 0 {
		n++
	}
	b = append(b, byte(int8(first-n)))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}
