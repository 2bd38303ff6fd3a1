package files

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// A Printer appends the text of value i of one array to dst. It is not asked for
// nulls.
type Printer func(dst []byte, i int) []byte

// PrinterOf prints an array's values plainly: integers in decimal, floats as the
// shortest text that reads back as the same value, strings and binary as their
// bytes, times as RFC 3339 prints them. Lists, maps and structs are printed as
// JSON.
func PrinterOf(arr arrow.Array) (Printer, error) {
	switch a := arr.(type) {
	case *array.Null:
		return func(dst []byte, _ int) []byte { return dst }, nil
	case *array.Boolean:
		return func(dst []byte, i int) []byte { return strconv.AppendBool(dst, a.Value(i)) }, nil
	case *array.Int8:
		return printInts(a.Int8Values()), nil
	case *array.Int16:
		return printInts(a.Int16Values()), nil
	case *array.Int32:
		return printInts(a.Int32Values()), nil
	case *array.Int64:
		return printInts(a.Int64Values()), nil
	case *array.Uint8:
		return printUints(a.Uint8Values()), nil
	case *array.Uint16:
		return printUints(a.Uint16Values()), nil
	case *array.Uint32:
		return printUints(a.Uint32Values()), nil
	case *array.Uint64:
		return printUints(a.Uint64Values()), nil
	case *array.Float32:
		return func(dst []byte, i int) []byte { return strconv.AppendFloat(dst, float64(a.Value(i)), 'g', -1, 32) }, nil
	case *array.Float64:
		return func(dst []byte, i int) []byte { return strconv.AppendFloat(dst, a.Value(i), 'g', -1, 64) }, nil
	case *array.String:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }, nil
	case *array.LargeString:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }, nil
	case *array.Binary:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }, nil
	case *array.LargeBinary:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }, nil
	case *array.FixedSizeBinary:
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i)...) }, nil
	case *array.Date32:
		return func(dst []byte, i int) []byte { return a.Value(i).ToTime().AppendFormat(dst, time.DateOnly) }, nil
	case *array.Date64:
		return func(dst []byte, i int) []byte { return a.Value(i).ToTime().AppendFormat(dst, time.DateOnly) }, nil
	case *array.Timestamp:
		dt := a.DataType().(*arrow.TimestampType)
		zone, err := dt.GetZone()
		if err != nil {
			return nil, err
		}
		layout := "2006-01-02T15:04:05.999999999"
		if dt.TimeZone != "" {
			layout += "Z07:00"
		} else {
			zone = time.UTC
		}
		return func(dst []byte, i int) []byte {
			return a.Value(i).ToTime(dt.Unit).In(zone).AppendFormat(dst, layout)
		}, nil
	case *array.Decimal128:
		scale := a.DataType().(*arrow.Decimal128Type).Scale
		return func(dst []byte, i int) []byte { return append(dst, a.Value(i).ToString(scale)...) }, nil
	case *array.Dictionary:
		p, err := PrinterOf(a.Dictionary())
		if err != nil {
			return nil, err
		}
		return func(dst []byte, i int) []byte { return p(dst, a.GetValueIndex(i)) }, nil
	case array.ListLike, *array.Struct:
		p, err := JSONPrinterOf(arr)
		return p, err
	}
	if _, ok := arr.(array.ExtensionArray); !ok {
		return func(dst []byte, i int) []byte { return append(dst, arr.ValueStr(i)...) }, nil
	}
	return nil, fmt.Errorf("values of type %s cannot be printed", arr.DataType())
}

func printInts[T int8 | int16 | int32 | int64](v []T) Printer {
	return func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(v[i]), 10) }
}

func printUints[T uint8 | uint16 | uint32 | uint64](v []T) Printer {
	return func(dst []byte, i int) []byte { return strconv.AppendUint(dst, uint64(v[i]), 10) }
}

// A Cell is one column of the row being read: parsed first, appended when all
// the row's cells have parsed, so that a bad row leaves nothing behind.
type Cell interface {
	// Parse reads the text of a value; s may be kept until Commit only.
	Parse(s []byte) error
	// Null makes the value null.
	Null() error
	// Commit appends the value that was parsed last.
	Commit()
}

// CellOf parses text into a column of b. Lists and structs have no cells.
func CellOf(f arrow.Field, b array.Builder) (Cell, error) {
	c, err := cellOf(b)
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", f.Name, err)
	}
	return &nullable{name: f.Name, allow: f.Nullable, typed: c, b: b}, nil
}

// typed is a cell that knows values only.
type typed interface {
	Parse(s []byte) error
	Commit()
}

// Missing is the error for a value that is missing in a column that has to have one.
func Missing(column string) error {
	return fmt.Errorf("column %s: a value is missing (a field that may be missing is a pointer)", column)
}

type nullable struct {
	name  string
	allow bool
	null  bool
	typed typed
	b     array.Builder
}

func (n *nullable) Parse(s []byte) error {
	n.null = false
	if err := n.typed.Parse(s); err != nil {
		return fmt.Errorf("column %s: %w", n.name, err)
	}
	return nil
}

