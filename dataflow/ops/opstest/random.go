package opstest

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/float16"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// Types are types of columns that operators must cope with, nested ones included.
func Types() []arrow.DataType {
	return []arrow.DataType{
		arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary,
		&arrow.FixedSizeBinaryType{ByteWidth: 10},
		&arrow.Decimal128Type{Precision: 38, Scale: 2},
		arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
		arrow.FixedWidthTypes.Time32ms, arrow.FixedWidthTypes.Duration_ns,
		arrow.StructOf(
			arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
			arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true},
		),
		arrow.ListOf(arrow.BinaryTypes.String),
		arrow.LargeListOf(arrow.PrimitiveTypes.Int16),
		arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Float32),
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String},
	}
}

// SchemaOf has one nullable column of each type, called c0, c1, ...
func SchemaOf(types ...arrow.DataType) *arrow.Schema {
	fields := make([]arrow.Field, len(types))
	for i, t := range types {
		fields[i] = arrow.Field{Name: "c" + string(rune('0'+i%10)) + strings.Repeat("'", i/10), Type: t, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// Random is a batch of rows with the values that make trouble, many of them alike,
// and one in ten null.
func Random(mem memory.Allocator, rng *rand.Rand, schema *arrow.Schema, rows int) dataflow.Batch {
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for i := range schema.NumFields() {
		f := b.Field(i)
		f.Reserve(rows)
		for range rows {
			if schema.Field(i).Nullable && rng.IntN(10) == 0 {
				f.AppendNull()
			} else {
				randomValue(rng, f)
			}
		}
	}
	return b.NewRecordBatch()
}

func randomInt(rng *rand.Rand, bits int) int64 {
	switch rng.IntN(6) {
	case 0:
		return -1 << (bits - 1)
	case 1:
		return 1<<(bits-1) - 1
	case 2:
		return rng.Int64() >> (64 - bits) * int64(1-2*rng.IntN(2))
	}
	return int64(rng.IntN(7)) - 3
}

func randomFloat(rng *rand.Rand) float64 {
	switch rng.IntN(8) {
	case 0:
		return math.NaN()
	case 1:
		return math.Inf(1 - 2*rng.IntN(2))
	case 2:
		return math.Copysign(0, -1)
	case 3:
		return 0
	case 4:
		return rng.NormFloat64()
	}
	return float64(rng.IntN(5)-2) / 2
}

func randomText(rng *rand.Rand) string {
	pieces := [...]string{"", "a", "a\x00", "\x00", "ab", "\xff\xff", "https://example.org/a/long/prefix/", "é"}
	var s string
	for range rng.IntN(3) {
		s += pieces[rng.IntN(len(pieces))]
	}
	return s
}

func randomValue(rng *rand.Rand, b array.Builder) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(rng.IntN(2) == 0)
	case *array.Int8Builder:
		b.Append(int8(randomInt(rng, 8)))
	case *array.Int16Builder:
		b.Append(int16(randomInt(rng, 16)))
	case *array.Int32Builder:
		b.Append(int32(randomInt(rng, 32)))
	case *array.Int64Builder:
		b.Append(randomInt(rng, 64))
	case *array.Uint8Builder:
		b.Append(uint8(randomInt(rng, 8)))
	case *array.Uint16Builder:
		b.Append(uint16(randomInt(rng, 16)))
	case *array.Uint32Builder:
		b.Append(uint32(randomInt(rng, 32)))
	case *array.Uint64Builder:
		b.Append(uint64(randomInt(rng, 64)))
	case *array.Float16Builder:
		b.Append(float16.New(float32(randomFloat(rng))))
	case *array.Float32Builder:
		b.Append(float32(randomFloat(rng)))
	case *array.Float64Builder:
		b.Append(randomFloat(rng))
	case *array.StringBuilder:
		b.Append(randomText(rng))
	case *array.LargeStringBuilder:
		b.Append(randomText(rng))
	case *array.BinaryBuilder:
		b.Append([]byte(randomText(rng)))
	case *array.FixedSizeBinaryBuilder:
		w := make([]byte, b.Type().(*arrow.FixedSizeBinaryType).ByteWidth)
		copy(w, randomText(rng))
		w[len(w)-1] = byte(rng.IntN(3))
		b.Append(w)
	case *array.Decimal128Builder:
		b.Append(decimal128.New(randomInt(rng, 3), uint64(randomInt(rng, 64))))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(randomInt(rng, 40)))
	case *array.Date32Builder:
		b.Append(arrow.Date32(randomInt(rng, 16)))
	case *array.Date64Builder:
		b.Append(arrow.Date64(randomInt(rng, 16) * 86_400_000))
	case *array.Time32Builder:
		b.Append(arrow.Time32(rng.IntN(10)))
	case *array.DurationBuilder:
		b.Append(arrow.Duration(randomInt(rng, 50)))
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			randomOrNull(rng, b.FieldBuilder(i))
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			randomOrNull(rng, b.ValueBuilder())
		}
	case array.ListLikeBuilder:
		b.Append(true)
		for range rng.IntN(3) {
			randomOrNull(rng, b.ValueBuilder())
		}
	case *array.BinaryDictionaryBuilder:
		if err := b.AppendString(randomText(rng)); err != nil {
			panic(err)
		}
	default:
		panic("opstest: no random values of " + b.Type().String())
	}
}

func randomOrNull(rng *rand.Rand, b array.Builder) {
	if rng.IntN(8) == 0 {
		b.AppendNull()
		return
	}
	randomValue(rng, b)
}
