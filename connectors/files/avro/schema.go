package avro

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// schemaOf is the schema that rows are written under, as JSON.
func schemaOf(s *arrow.Schema) ([]byte, error) {
	r, err := recordOf("row", s.Fields())
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

type named map[string]any

func recordOf(name string, fields []arrow.Field) (named, error) {
	out := []named{}
	seen := map[string]bool{}
	for _, f := range fields {
		if !isName(f.Name) {
			return nil, fmt.Errorf("column %q: Avro's names are letters, digits and underscores, and begin with no digit", f.Name)
		}
		if seen[f.Name] {
			return nil, fmt.Errorf("two columns are called %s", f.Name)
		}
		seen[f.Name] = true
		t, err := typeFor(name+"_"+f.Name, f)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		out = append(out, named{"name": f.Name, "type": t})
	}
	return named{"type": "record", "name": name, "fields": out}, nil
}

func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// typeFor is a field's type; path makes names for what needs one.
func typeFor(path string, f arrow.Field) (any, error) {
	t, err := plainTypeFor(path, f.Type)
	if err == nil && f.Nullable && f.Type.ID() != arrow.NULL {
		t = []any{"null", t}
	}
	return t, err
}

func plainTypeFor(path string, dt arrow.DataType) (any, error) {
	logical := func(base, name string) (any, error) { return named{"type": base, "logicalType": name}, nil }
	switch t := dt.(type) {
	case *arrow.NullType:
		return "null", nil
	case *arrow.BooleanType:
		return "boolean", nil
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Uint8Type, *arrow.Uint16Type:
		return "int", nil
	case *arrow.Int64Type, *arrow.Uint32Type, *arrow.Uint64Type:
		return "long", nil
	case *arrow.Float32Type:
		return "float", nil
	case *arrow.Float64Type:
		return "double", nil
	case *arrow.StringType:
		return "string", nil
	case *arrow.BinaryType:
		return "bytes", nil
	case *arrow.FixedSizeBinaryType:
		return named{"type": "fixed", "name": path, "size": t.ByteWidth}, nil
	case *arrow.Date32Type:
		return logical("int", "date")
	case *arrow.Time32Type:
		if t.Unit == arrow.Millisecond {
			return logical("int", "time-millis")
		}
	case *arrow.Time64Type:
		if t.Unit == arrow.Microsecond {
			return logical("long", "time-micros")
		}
	case *arrow.TimestampType:
		unit := map[arrow.TimeUnit]string{arrow.Millisecond: "millis", arrow.Microsecond: "micros", arrow.Nanosecond: "nanos"}[t.Unit]
		if unit != "" && t.TimeZone == "" {
			return logical("long", "local-timestamp-"+unit)
		} else if unit != "" {
			return logical("long", "timestamp-"+unit)
		}
	case *arrow.Decimal128Type:
		return named{"type": "bytes", "logicalType": "decimal", "precision": t.Precision, "scale": t.Scale}, nil
	case *arrow.ListType:
		items, err := typeFor(path+"_item", t.ElemField())
		return named{"type": "array", "items": items}, err
	case *arrow.MapType:
		if t.KeyType().ID() != arrow.STRING {
			return nil, fmt.Errorf("the keys of Avro's maps are strings, not %s", t.KeyType())
		}
		values, err := typeFor(path+"_value", t.ItemField())
		return named{"type": "map", "values": values}, err
	case *arrow.StructType:
		return recordOf(path, t.Fields())
	}
	return nil, fmt.Errorf("values of type %s are not written", dt)
}