func (n *nullable) Null() error {
	if !n.allow {
		return Missing(n.name)
	}
	n.null = true
	return nil
}

func (n *nullable) Commit() {
	if n.null {
		n.b.AppendNull()
		return
	}
	n.typed.Commit()
}

// cell parses into v and appends it.
type cell[T any] struct {
	v     T
	parse func(s []byte) (T, error)
	add   func(T)
}

func (c *cell[T]) Parse(s []byte) (err error) { c.v, err = c.parse(s); return err }
func (c *cell[T]) Commit()                    { c.add(c.v) }

func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func intCell[T int8 | int16 | int32 | int64](bits int, add func(T)) typed {
	return &cell[T]{add: add, parse: func(s []byte) (T, error) {
		v, err := strconv.ParseInt(text(s), 10, bits)
		return T(v), plain(err, s, "an integer")
	}}
}

func uintCell[T uint8 | uint16 | uint32 | uint64](bits int, add func(T)) typed {
	return &cell[T]{add: add, parse: func(s []byte) (T, error) {
		v, err := strconv.ParseUint(text(s), 10, bits)
		return T(v), plain(err, s, "a positive integer")
	}}
}

// plain makes an error that does not hold on to the text.
func plain(err error, s []byte, what string) error {
	if err == nil {
		return nil
	}
	if len(s) > 64 {
		s = s[:64]
	}
	return fmt.Errorf("%q is not %s that fits", string(s), what)
}

func cellOf(b array.Builder) (typed, error) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		return &cell[bool]{add: b.Append, parse: func(s []byte) (bool, error) {
			v, err := strconv.ParseBool(text(s))
			return v, plain(err, s, "true or false")
		}}, nil
	case *array.Int8Builder:
		return intCell(8, b.Append), nil
	case *array.Int16Builder:
		return intCell(16, b.Append), nil
	case *array.Int32Builder:
		return intCell(32, b.Append), nil
	case *array.Int64Builder:
		return intCell(64, b.Append), nil
	case *array.Uint8Builder:
		return uintCell(8, b.Append), nil
	case *array.Uint16Builder:
		return uintCell(16, b.Append), nil
	case *array.Uint32Builder:
		return uintCell(32, b.Append), nil
	case *array.Uint64Builder:
		return uintCell(64, b.Append), nil
	case *array.Float32Builder:
		return &cell[float32]{add: b.Append, parse: func(s []byte) (float32, error) {
			v, err := strconv.ParseFloat(text(s), 32)
			return float32(v), plain(err, s, "a number")
		}}, nil
	case *array.Float64Builder:
		return &cell[float64]{add: b.Append, parse: func(s []byte) (float64, error) {
			v, err := strconv.ParseFloat(text(s), 64)
			return v, plain(err, s, "a number")
		}}, nil
	case *array.StringBuilder:
		return &cell[[]byte]{add: func(s []byte) { b.Append(text(s)) }, parse: same}, nil
	case *array.LargeStringBuilder:
		return &cell[[]byte]{add: func(s []byte) { b.Append(text(s)) }, parse: same}, nil
	case *array.BinaryBuilder:
		return &cell[[]byte]{add: b.Append, parse: same}, nil
	case *array.FixedSizeBinaryBuilder:
		width := b.Type().(*arrow.FixedSizeBinaryType).ByteWidth
		return &cell[[]byte]{add: b.Append, parse: func(s []byte) ([]byte, error) {
			if len(s) != width {
				return nil, fmt.Errorf("%d bytes, want %d", len(s), width)
			}
			return s, nil
		}}, nil
	case *array.Date32Builder:
		return &cell[arrow.Date32]{add: b.Append, parse: parseDate}, nil
	case *array.Date64Builder:
		return &cell[arrow.Date64]{add: b.Append, parse: func(s []byte) (arrow.Date64, error) {
			t, err := time.Parse(time.DateOnly, text(s))
			return arrow.Date64FromTime(t), plain(err, s, "a date YYYY-MM-DD")
		}}, nil
	case *array.TimestampBuilder:
		dt := b.Type().(*arrow.TimestampType)
		zone, err := dt.GetZone()
		if err != nil {
			return nil, err
		}
		return &cell[arrow.Timestamp]{add: b.Append, parse: func(s []byte) (arrow.Timestamp, error) {
			t, err := parseTime(text(s), zone)
			if err != nil {
				return 0, plain(err, s, "a time like 2006-01-02T15:04:05")
			}
			v, err := arrow.TimestampFromTime(t, dt.Unit)
			return v, plain(err, s, "a time")
		}}, nil
	case *array.Decimal128Builder:
		dt := b.Type().(*arrow.Decimal128Type)
		return &cell[decimal128.Num]{add: b.Append, parse: func(s []byte) (decimal128.Num, error) {
			v, err := parseDecimal(text(s), dt.Precision, dt.Scale)
			return v, plain(err, s, "a "+dt.String())
		}}, nil
	}
	return nil, fmt.Errorf("text cannot be read as %s", b.Type())
}

