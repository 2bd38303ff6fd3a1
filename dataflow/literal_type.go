package dataflow

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// literalField and literalType are an Arrow field and type as JSON, of the types
// that Go types map to.
type literalField struct {
	Name     string      `json:"name"`
	Nullable bool        `json:"nullable,omitempty"`
	Type     literalType `json:"type"`
}

type literalType struct {
	Name   string         `json:"name"`
	Size   int32          `json:"size,omitempty"` // width, precision
	Scale  int32          `json:"scale,omitempty"`
	Fields []literalField `json:"fields,omitempty"`
}

func literalTypeOf(dt arrow.DataType) literalType {
	l := literalType{Name: dt.Name()}
	switch t := dt.(type) {
	case *arrow.FixedSizeBinaryType:
		l.Size = int32(t.ByteWidth)
	case *arrow.Decimal128Type:
		l.Size, l.Scale = t.Precision, t.Scale
	case *arrow.MapType:
		l.Fields = literalFields(t.Elem().(*arrow.StructType).Fields())
	case arrow.NestedType:
		l.Fields = literalFields(t.Fields())
	}
	return l
}

func literalFields(fields []arrow.Field) []literalField {
	var out []literalField
	for _, f := range fields {
		out = append(out, literalField{f.Name, f.Nullable, literalTypeOf(f.Type)})
	}
	return out
}

var literalPlain = func() map[string]arrow.DataType {
	m := map[string]arrow.DataType{}
	p := arrow.PrimitiveTypes
	for _, t := range []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, p.Int8, p.Int16, p.Int32, p.Int64, p.Uint8, p.Uint16, p.Uint32, p.Uint64,
		p.Float32, p.Float64, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
		&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"},
	} {
		m[t.Name()] = t
	}
	return m
}()

func (l literalType) arrow() (arrow.DataType, error) {
	if t, ok := literalPlain[l.Name]; ok {
		return t, nil
	}
	fields, err := arrowFields(l.Fields)
	if err != nil {
		return nil, err
	}
	switch {
	case l.Name == "fixed_size_binary" && l.Size > 0:
		return &arrow.FixedSizeBinaryType{ByteWidth: int(l.Size)}, nil
	case l.Name == "decimal" || l.Name == "decimal128":
		return &arrow.Decimal128Type{Precision: l.Size, Scale: l.Scale}, nil
	case l.Name == "list" && len(fields) == 1:
		return arrow.ListOfField(fields[0]), nil
	case l.Name == "map" && len(fields) == 2:
		return arrow.MapOfFields(fields[0], fields[1]), nil
	case l.Name == "struct":
		return arrow.StructOf(fields...), nil
	}
	return nil, fmt.Errorf("a literal has no columns of type %q", l.Name)
}

func arrowFields(list []literalField) ([]arrow.Field, error) {
	var out []arrow.Field
	for _, f := range list {
		t, err := f.Type.arrow()
		if err != nil {
			return nil, err
		}
		out = append(out, arrow.Field{Name: f.Name, Type: t, Nullable: f.Nullable})
	}
	return out, nil
}
