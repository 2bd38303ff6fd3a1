package divisi_test

import (
	"fmt"
	"hash/crc32"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A plainTable is a table as the oracle of TestRandomPipelines has it. A value is nil,
// a bool, a *big.Rat (integers and decimals; dates and timestamps in their unit), a
// float64, a string (bytes too) or an []any.
type plainTable struct {
	fields []arrow.Field
	rows   [][]any
	// exact says of which columns of floats the sums are exact, whatever their order.
	exact map[string]bool
}

func (t *plainTable) at(name string) int {
	return slices.IndexFunc(t.fields, func(f arrow.Field) bool { return f.Name == name })
}

func (t *plainTable) schema() *arrow.Schema { return arrow.NewSchema(t.fields, nil) }

// whole is a whole number.
func whole(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

// columnTypes are the types that random tables are made of.
var columnTypes = []arrow.DataType{
	arrow.FixedWidthTypes.Boolean,
	arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64,
	arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
	arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
	arrow.BinaryTypes.String, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary,
	arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Timestamp_us,
	&arrow.TimestampType{Unit: arrow.Millisecond}, &arrow.TimestampType{Unit: arrow.Nanosecond}, &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"},
	&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 18, Scale: 0}, &arrow.Decimal128Type{Precision: 38, Scale: 9},
	arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.ListOf(arrow.BinaryTypes.String),
}

var texts = []string{"", "a", "b", "A", "ab", "ba", "a\x00b", "é", "e\u0301", "日本語", "🎻", "ß", "İ", " a ", "a%b_c\\d", "\t", "longer than twelve bytes", "longer than twelve bytez"}

// randomValue is a value of a type, null now and then where it may be.
func randomValue(rng *rand.Rand, t arrow.DataType, nulls, extremes int) any {
	if rng.IntN(100) < nulls {
		return nil
	}
	extreme := rng.IntN(100) < extremes
	switch t := t.(type) {
	case *arrow.BooleanType:
		return rng.IntN(2) == 0
	case *arrow.Float32Type, *arrow.Float64Type:
		if extreme {
			return []float64{math.NaN(), math.Copysign(0, -1), math.Inf(1), math.Inf(-1), 1 << 20, -0.5}[rng.IntN(6)]
		}
		return float64(rng.IntN(64)-20) / 4
	case *arrow.StringType, *arrow.BinaryType:
		if extreme {
			return strings.Repeat(texts[rng.IntN(len(texts))], 1+rng.IntN(300))
		}
		if t.ID() == arrow.BINARY && rng.IntN(4) == 0 {
			return string([]byte{0xff, byte(rng.IntN(3))})
		}
		return texts[rng.IntN(len(texts))]
	case *arrow.ListType:
		list := []any{}
		for range rng.IntN(4) {
			list = append(list, randomValue(rng, t.Elem(), nulls, extremes))
		}
		return list
	case *arrow.Decimal128Type:
		n := big.NewInt(rng.Int64N(40) - 15)
		if extreme {
			n.Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil).Sub(n, big.NewInt(1+rng.Int64N(2)))
			if rng.IntN(2) == 0 {
				n.Neg(n)
			}
		}
		return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil))
	case *arrow.Date32Type:
		if extreme {
			return whole([]int64{-719162, 2932896, -1, 0, 11016}[rng.IntN(5)]) // 0001-01-01, 9999-12-31
		}
		return whole(19000 + rng.Int64N(40))
	case *arrow.TimestampType:
		second := int64(t.Unit.Multiplier())
		second = 1_000_000_000 / second
		if extreme {
			return whole([]int64{-1, 0, -second, 951782400*second + second/3, -2208988800 * second}[rng.IntN(5)])
		}
		return whole((1700000000+rng.Int64N(20)*3600)*second + rng.Int64N(3)*(second/4))
	}
	bits := int64(t.(arrow.FixedWidthDataType).BitWidth())
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(bits))
	if !arrow.IsUnsignedInteger(t.ID()) {
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	hi.Sub(hi, big.NewInt(1))
	if extreme {
		return new(big.Rat).SetInt([]*big.Int{lo, hi}[rng.IntN(2)])
	}
	n := rng.Int64N(24)
	if lo.Sign() < 0 {
		n -= 7
	}
	return whole(n)
}

