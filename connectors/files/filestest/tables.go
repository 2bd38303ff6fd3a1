package filestest

import (
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// FlatTables are tables of columns without lists and structs: none, one and some
// rows, one and many batches, every type that text can hold.
func FlatTables() []Case {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "i8", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
		{Name: "i16", Type: arrow.PrimitiveTypes.Int16, Nullable: true},
		{Name: "i32", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "i64", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "u8", Type: arrow.PrimitiveTypes.Uint8, Nullable: true},
		{Name: "u16", Type: arrow.PrimitiveTypes.Uint16, Nullable: true},
		{Name: "u32", Type: arrow.PrimitiveTypes.Uint32, Nullable: true},
		{Name: "u64", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
		{Name: "f32", Type: arrow.PrimitiveTypes.Float32, Nullable: true},
		{Name: "f64", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "d", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
		{Name: "t", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
		{Name: "z", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "n", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}, Nullable: true},
	}, nil)
	some := `[
{"b":true,"i8":-128,"i16":-32768,"i32":-2147483648,"i64":-9007199254740991,"u8":255,"u16":65535,"u32":4294967295,"u64":9007199254740991,"f32":1.5,"f64":0.1,"s":"a","d":"2024-02-29","t":"2024-02-29 12:34:56.789012","z":"1969-12-31 23:59:59.999Z","n":"12.34"},
{"b":null,"i8":null,"i16":null,"i32":null,"i64":null,"u8":null,"u16":null,"u32":null,"u64":null,"f32":null,"f64":null,"s":null,"d":null,"t":null,"z":null,"n":null},
{"b":false,"i8":0,"i16":0,"i32":0,"i64":0,"u8":0,"u16":0,"u32":0,"u64":0,"f32":-0.25,"f64":1e300,"s":"","d":"1970-01-01","t":"1970-01-01 00:00:00","z":"1970-01-01 00:00:00Z","n":"-0.05"},
{"b":true,"i8":127,"i16":32767,"i32":2147483647,"i64":9007199254740991,"u8":1,"u16":2,"u32":3,"u64":4,"f32":3.4e38,"f64":-5e-324,"s":"quote \" comma, 'apostrophe' \\ back €","d":"0001-01-01","t":"2262-01-01 00:00:00.000001","z":"2038-01-19 03:14:08Z","n":"9999999999.99"},
{"b":false,"i8":1,"i16":1,"i32":1,"i64":1,"u8":1,"u16":1,"u32":1,"u64":1,"f32":1,"f64":1,"s":" blanks ","d":"2000-01-01","t":"2000-01-01 00:00:00.5","z":"2000-01-01 00:00:00.5Z","n":"0"}
]`
	return tables(schema, some)
}

// NestedTables have lists, structs and maps in them.
func NestedTables() []Case {
	inner := arrow.StructOf(
		arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "y", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Float64), Nullable: true},
		{Name: "o", Type: inner, Nullable: true},
		{Name: "lo", Type: arrow.ListOf(inner), Nullable: true},
		{Name: "v", Type: arrow.BinaryTypes.Binary, Nullable: true},
	}, nil)
	some := `[
{"id":1,"l":[1.5,null,-2],"o":{"x":7,"y":["a",null,""]},"lo":[{"x":1,"y":[]},null,{"x":null,"y":null}],"v":"AP8="},
{"id":2,"l":[],"o":{"x":null,"y":null},"lo":[],"v":""},
{"id":null,"l":null,"o":null,"lo":null,"v":null},
{"id":4,"l":[0],"o":{"x":-1,"y":["line\nfeed","tab\t\"q\" \\ \u0001 é"]},"lo":[{"x":9,"y":["z"]}],"v":"AAAA"}
]`
	return tables(schema, some)
}

func tables(schema *arrow.Schema, some string) []Case {
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(some))
	if err != nil {
		panic(err)
	}
	var many []arrow.RecordBatch
	for i := range int64(40) {
		from := i % b.NumRows()
		many = append(many, b.NewSlice(from, min(b.NumRows(), from+1+i%3)))
	}
	return []Case{
		{Name: "no rows", Schema: schema, Rows: []arrow.RecordBatch{b.NewSlice(0, 0)}},
		{Name: "one row", Schema: schema, Rows: []arrow.RecordBatch{b.NewSlice(0, 1)}},
		{Name: "one null row", Schema: schema, Rows: []arrow.RecordBatch{b.NewSlice(1, 2)}},
		{Name: "some rows", Schema: schema, Rows: []arrow.RecordBatch{b}},
		{Name: "many batches", Schema: schema, Rows: many},
	}
}

// WithoutNullStrings drops the rows in which a string is null, for formats that
// cannot tell one from an empty string.
func WithoutNullStrings(batches []arrow.RecordBatch) []arrow.RecordBatch {
	var out []arrow.RecordBatch
	for _, b := range batches {
		for i := range b.NumRows() {
			keep := true
			for _, c := range b.Columns() {
				keep = keep && (c.IsValid(int(i)) || !arrow.IsBinaryLike(c.DataType().ID()))
			}
			if keep {
				out = append(out, b.NewSlice(i, i+1))
			}
		}
	}
	return out
}