func same(s []byte) ([]byte, error) { return s, nil }

var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", time.DateOnly}

func parseTime(s string, zone *time.Location) (t time.Time, err error) {
	if zone == nil {
		zone = time.UTC
	}
	for _, layout := range timeLayouts {
		if t, err = time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return t, err
}

// parseDecimal reads digits with a point, exactly: no digit is rounded away.
func parseDecimal(s string, precision, scale int32) (decimal128.Num, error) {
	var none decimal128.Num
	digits, negative := s, false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		digits, negative = s[1:], s[0] == '-'
	}
	whole, frac, _ := strings.Cut(digits, ".")
	if whole+frac == "" || len(frac) > int(scale) {
		return none, strconv.ErrSyntax
	}
	ten := decimal128.FromU64(10)
	var n decimal128.Num
	used := 0
	for _, c := range []byte(whole + frac + strings.Repeat("0", int(scale)-len(frac))) {
		if c < '0' || c > '9' {
			return none, strconv.ErrSyntax
		}
		if c != '0' || used > 0 {
			used++
		}
		if used > int(precision) || used > 38 {
			return none, strconv.ErrRange
		}
		n = n.Mul(ten).Add(decimal128.FromU64(uint64(c - '0')))
	}
	if negative {
		n = n.Negate()
	}
	return n, nil
}

// JSONPrinterOf prints an array's values as JSON: binary in base 64, decimals as
// numbers, times as strings, NaN and infinities as null because JSON has none.
func JSONPrinterOf(arr arrow.Array) (Printer, error) {
	inner := func(a arrow.Array) (Printer, error) {
		p, err := JSONPrinterOf(a)
		if err != nil {
			return nil, err
		}
		return func(dst []byte, i int) []byte {
			if a.IsNull(i) {
				return append(dst, "null"...)
			}
			return p(dst, i)
		}, nil
	}
	switch a := arr.(type) {
	case *array.Null:
		return func(dst []byte, _ int) []byte { return append(dst, "null"...) }, nil
	case *array.String:
		return func(dst []byte, i int) []byte { return AppendJSONString(dst, a.Value(i)) }, nil
	case *array.LargeString:
		return func(dst []byte, i int) []byte { return AppendJSONString(dst, a.Value(i)) }, nil
	case *array.Binary:
		return func(dst []byte, i int) []byte { return appendBase64(dst, a.Value(i)) }, nil
	case *array.FixedSizeBinary:
		return func(dst []byte, i int) []byte { return appendBase64(dst, a.Value(i)) }, nil
	case *array.Float32:
		return func(dst []byte, i int) []byte { return appendJSONFloat(dst, float64(a.Value(i)), 32) }, nil
	case *array.Float64:
		return func(dst []byte, i int) []byte { return appendJSONFloat(dst, a.Value(i), 64) }, nil
	case *array.Dictionary:
		p, err := JSONPrinterOf(a.Dictionary())
		return func(dst []byte, i int) []byte { return p(dst, a.GetValueIndex(i)) }, err
	case *array.Struct:
		var names [][]byte
		var cols []Printer
		for f := range a.NumField() {
			p, err := inner(a.Field(f))
			if err != nil {
				return nil, err
			}
			cols = append(cols, p)
			names = append(names, append(AppendJSONString(nil, a.DataType().(*arrow.StructType).Field(f).Name), ':'))
		}
		return func(dst []byte, i int) []byte {
			dst = append(dst, '{')
			for f, p := range cols {
				if f > 0 {
					dst = append(dst, ',')
				}
				dst = p(append(dst, names[f]...), i)
			}
			return append(dst, '}')
		}, nil
	case array.ListLike: // a map is a list of {"key":,"value":}
		p, err := inner(a.ListValues())
		if err != nil {
			return nil, err
		}
		return func(dst []byte, i int) []byte {
			from, to := a.ValueOffsets(i)
			dst = append(dst, '[')
			for k := from; k < to; k++ {
				if k > from {
					dst = append(dst, ',')
				}
				dst = p(dst, int(k))
			}
			return append(dst, ']')
		}, nil
	case *array.Boolean, *array.Int8, *array.Int16, *array.Int32, *array.Int64, *array.Uint8, *array.Uint16, *array.Uint32, *array.Uint64, *array.Decimal128:
		return PrinterOf(arr)
	}
	p, err := PrinterOf(arr)
	if err != nil {
		return nil, err
	}
	return func(dst []byte, i int) []byte {
		return append(p(append(dst, '"'), i), '"')
	}, nil
}

func appendBase64(dst, v []byte) []byte {
	dst = base64.StdEncoding.AppendEncode(append(dst, '"'), v)
	return append(dst, '"')
}

func appendJSONFloat(dst []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

const hexDigits = "0123456789abcdef"

// AppendJSONString quotes s. Bytes that are no UTF-8 are kept as they are.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\t':
			dst = append(dst, `\t`...)
		case '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
