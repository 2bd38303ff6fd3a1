package dataflow

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// encodeColumns writes a schema in the words the source of kind "files" reads:
// [{"name":"n","type":"int64","required":true}, ...].
func encodeColumns(s *arrow.Schema) (json.RawMessage, error) {
	type column struct {
		Name     string `json:"name"`
		Type     string `json:"type"`
		Required bool   `json:"required,omitempty"`
	}
	var cols []column
	for _, f := range s.Fields() {
		t, err := typeWord(f.Type)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		cols = append(cols, column{f.Name, t, !f.Nullable})
	}
	return json.Marshal(cols)
}

// typeWord names the Arrow types that Go types map to.
func typeWord(dt arrow.DataType) (string, error) {
	switch t := dt.(type) {
	case *arrow.StringType:
		return "string", nil
	case *arrow.FixedSizeBinaryType:
		return fmt.Sprintf("fixed(%d)", t.ByteWidth), nil
	case *arrow.TimestampType:
		return "timestamp(" + t.Unit.String() + "," + t.TimeZone + ")", nil
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale), nil
	case *arrow.ListType:
		elem, err := typeWord(t.Elem())
		return "list<" + elem + ">", err
	case *arrow.MapType:
		key, err := typeWord(t.KeyType())
		if err != nil {
			return "", err
		}
		item, err := typeWord(t.ItemType())
		return "map<" + key + "," + item + ">", err
	case *arrow.StructType:
		var parts []string
		for _, f := range t.Fields() {
			word, err := typeWord(f.Type)
			if err != nil {
				return "", err
			}
			if strings.ContainsAny(f.Name, "<>,:() ") {
				return "", fmt.Errorf("a nested field cannot be called %q in a file's schema", f.Name)
			}
			parts = append(parts, f.Name+":"+word)
		}
		return "struct<" + strings.Join(parts, ",") + ">", nil
	}
	return dt.Name(), nil // bool, int8 ... float64, binary
}
