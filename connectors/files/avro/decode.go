package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/hamba/avro/v2"

	"github.com/divisi-data/divisi/dataflow"
)

// input is what is left of a block.
type input struct{ b []byte }

func (in *input) long() (int64, error) {
	v, n := binary.Varint(in.b)
	if n <= 0 {
		if n == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		return 0, errors.New("a number has more than 64 bits")
	}
	in.b = in.b[n:]
	return v, nil
}

func (in *input) take(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(in.b)) {
		return nil, fmt.Errorf("a value claims %d bytes of %d", n, len(in.b))
	}
	out := in.b[:n]
	in.b = in.b[n:]
	return out, nil
}

func (in *input) bytes() ([]byte, error) {
	n, err := in.long()
	if err != nil {
		return nil, err
	}
	return in.take(n)
}

// items is how many of an array's or map's items come next, 0 at the end. More than
// there are bytes can only be items without bytes, of which a block needs few.
func (in *input) items() (int64, error) {
	n, err := in.long()
	if err == nil && n < 0 { // then their size follows
		n = -n
		_, err = in.long()
	}
	if err == nil && (n < 0 || n > int64(len(in.b))+1<<16) {
		err = fmt.Errorf("a list claims %d items in %d bytes", n, len(in.b))
	}
	return n, err
}

// decode takes a value from the input and appends it to a column, if there is one.
type decode func(in *input, b array.Builder) error

// compile makes what decodes values of a schema into a field's column.
func compile(s avro.Schema, f arrow.Field) (decode, error) {
	if ref, ok := s.(*avro.RefSchema); ok {
		s = ref.Schema()
	}
	wrong := dataflow.Mark(fmt.Errorf("column %s is Avro's %s, which cannot be read as %s", f.Name, s.Type(), f.Type), dataflow.ErrColumns)
	switch s := s.(type) {
	case *avro.UnionSchema:
		return compileUnion(s, f)
	case *avro.NullSchema:
		if !f.Nullable && f.Type.ID() != arrow.NULL {
			return nil, wrong
		}
		return func(_ *input, b array.Builder) error { b.AppendNull(); return nil }, nil
	case *avro.RecordSchema:
		t, ok := f.Type.(*arrow.StructType)
		if !ok {
			return nil, wrong
		}
		return compileRecord(s, t)
	case *avro.ArraySchema:
		t, ok := f.Type.(*arrow.ListType)
		if !ok {
			return nil, wrong
		}
		item, err := compile(s.Items(), t.ElemField())
		return func(in *input, b array.Builder) error {
			l := b.(*array.ListBuilder)
			l.Append(true)
			return each(in, func() error { return item(in, l.ValueBuilder()) })
		}, err
	case *avro.MapSchema:
		t, ok := f.Type.(*arrow.MapType)
		if !ok || t.KeyType().ID() != arrow.STRING {
			return nil, wrong
		}
		item, err := compile(s.Values(), t.ItemField())
		return func(in *input, b array.Builder) error {
			m := b.(*array.MapBuilder)
			m.Append(true)
			return each(in, func() error {
				k, err := in.bytes()
				if err != nil {
					return err
				}
				m.KeyBuilder().(*array.StringBuilder).BinaryBuilder.Append(k)
				return item(in, m.ItemBuilder())
			})
		}, err
	case *avro.EnumSchema:
		if f.Type.ID() != arrow.STRING {
			return nil, wrong
		}
		symbols := s.Symbols()
		return func(in *input, b array.Builder) error {
			n, err := in.long()
			if err != nil {
				return err
			}
			if n < 0 || n >= int64(len(symbols)) {
				return fmt.Errorf("number %d of %d symbols", n, len(symbols))
			}
			b.(*array.StringBuilder).Append(symbols[n])
			return nil
		}, nil
	case *avro.FixedSchema:
		own, err := typeOf(s, nil)
		if err != nil {
			return nil, err
		}
		if !arrow.TypeEqual(own, f.Type) {
			return nil, wrong
		}
		size := int64(s.Size())
		if t, ok := own.(*arrow.Decimal128Type); ok {
			return decimal(t, func(in *input) ([]byte, error) { return in.take(size) }), nil
		}
		return func(in *input, b array.Builder) error {
			v, err := in.take(size)
			if err == nil {
				b.(*array.FixedSizeBinaryBuilder).Append(v)
			}
			return err
		}, nil
	case *avro.PrimitiveSchema:
		own, err := primitive(s)
		if err != nil {
			return nil, err
		}
		if d := scalar(own, f.Type); d != nil {
			return d, nil
		}
	}
	return nil, wrong
}

