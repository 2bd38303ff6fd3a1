package expr

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// literal is a value of a type: which field holds it, the type says.
type literal struct {
	typ  arrow.DataType
	null bool
	i    int64          // bool as 0 or 1, integers, dates, timestamps
	f    float64        // floats
	d    decimal128.Num // decimals, and uint64
	s    string         // text and binary
}

// Lit is a value: a bool, an integer or float of any width, a string, []byte, or a
// time.Time (a timestamp of nanoseconds in UTC). Use Dec, Date and Null for others.
func Lit(v any) Expr {
	l := literal{}
	switch v := v.(type) {
	case Expr:
		return v
	case bool:
		l.typ, l.i = arrow.FixedWidthTypes.Boolean, int64(b2u(v))
	case int:
		l.typ, l.i = arrow.PrimitiveTypes.Int64, int64(v)
	case int8:
		l.typ, l.i = arrow.PrimitiveTypes.Int8, int64(v)
	case int16:
		l.typ, l.i = arrow.PrimitiveTypes.Int16, int64(v)
	case int32:
		l.typ, l.i = arrow.PrimitiveTypes.Int32, int64(v)
	case int64:
		l.typ, l.i = arrow.PrimitiveTypes.Int64, v
	case uint8:
		l.typ, l.i = arrow.PrimitiveTypes.Uint8, int64(v)
	case uint16:
		l.typ, l.i = arrow.PrimitiveTypes.Uint16, int64(v)
	case uint32:
		l.typ, l.i = arrow.PrimitiveTypes.Uint32, int64(v)
	case uint64:
		l.typ, l.d = arrow.PrimitiveTypes.Uint64, decimal128.FromU64(v)
	case uint:
		l.typ, l.d = arrow.PrimitiveTypes.Uint64, decimal128.FromU64(uint64(v))
	case float32:
		l.typ, l.f = arrow.PrimitiveTypes.Float32, float64(v)
	case float64:
		l.typ, l.f = arrow.PrimitiveTypes.Float64, v
	case string:
		l.typ, l.s = arrow.BinaryTypes.String, v
	case []byte:
		l.typ, l.s = arrow.BinaryTypes.Binary, string(v)
	case time.Time:
		l.typ, l.i = &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, v.UnixNano()
	case arrow.Date32:
		l.typ, l.i = arrow.FixedWidthTypes.Date32, int64(v)
	default:
		return broken("a %T cannot be a literal", v)
	}
	return Expr{&node{op: opLit, lit: l}}
}

// Null is the null of a type; that of arrow.Null fits any other type.
func Null(t arrow.DataType) Expr { return Expr{&node{op: opLit, lit: literal{typ: t, null: true}}} }

// Dec is a decimal, written as digits with or without a point: its scale is the
// number of digits behind it.
func Dec(text string) Expr {
	l, err := parseDecimal(text)
	if err != nil {
		return broken("%w", err)
	}
	return Expr{&node{op: opLit, lit: l}}
}

// Date is a day, written as 2006-01-02.
func Date(text string) Expr {
	days, ok := parseDate(text)
	if !ok {
		return broken("%q is no date like 2006-01-02", text)
	}
	return Lit(arrow.Date32(days))
}

func parseDecimal(text string) (literal, error) {
	digits, point := text, 0
	if at := strings.IndexByte(text, '.'); at >= 0 {
		digits, point = text[:at]+text[at+1:], len(text)-at-1
	}
	v, ok := new(big.Int).SetString(digits, 10)
	n := len(strings.TrimLeft(strings.TrimLeft(digits, "+-"), "0"))
	if !ok || n > maxDigits || point > maxDigits || strings.Contains(digits, "_") {
		return literal{}, fmt.Errorf("%q is no decimal of at most %d digits", text, maxDigits)
	}
	return literal{typ: decimalOf(max(n, point, 1), point), d: decimal128.FromBigInt(v)}, nil
}

func parseDate(text string) (int32, bool) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, false
	}
	return int32(t.Unix() / 86400), true
}

// String spells the value as String of an expression does.
func (l literal) String() string {
	if l.null {
		return "null"
	}
	switch t := l.typ.(type) {
	case *arrow.BooleanType:
		return strconv.FormatBool(l.i != 0)
	case *arrow.Float32Type, *arrow.Float64Type:
		return strconv.FormatFloat(l.f, 'g', -1, 64)
	case *arrow.Decimal128Type:
		return l.d.ToString(t.Scale)
	case *arrow.Uint64Type:
		return l.d.ToString(0)
	case *arrow.StringType, *arrow.BinaryType:
		return strconv.Quote(l.s)
	case *arrow.Date32Type:
		return "date " + arrow.Date32(l.i).FormattedString()
	case *arrow.TimestampType:
		return "timestamp " + arrow.Timestamp(l.i).ToTime(t.Unit).Format("2006-01-02T15:04:05.999999999")
	}
	return strconv.FormatInt(l.i, 10)
}

// word writes the value without loss, for JSON; parseWord reads it.
func (l literal) word() string {
	switch l.typ.ID() {
	case arrow.FLOAT32, arrow.FLOAT64:
		return strconv.FormatUint(math.Float64bits(l.f), 16)
	case arrow.DECIMAL128, arrow.UINT64:
		return l.d.BigInt().String()
	case arrow.STRING, arrow.BINARY:
		return l.s
	}
	return strconv.FormatInt(l.i, 10)
}

func parseWord(t arrow.DataType, w string) (l literal, err error) {
	l.typ = t
	switch t.ID() {
	case arrow.FLOAT32, arrow.FLOAT64:
		var bits uint64
		bits, err = strconv.ParseUint(w, 16, 64)
		l.f = math.Float64frombits(bits)
	case arrow.DECIMAL128, arrow.UINT64:
		v, ok := new(big.Int).SetString(w, 10)
		if !ok || v.BitLen() > 127 {
			return l, fmt.Errorf("%q is no number", w)
		}
		l.d = decimal128.FromBigInt(v)
	case arrow.STRING, arrow.BINARY:
		l.s = w
	default:
		l.i, err = strconv.ParseInt(w, 10, 64)
	}
	return l, err
}
