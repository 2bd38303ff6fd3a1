package avro

import (
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/hamba/avro/v2"
)

const utc = "UTC"

// nanos is the logical type of timestamps in ns, which the library does not know.
const nanos, localNanos = "timestamp-nanos", "local-timestamp-nanos"

// logical is a schema's logical type, "" for none.
func logical(s avro.Schema) string {
	if l, ok := s.(avro.LogicalTypeSchema); ok && l.Logical() != nil {
		return string(l.Logical().Type())
	}
	if p, ok := s.(*avro.PrimitiveSchema); ok {
		if name, ok := p.Prop("logicalType").(string); ok {
			return name
		}
	}
	return ""
}

// typeOf is the column that a schema's values make; above are the records it lies in.
func typeOf(s avro.Schema, above []string) (arrow.DataType, error) {
	if ref, ok := s.(*avro.RefSchema); ok {
		s = ref.Schema()
	}
	switch s := s.(type) {
	case *avro.PrimitiveSchema:
		return primitive(s)
	case *avro.NullSchema:
		return arrow.Null, nil
	case *avro.EnumSchema:
		return arrow.BinaryTypes.String, nil
	case *avro.FixedSchema:
		if d, ok := s.Logical().(*avro.DecimalLogicalSchema); ok {
			return decimalOf(d)
		}
		if s.Size() <= 0 {
			return nil, fmt.Errorf("%s has %d bytes", s.FullName(), s.Size())
		}
		return &arrow.FixedSizeBinaryType{ByteWidth: s.Size()}, nil
	case *avro.ArraySchema:
		f, err := fieldOf("item", s.Items(), above)
		if err != nil {
			return nil, err
		}
		return arrow.ListOfField(f), nil
	case *avro.MapSchema:
		f, err := fieldOf("value", s.Values(), above)
		if err != nil {
			return nil, err
		}
		m := arrow.MapOf(arrow.BinaryTypes.String, f.Type)
		m.SetItemNullable(f.Nullable)
		return m, nil
	case *avro.UnionSchema:
		inner, _, err := nullable(s)
		if err != nil {
			return nil, err
		}
		return typeOf(inner, above)
	case *avro.RecordSchema:
		if slices.Contains(above, s.FullName()) {
			return nil, fmt.Errorf("%s holds itself, which no column can", s.FullName())
		}
		above = append(slices.Clip(above), s.FullName())
		var fields []arrow.Field
		for _, f := range s.Fields() {
			af, err := fieldOf(f.Name(), f.Type(), above)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.Name(), err)
			}
			fields = append(fields, af)
		}
		return arrow.StructOf(fields...), nil
	}
	return nil, fmt.Errorf("values of type %s are not read", s.Type())
}

func fieldOf(name string, s avro.Schema, above []string) (arrow.Field, error) {
	dt, err := typeOf(s, above)
	f := arrow.Field{Name: name, Type: dt, Nullable: s.Type() == avro.Null}
	if u, ok := s.(*avro.UnionSchema); ok && err == nil {
		var at int
		_, at, err = nullable(u)
		f.Nullable = at >= 0
	}
	return f, err
}

// nullable is what a union of one type, or of null and one type, may be, and which of
// its types is null, -1 for none.
func nullable(u *avro.UnionSchema) (inner avro.Schema, null int, err error) {
	types := u.Types()
	switch {
	case len(types) == 1 && types[0].Type() != avro.Null:
		return types[0], -1, nil
	case len(types) == 2 && types[0].Type() == avro.Null:
		return types[1], 0, nil
	case len(types) == 2 && types[1].Type() == avro.Null:
		return types[0], 1, nil
	}
	return nil, 0, errors.New("a union of more than null and one type makes no column")
}

func primitive(s *avro.PrimitiveSchema) (arrow.DataType, error) {
	l := logical(s)
	switch s.Type() {
	case avro.Boolean:
		return arrow.FixedWidthTypes.Boolean, nil
	case avro.Int:
		switch l {
		case string(avro.Date):
			return arrow.FixedWidthTypes.Date32, nil
		case string(avro.TimeMillis):
			return arrow.FixedWidthTypes.Time32ms, nil
		}
		return arrow.PrimitiveTypes.Int32, nil
	case avro.Long:
		switch l {
		case string(avro.TimeMicros):
			return arrow.FixedWidthTypes.Time64us, nil
		case string(avro.TimestampMillis):
			return &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: utc}, nil
		case string(avro.TimestampMicros):
			return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: utc}, nil
		case nanos:
			return &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: utc}, nil
		case string(avro.LocalTimestampMillis):
			return &arrow.TimestampType{Unit: arrow.Millisecond}, nil
		case string(avro.LocalTimestampMicros):
			return &arrow.TimestampType{Unit: arrow.Microsecond}, nil
		case localNanos:
			return &arrow.TimestampType{Unit: arrow.Nanosecond}, nil
		}
		return arrow.PrimitiveTypes.Int64, nil
	case avro.Float:
		return arrow.PrimitiveTypes.Float32, nil
	case avro.Double:
		return arrow.PrimitiveTypes.Float64, nil
	case avro.String:
		return arrow.BinaryTypes.String, nil
	case avro.Bytes:
		if d, ok := s.Logical().(*avro.DecimalLogicalSchema); ok {
			return decimalOf(d)
		}
		return arrow.BinaryTypes.Binary, nil
	}
	return nil, fmt.Errorf("values of type %s are not read", s.Type())
}

func decimalOf(d *avro.DecimalLogicalSchema) (arrow.DataType, error) {
	if p, s := d.Precision(), d.Scale(); p <= 0 || p > 38 || s < 0 || s > p {
		return nil, fmt.Errorf("decimals of %d digits, %d of them behind the point, are not read", p, s)
	}
	return &arrow.Decimal128Type{Precision: int32(d.Precision()), Scale: int32(d.Scale())}, nil
}
