// Package blocktest makes batches of every type that blocks carry, for the tests of
// whatever moves batches without looking into them.
package blocktest

import (
	"fmt"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// AllTypes is a schema with a column of each type, flat and nested.
func AllTypes() *arrow.Schema {
	point := arrow.StructOf(
		arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		arrow.Field{Name: "label", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	)
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	var fields []arrow.Field
	for _, t := range []arrow.DataType{
		arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary,
		&arrow.FixedSizeBinaryType{ByteWidth: 5}, &arrow.Decimal128Type{Precision: 20, Scale: 3},
		arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
		arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Duration_ms,
		point, arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.ListOf(point), arrow.LargeListOf(arrow.FixedWidthTypes.Boolean),
		arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32), arrow.FixedSizeListOf(3, arrow.PrimitiveTypes.Int16),
		words, &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint8, ValueType: arrow.PrimitiveTypes.Int64}, arrow.ListOf(words), arrow.Null,
	} {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("%d %s", len(fields), t), Type: t, Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// Random is a batch of n rows; a share of nulls (0..1) of the values are null.
func Random(rng *rand.Rand, mem memory.Allocator, schema *arrow.Schema, n int, nulls float64) dataflow.Batch {
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for _, f := range b.Fields() {
		for range n {
			appendRandom(rng, f, nulls)
		}
	}
	return b.NewRecordBatch()
}

func appendRandom(rng *rand.Rand, b array.Builder, nulls float64) {
	if rng.Float64() < nulls {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(rng.IntN(2) == 0)
	case *array.Int8Builder:
		b.Append(int8(rng.Int()))
	case *array.Uint16Builder:
		b.Append(uint16(rng.Int()))
	case *array.Int16Builder:
		b.Append(int16(rng.Int()))
	case *array.Int32Builder:
		b.Append(int32(rng.Int()))
	case *array.Int64Builder:
		b.Append(rng.Int64())
	case *array.Float32Builder:
		b.Append(rng.Float32())
	case *array.Float64Builder:
		b.Append(rng.NormFloat64())
	case *array.StringBuilder:
		b.Append(text(rng))
	case *array.LargeStringBuilder:
		b.Append(text(rng))
	case *array.BinaryBuilder:
		b.Append([]byte(text(rng)))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(fmt.Sprintf("%05d", rng.IntN(100000))))
	case *array.Decimal128Builder:
		b.Append(decimal128.New(rng.Int64N(1000)-500, rng.Uint64()))
	case *array.Date32Builder:
		b.Append(arrow.Date32(rng.IntN(30000)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(rng.Int64N(1 << 50)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(rng.Int64N(86400e6)))
	case *array.DurationBuilder:
		b.Append(arrow.Duration(rng.Int64N(1 << 40)))
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(rng, b.FieldBuilder(i), nulls)
		}
	case *array.MapBuilder: // before the lists, which it is made of
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(rng, b.KeyBuilder(), 0)
			appendRandom(rng, b.ItemBuilder(), nulls)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(rng, b.ValueBuilder(), nulls)
		}
	case *array.LargeListBuilder:
		b.Append(true)
		for range rng.IntN(4) {
			appendRandom(rng, b.ValueBuilder(), nulls)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range b.Type().(*arrow.FixedSizeListType).Len() {
			appendRandom(rng, b.ValueBuilder(), nulls)
		}
	case *array.BinaryDictionaryBuilder:
		must(b.AppendString(fmt.Sprintf("word-%d", rng.IntN(20))))
	case *array.Int64DictionaryBuilder:
		must(b.Append(int64(rng.IntN(50))))
	default:
		panic(fmt.Sprintf("blocktest: no random values for %s", b.Type()))
	}
}

// text is short, long or empty, and sometimes not UTF-8.
func text(rng *rand.Rand) string {
	switch rng.IntN(8) {
	case 0:
		return ""
	case 1:
		return string([]byte{0xff, 0, 0xfe})
	case 2:
		return fmt.Sprintf("a longer text that does not fit into sixteen bytes, number %d", rng.Int())
	}
	return fmt.Sprintf("t%d", rng.IntN(1000))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