func each(in *input, item func() error) error {
	for {
		n, err := in.items()
		if err != nil || n == 0 {
			return err
		}
		for range n {
			if err := item(); err != nil {
				return err
			}
		}
	}
}

func compileUnion(u *avro.UnionSchema, f arrow.Field) (decode, error) {
	inner, null, err := nullable(u)
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", f.Name, err)
	}
	value, err := compile(inner, f)
	return func(in *input, b array.Builder) error {
		n, err := in.long()
		switch {
		case err != nil:
			return err
		case n < 0 || n >= int64(len(u.Types())):
			return fmt.Errorf("type %d of a union of %d", n, len(u.Types()))
		case int(n) != null:
			return value(in, b)
		case !f.Nullable:
			return errors.New("it is null, and the schema says that it never is")
		}
		b.AppendNull()
		return nil
	}, err
}

func compileRecord(s *avro.RecordSchema, t *arrow.StructType) (decode, error) {
	var fields []decode
	var at []int
	found := 0
	for _, f := range s.Fields() {
		i, ok := t.FieldIdx(f.Name())
		fn, err := decode(nil), error(nil)
		if ok {
			found++
			fn, err = compile(f.Type(), t.Field(i))
		} else {
			i = -1
			fn, err = skip(f.Type(), nil)
		}
		if err != nil {
			return nil, err
		}
		fields, at = append(fields, fn), append(at, i)
	}
	if found != t.NumFields() {
		return nil, fmt.Errorf("%s lacks some of the fields of %s", s.FullName(), t)
	}
	return func(in *input, b array.Builder) error {
		sb := b.(*array.StructBuilder)
		sb.Append(true)
		for i, f := range fields {
			var col array.Builder
			if at[i] >= 0 {
				col = sb.FieldBuilder(at[i])
			}
			if err := f(in, col); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// skip makes what passes over a value: it is decoded into nothing. above are the
// records it lies in.
func skip(s avro.Schema, above []string) (decode, error) {
	if ref, ok := s.(*avro.RefSchema); ok {
		s = ref.Schema()
	}
	bytes := func(in *input, _ array.Builder) error { _, err := in.bytes(); return err }
	fixed := func(n int64) decode {
		return func(in *input, _ array.Builder) error { _, err := in.take(n); return err }
	}
	switch s := s.(type) {
	case *avro.NullSchema:
		return func(*input, array.Builder) error { return nil }, nil
	case *avro.FixedSchema:
		return fixed(int64(s.Size())), nil
	case *avro.ArraySchema:
		item, err := skip(s.Items(), above)
		return func(in *input, _ array.Builder) error {
			return each(in, func() error { return item(in, nil) })
		}, err
	case *avro.MapSchema:
		item, err := skip(s.Values(), above)
		return func(in *input, _ array.Builder) error {
			return each(in, func() error { return errors.Join(bytes(in, nil), item(in, nil)) })
		}, err
	case *avro.UnionSchema:
		var types []decode
		for _, t := range s.Types() {
			d, err := skip(t, above)
			if err != nil {
				return nil, err
			}
			types = append(types, d)
		}
		return func(in *input, _ array.Builder) error {
			n, err := in.long()
			if err == nil && (n < 0 || n >= int64(len(types))) {
				err = fmt.Errorf("type %d of a union of %d", n, len(types))
			}
			if err != nil {
				return err
			}
			return types[n](in, nil)
		}, nil
	case *avro.RecordSchema:
		if slices.Contains(above, s.FullName()) {
			return nil, fmt.Errorf("%s holds itself, which is not read", s.FullName())
		}
		above = append(slices.Clip(above), s.FullName())
		var fields []decode
		for _, f := range s.Fields() {
			d, err := skip(f.Type(), above)
			if err != nil {
				return nil, err
			}
			fields = append(fields, d)
		}
		return func(in *input, _ array.Builder) error {
			for _, f := range fields {
				if err := f(in, nil); err != nil {
					return err
				}
			}
			return nil
		}, nil
	}
	switch s.Type() {
	case avro.Boolean:
		return fixed(1), nil
	case avro.Float:
		return fixed(4), nil
	case avro.Double:
		return fixed(8), nil
	case avro.String, avro.Bytes:
		return bytes, nil
	}
	return func(in *input, _ array.Builder) error { _, err := in.long(); return err }, nil
}

var errRange = errors.New("its value does not fit the column's type")

// scalar makes what decodes values without parts. What is asked for may be another
// integer type, in which each value must fit; a wider float; a timestamp in a finer
// unit; bytes for a string, and the other way round. Nil: it cannot be.
func scalar(own, want arrow.DataType) decode {
	switch own.ID() {
	case arrow.BOOL:
		if want.ID() == arrow.BOOL {
			return func(in *input, b array.Builder) error {
				v, err := in.take(1)
				if err == nil {
					b.(*array.BooleanBuilder).Append(v[0] != 0)
				}
				return err
			}
		}
	case arrow.INT32, arrow.INT64:
		if arrow.IsInteger(want.ID()) {
			return integer(want)
		}
	case arrow.FLOAT32, arrow.FLOAT64:
		return float(own, want)
	case arrow.STRING, arrow.BINARY:
		switch want.ID() {
		case arrow.STRING:
			return func(in *input, b array.Builder) error {
				v, err := in.bytes()
				if err == nil {
					b.(*array.StringBuilder).BinaryBuilder.Append(v)
				}
				return err
			}
		case arrow.BINARY:
			return func(in *input, b array.Builder) error {
				v, err := in.bytes()
				if err == nil {
					b.(*array.BinaryBuilder).Append(v)
				}
				return err
			}
		}
	case arrow.DECIMAL128:
		if arrow.TypeEqual(own, want) {
			return decimal(own.(*arrow.Decimal128Type), (*input).bytes)
		}
	case arrow.TIMESTAMP:
		a := own.(*arrow.TimestampType)
		if b, ok := want.(*arrow.TimestampType); ok && (a.TimeZone == "") == (b.TimeZone == "") && b.Unit >= a.Unit {
			factor := int64(a.Unit.Multiplier() / b.Unit.Multiplier())
			return func(in *input, b array.Builder) error {
				v, err := in.long()
				if err == nil && factor > 1 && (v > math.MaxInt64/factor || v < math.MinInt64/factor) {
					err = errRange
				}
				if err == nil {
					b.(*array.TimestampBuilder).Append(arrow.Timestamp(v * factor))
				}
				return err
			}
		}
	case arrow.DATE32, arrow.TIME32, arrow.TIME64:
		if arrow.TypeEqual(own, want) {
			return within(own.ID() != arrow.TIME64, func(b array.Builder, v int64) {
				switch b := b.(type) {
				case *array.Date32Builder:
					b.Append(arrow.Date32(v))
				case *array.Time32Builder:
					b.Append(arrow.Time32(v))
				case *array.Time64Builder:
					b.Append(arrow.Time64(v))
				}
			})
		}
	}
	return nil
}

func within(narrow bool, put func(b array.Builder, v int64)) decode {
	return func(in *input, b array.Builder) error {
		v, err := in.long()
		if err == nil && narrow && v != int64(int32(v)) {
			err = errRange
		}
		if err == nil {
			put(b, v)
		}
		return err
	}
}

func integer(want arrow.DataType) decode {
	fit := func(least, most int64, put func(b array.Builder, v int64)) decode {
		return func(in *input, b array.Builder) error {
			v, err := in.long()
			if err == nil && (v < least || v > most) {
				err = errRange
			}
			if err == nil {
				put(b, v)
			}
			return err
		}
	}
	switch want.ID() {
	case arrow.INT8:
		return fit(math.MinInt8, math.MaxInt8, func(b array.Builder, v int64) { b.(*array.Int8Builder).Append(int8(v)) })
	case arrow.INT16:
		return fit(math.MinInt16, math.MaxInt16, func(b array.Builder, v int64) { b.(*array.Int16Builder).Append(int16(v)) })
	case arrow.INT32:
		return fit(math.MinInt32, math.MaxInt32, func(b array.Builder, v int64) { b.(*array.Int32Builder).Append(int32(v)) })
	case arrow.INT64:
		return fit(math.MinInt64, math.MaxInt64, func(b array.Builder, v int64) { b.(*array.Int64Builder).Append(v) })
	case arrow.UINT8:
		return fit(0, math.MaxUint8, func(b array.Builder, v int64) { b.(*array.Uint8Builder).Append(uint8(v)) })
	case arrow.UINT16:
		return fit(0, math.MaxUint16, func(b array.Builder, v int64) { b.(*array.Uint16Builder).Append(uint16(v)) })
	case arrow.UINT32:
		return fit(0, math.MaxUint32, func(b array.Builder, v int64) { b.(*array.Uint32Builder).Append(uint32(v)) })
	default:
		return fit(0, math.MaxInt64, func(b array.Builder, v int64) { b.(*array.Uint64Builder).Append(uint64(v)) })
	}
}

func float(own, want arrow.DataType) decode {
	width := int64(8)
	if own.ID() == arrow.FLOAT32 {
		width = 4
	}
	read := func(in *input) (float64, error) {
		v, err := in.take(width)
		if err != nil {
			return 0, err
		}
		if width == 4 {
			return float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), nil
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(v)), nil
	}
	switch {
	case want.ID() == arrow.FLOAT64:
		return func(in *input, b array.Builder) error {
			v, err := read(in)
			if err == nil {
				b.(*array.Float64Builder).Append(v)
			}
			return err
		}
	case want.ID() == arrow.FLOAT32 && width == 4:
		return func(in *input, b array.Builder) error {
			v, err := read(in)
			if err == nil {
				b.(*array.Float32Builder).Append(float32(v))
			}
			return err
		}
	}
	return nil
}

// decimal decodes two's complement, big-endian, of as many bytes as there are.
func decimal(t *arrow.Decimal128Type, read func(*input) ([]byte, error)) decode {
	return func(in *input, b array.Builder) error {
		v, err := read(in)
		if err != nil {
			return err
		}
		var sign byte
		if len(v) > 0 && v[0]&0x80 != 0 {
			sign = 0xff
		}
		var wide [16]byte
		for i := range wide {
			wide[i] = sign
		}
		for len(v) > 16 && v[0] == sign {
			v = v[1:]
		}
		if len(v) > 16 || len(v) == 16 && v[0]&0x80 != sign&0x80 {
			return errRange
		}
		copy(wide[16-len(v):], v)
		n := decimal128.New(int64(binary.BigEndian.Uint64(wide[:])), binary.BigEndian.Uint64(wide[8:]))
		if !n.FitsInPrecision(t.Precision) {
			return errRange
		}
		b.(*array.Decimal128Builder).Append(n)
		return nil
	}
}