// randomTable has columns of names that begin with prefix.
func randomTable(rng *rand.Rand, prefix string, most int) *plainTable {
	t := &plainTable{exact: map[string]bool{}}
	nulls, extremes := []int{0, 10, 50}[rng.IntN(3)], []int{0, 5, 30}[rng.IntN(3)]
	for i := range 2 + rng.IntN(5) {
		f := arrow.Field{Name: fmt.Sprintf("%s%d", prefix, i), Type: columnTypes[rng.IntN(len(columnTypes))], Nullable: rng.IntN(3) > 0}
		t.fields = append(t.fields, f)
		t.exact[f.Name] = true
	}
	n := []int{0, 1, 2, 30, most}[rng.IntN(5)]
	for i := range n {
		if i > 0 && rng.IntN(8) == 0 { // a row again
			t.rows = append(t.rows, t.rows[rng.IntN(len(t.rows))])
			continue
		}
		var row []any
		for _, f := range t.fields {
			share := nulls
			if !f.Nullable {
				share = 0
			}
			row = append(row, randomValue(rng, f.Type, share, extremes))
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// appendValue adds a value to a column.
func appendValue(b array.Builder, v any) {
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Float32Builder:
		b.Append(float32(v.(float64)))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range v.([]any) {
			appendValue(b.ValueBuilder(), e)
		}
	case *array.Decimal128Builder:
		n := new(big.Rat).Mul(v.(*big.Rat), new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(b.Type().(*arrow.Decimal128Type).Scale)), nil)))
		b.Append(decimal128.FromBigInt(n.Num()))
	case *array.Uint64Builder:
		b.Append(v.(*big.Rat).Num().Uint64())
	default:
		n := v.(*big.Rat).Num().Int64()
		switch b := b.(type) {
		case *array.Int8Builder:
			b.Append(int8(n))
		case *array.Int16Builder:
			b.Append(int16(n))
		case *array.Int32Builder:
			b.Append(int32(n))
		case *array.Int64Builder:
			b.Append(n)
		case *array.Uint8Builder:
			b.Append(uint8(n))
		case *array.Uint16Builder:
			b.Append(uint16(n))
		case *array.Uint32Builder:
			b.Append(uint32(n))
		case *array.Date32Builder:
			b.Append(arrow.Date32(n))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(n))
		default:
			panic(fmt.Sprintf("%T", b))
		}
	}
}

// valueAt is the value in a row of a column.
func valueAt(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return string(a.Value(i))
	case *array.List:
		from, to := a.ValueOffsets(i)
		list := []any{}
		for k := from; k < to; k++ {
			list = append(list, valueAt(a.ListValues(), int(k)))
		}
		return list
	case *array.Decimal128:
		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(a.DataType().(*arrow.Decimal128Type).Scale)), nil)
		return new(big.Rat).SetFrac(a.Value(i).BigInt(), scale)
	case *array.Uint64:
		return new(big.Rat).SetInt(new(big.Int).SetUint64(a.Value(i)))
	case *array.Int8:
		return whole(int64(a.Value(i)))
	case *array.Int16:
		return whole(int64(a.Value(i)))
	case *array.Int32:
		return whole(int64(a.Value(i)))
	case *array.Int64:
		return whole(a.Value(i))
	case *array.Uint8:
		return whole(int64(a.Value(i)))
	case *array.Uint16:
		return whole(int64(a.Value(i)))
	case *array.Uint32:
		return whole(int64(a.Value(i)))
	case *array.Date32:
		return whole(int64(a.Value(i)))
	case *array.Timestamp:
		return whole(int64(a.Value(i)))
	}
	panic(fmt.Sprintf("%T", a))
}

// write puts the rows into Arrow files in a folder, cut as rng says.
func (t *plainTable) write(tb testing.TB, rng *rand.Rand, dir string) {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	files, rows := 1+rng.IntN(3), t.rows
	for i := range files {
		mine := rows
		if i < files-1 {
			mine = rows[:rng.IntN(len(rows)+1)]
		}
		rows = rows[len(mine):]
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("in-%d.arrow", i)))
		if err != nil {
			tb.Fatal(err)
		}
		w, err := ipc.NewFileWriter(f, ipc.WithSchema(t.schema()))
		if err != nil {
			tb.Fatal(err)
		}
		for len(mine) > 0 {
			n := min(len(mine), 1+rng.IntN(200))
			rb := array.NewRecordBuilder(memory.DefaultAllocator, t.schema())
			for _, row := range mine[:n] {
				for c, v := range row {
					appendValue(rb.Field(c), v)
				}
			}
			b := rb.NewRecordBatch()
			if err := w.Write(b); err != nil {
				tb.Fatal(err)
			}
			mine = mine[n:]
		}
		if err := w.Close(); err != nil {
			tb.Fatal(err)
		}
		f.Close()
	}
}

// readArrow is the rows of a job's Arrow files, in the order of their names.
func readArrow(tb testing.TB, dir string) (rows [][]any) {
	tb.Helper()
	if _, err := os.Stat(filepath.Join(dir, "_SUCCESS")); err != nil {
		tb.Fatalf("the output is not complete: %v", err)
	}
	parts, _ := filepath.Glob(filepath.Join(dir, "part-*"))
	for _, p := range parts {
		f, err := os.Open(p)
		if err != nil {
			tb.Fatal(err)
		}
		r, err := ipc.NewFileReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		for i := range r.NumRecords() {
			b, err := r.RecordBatchAt(i)
			if err != nil {
				tb.Fatal(err)
			}
			for k := range int(b.NumRows()) {
				var row []any
				for _, c := range b.Columns() {
					row = append(row, valueAt(c, k))
				}
				rows = append(rows, row)
			}
		}
		r.Close()
		f.Close()
	}
	return rows
}

// word spells a value so that equal ones, and no others, are alike: -0 as 0, floats
// to 12 digits.
func word(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case *big.Rat:
		return v.RatString()
	case float64:
		if v == 0 {
			return "0"
		}
		return fmt.Sprintf("%.12gf", v)
	case []any:
		return "[" + words(v) + "]"
	case string:
		if len(v) > 40 {
			return fmt.Sprintf("%.20q#%08x", v, crc32.ChecksumIEEE([]byte(v)))
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

// words spells a row.
func words(row []any) string {
	parts := make([]string, len(row))
	for i, v := range row {
		parts[i] = word(v)
	}
	return strings.Join(parts, ", ")
}
