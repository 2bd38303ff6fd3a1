package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// A kind is how the values of a column lie while they are worked on.
type kind uint8

const (
	kNone kind = iota // cannot be worked on, only passed
	kBool
	kI32
	kI64
	kDec // decimals; those of a batch that all fit lie as kI64
	kF64
	kText
	kNull // the null that fits any type
)

func kindOf(t arrow.DataType) kind {
	switch t.ID() {
	case arrow.BOOL:
		return kBool
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.UINT8, arrow.UINT16, arrow.DATE32:
		return kI32
	case arrow.INT64, arrow.UINT32, arrow.TIMESTAMP:
		return kI64
	case arrow.UINT64, arrow.DECIMAL128:
		return kDec
	case arrow.FLOAT32, arrow.FLOAT64:
		return kF64
	case arrow.STRING, arrow.BINARY:
		return kText
	case arrow.NULL:
		return kNull
	}
	return kNone
}

const maxDigits = 38

func decimalOf(precision, scale int) *arrow.Decimal128Type {
	return &arrow.Decimal128Type{Precision: int32(min(precision, maxDigits)), Scale: int32(scale)}
}

func isInt(t arrow.DataType) bool {
	return arrow.IsInteger(t.ID()) && t.ID() != arrow.UINT64
}

func isNumber(t arrow.DataType) bool {
	return isInt(t) || kindOf(t) == kDec || kindOf(t) == kF64
}

func isTime(t arrow.DataType) bool { return t.ID() == arrow.DATE32 || t.ID() == arrow.TIMESTAMP }

// digits is the precision and scale that hold every value of a number's type.
func digits(t arrow.DataType) (precision, scale int) {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return int(t.Precision), int(t.Scale)
	case *arrow.Uint64Type:
		return 20, 0
	case *arrow.Int8Type, *arrow.Uint8Type:
		return 3, 0
	case *arrow.Int16Type, *arrow.Uint16Type:
		return 5, 0
	case *arrow.Int32Type, *arrow.Uint32Type:
		return 10, 0
	}
	return 19, 0
}

func scaleOf(t arrow.DataType) int {
	_, s := digits(t)
	return s
}

// TypeName spells a type that expressions know: "int64", "decimal(15,2)",
// "timestamp(us,UTC)".
func TypeName(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.StringType:
		return "string"
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case *arrow.TimestampType:
		return "timestamp(" + t.Unit.String() + "," + t.TimeZone + ")"
	}
	return t.Name()
}

var plainTypes = map[string]arrow.DataType{
	"null": arrow.Null, "bool": arrow.FixedWidthTypes.Boolean, "string": arrow.BinaryTypes.String, "binary": arrow.BinaryTypes.Binary,
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16, "int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16, "uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64, "date32": arrow.FixedWidthTypes.Date32,
}

// ParseType reads what TypeName spells; "date" is date32.
func ParseType(name string) (arrow.DataType, error) {
	if name == "date" {
		name = "date32"
	}
	if t, ok := plainTypes[name]; ok {
		return t, nil
	}
	word, rest, _ := strings.Cut(name, "(")
	rest, closed := strings.CutSuffix(rest, ")")
	first, second, two := strings.Cut(rest, ",")
	second = strings.TrimSpace(second)
	switch {
	case !closed || !two:
	case word == "decimal":
		p, err1 := strconv.Atoi(first)
		s, err2 := strconv.Atoi(second)
		if err1 == nil && err2 == nil && p >= 1 && p <= maxDigits && s >= 0 && s <= p {
			return decimalOf(p, s), nil
		}
	case word == "timestamp":
		for _, u := range []arrow.TimeUnit{arrow.Second, arrow.Millisecond, arrow.Microsecond, arrow.Nanosecond} {
			if u.String() == first {
				return &arrow.TimestampType{Unit: u, TimeZone: second}, nil
			}
		}
	}
	return nil, fmt.Errorf("%q is no type that expressions know", name)
}
