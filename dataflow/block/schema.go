package block

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// maxDepth bounds how deep types nest, and with it the coder's recursion.
const maxDepth = 64

// Fingerprint is a number for the names and types of a schema's columns, stable
// across processes and releases. Nullability and metadata do not count. A schema
// with a type that frames cannot carry is an error of kind User naming the column.
func Fingerprint(s *arrow.Schema) (uint64, error) {
	var sig []byte
	for _, f := range s.Fields() {
		var err error
		if sig, err = appendField(sig, f, 0); err != nil {
			return 0, &dataflow.Error{Op: "block", Path: "column " + f.Name, Kind: dataflow.User, Err: err,
				Try: "cast the column to a plain type first"}
		}
	}
	h := fnv.New64a()
	h.Write(sig)
	return h.Sum64(), nil
}

func appendField(b []byte, f arrow.Field, depth int) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(f.Name)))
	b = append(b, f.Name...)
	return appendType(b, f.Type, depth)
}

// appendType writes what distinguishes one type from another: its Arrow number, its
// parameters, its children.
func appendType(b []byte, dt arrow.DataType, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("types nest deeper than %d", maxDepth)
	}
	b = append(b, byte(dt.ID()))
	switch t := dt.(type) {
	case *arrow.NullType, *arrow.BooleanType, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
	case *arrow.TimestampType:
		b = append(b, byte(t.Unit))
		b = binary.AppendUvarint(b, uint64(len(t.TimeZone)))
		b = append(b, t.TimeZone...)
	case *arrow.Time32Type:
		b = append(b, byte(t.Unit))
	case *arrow.Time64Type:
		b = append(b, byte(t.Unit))
	case *arrow.DurationType:
		b = append(b, byte(t.Unit))
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth <= 0 {
			return nil, fmt.Errorf("%s has no width", t)
		}
		b = binary.AppendUvarint(b, uint64(t.ByteWidth))
	case arrow.DecimalType:
		b = binary.AppendVarint(b, int64(t.GetPrecision()))
		b = binary.AppendVarint(b, int64(t.GetScale()))
	case *arrow.StructType:
		b = binary.AppendUvarint(b, uint64(t.NumFields()))
		for _, f := range t.Fields() {
			var err error
			if b, err = appendField(b, f, depth+1); err != nil {
				return nil, err
			}
		}
	case *arrow.ListType:
		return appendType(b, t.Elem(), depth+1)
	case *arrow.LargeListType:
		return appendType(b, t.Elem(), depth+1)
	case *arrow.MapType:
		return appendType(b, t.Elem(), depth+1)
	case *arrow.FixedSizeListType:
		if t.Len() <= 0 {
			return nil, fmt.Errorf("%s has no length", t)
		}
		b = binary.AppendUvarint(b, uint64(t.Len()))
		return appendType(b, t.Elem(), depth+1)
	case *arrow.DictionaryType:
		var err error
		if b, err = appendType(b, t.IndexType, depth+1); err != nil {
			return nil, err
		}
		return appendType(b, t.ValueType, depth+1)
	case arrow.ExtensionType:
		return nil, fmt.Errorf("a block cannot carry the extension type %s", dt)
	case arrow.FixedWidthDataType:
		if !arrow.IsPrimitive(dt.ID()) && dt.ID() != arrow.INTERVAL_DAY_TIME && dt.ID() != arrow.INTERVAL_MONTH_DAY_NANO {
			return nil, fmt.Errorf("a block cannot carry the type %s", dt)
		}
	default:
		return nil, fmt.Errorf("a block cannot carry the type %s", dt)
	}
	return b, nil
}

// schemaCheck remembers the schema pointers that were compared, so that comparing
// costs nothing for the second batch of a stream.
type schemaCheck struct {
	want *arrow.Schema
	last *arrow.Schema
}

func (c *schemaCheck) check(s *arrow.Schema) error {
	if s == c.want || s == c.last {
		return nil
	}
	if s.NumFields() != c.want.NumFields() {
		return &dataflow.Error{Op: "block", Kind: dataflow.Fatal,
			Err: fmt.Errorf("batch of %d columns where %d were promised", s.NumFields(), c.want.NumFields())}
	}
	for i, f := range s.Fields() {
		if w := c.want.Field(i); !arrow.TypeEqual(f.Type, w.Type) {
			return &dataflow.Error{Op: "block", Path: "column " + w.Name, Kind: dataflow.Fatal,
				Err: fmt.Errorf("batch holds %s where %s was promised", f.Type, w.Type)}
		}
	}
	c.last = s
	return nil
}
