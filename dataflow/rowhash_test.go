package dataflow_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

func fromJSON(t testing.TB, dt arrow.DataType, json string) arrow.Array {
	t.Helper()
	a, _, err := array.FromJSON(memory.DefaultAllocator, dt, strings.NewReader(json))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func batchOf(cols ...arrow.Array) dataflow.Batch {
	var fields []arrow.Field
	for _, c := range cols {
		fields = append(fields, arrow.Field{Name: "c", Type: c.DataType(), Nullable: true})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, int64(cols[0].Len()))
}

func hashes(t testing.TB, cols ...arrow.Array) []uint64 {
	t.Helper()
	b := batchOf(cols...)
	h := make([]uint64, b.NumRows())
	all := make([]int, len(cols))
	for i := range all {
		all[i] = i
	}
	if err := dataflow.HashColumns(h, b, all); err != nil {
		t.Fatal(err)
	}
	return h
}

// The hashes are kept in journals: these numbers never change.
func TestHashGolden(t *testing.T) {
	for _, c := range []struct {
		dt   arrow.DataType
		json string
		want uint64
	}{
		{arrow.PrimitiveTypes.Int64, `[42]`, 0xd3f322b8f99043cc},
		{arrow.BinaryTypes.String, `["divisi"]`, 0xb84dbe923bf5197b},
		{arrow.BinaryTypes.String, `[""]`, 0xbdf282c5cac03dd9},
		{arrow.PrimitiveTypes.Float64, `[1.5]`, 0xd8fdad0ccb84e68a},
		{arrow.FixedWidthTypes.Boolean, `[true]`, 0xd30077b544b50a29},
		{arrow.PrimitiveTypes.Int64, `[null]`, 0x32f391085d5fda7a},
		{&arrow.Decimal128Type{Precision: 10, Scale: 2}, `["12.34"]`, 0x46ce9ffa9f579988},
		{arrow.ListOf(arrow.PrimitiveTypes.Int64), `[[1,2,null]]`, 0x388c3675b35511ae},
		{arrow.StructOf(arrow.Field{Name: "a", Type: arrow.BinaryTypes.String}), `[{"a":"x"}]`, 0x1c899363e4a2441c},
	} {
		if got := hashes(t, fromJSON(t, c.dt, c.json))[0]; got != c.want {
			t.Errorf("hash of %s %s is %#x, want %#x", c.dt, c.json, got, c.want)
		}
	}
	row := batchOf(fromJSON(t, arrow.BinaryTypes.String, `["a","b"]`), fromJSON(t, arrow.PrimitiveTypes.Int32, `[1,null]`))
	if got, err := dataflow.RowHash(row); err != nil || got != 0x3cdb69065745bba3 {
		t.Errorf("hash of two rows is %#x, %v, want %#x", got, err, uint64(0x3cdb69065745bba3))
	}
}

func TestHashEqualValuesAlike(t *testing.T) {
	i64, str := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: str}
	fixed := &arrow.FixedSizeBinaryType{ByteWidth: 2}
	for _, c := range []struct {
		name string
		a, b arrow.Array
	}{
		{"int widths", fromJSON(t, i64, `[1,-1,null,100]`), fromJSON(t, arrow.PrimitiveTypes.Int8, `[1,-1,null,100]`)},
		{"unsigned", fromJSON(t, i64, `[1,200]`), fromJSON(t, arrow.PrimitiveTypes.Uint8, `[1,200]`)},
		{"float widths", fromJSON(t, arrow.PrimitiveTypes.Float64, `[1.5,null]`), fromJSON(t, arrow.PrimitiveTypes.Float32, `[1.5,null]`)},
		{"large", fromJSON(t, str, `["x","",null]`), fromJSON(t, arrow.BinaryTypes.LargeString, `["x","",null]`)},
		{"dictionary", fromJSON(t, str, `["x","y",null,"x"]`), fromJSON(t, dict, `["x","y",null,"x"]`)},
		{"fixed", fromJSON(t, str, `["ab","cd",null]`), fromJSON(t, fixed, `["YWI=","Y2Q=",null]`)},
		{"offset", fromJSON(t, str, `["b","c"]`), array.NewSlice(fromJSON(t, str, `["a","b","c","d"]`), 1, 3)},
		{"offset int", fromJSON(t, i64, `[2,null]`), array.NewSlice(fromJSON(t, i64, `[1,2,null]`), 1, 3)},
		{"offset bool", fromJSON(t, arrow.FixedWidthTypes.Boolean, `[false,true]`), array.NewSlice(fromJSON(t, arrow.FixedWidthTypes.Boolean, `[true,false,true]`), 1, 3)},
		{"offset list", fromJSON(t, arrow.ListOf(i64), `[[3],null]`), array.NewSlice(fromJSON(t, arrow.ListOf(i64), `[[1,2],[3],null]`), 1, 3)},
		{"offset struct", fromJSON(t, arrow.StructOf(arrow.Field{Name: "a", Type: i64, Nullable: true}), `[{"a":2}]`),
			array.NewSlice(fromJSON(t, arrow.StructOf(arrow.Field{Name: "a", Type: i64, Nullable: true}), `[{"a":1},{"a":2}]`), 1, 2)},
	} {
		a, b := hashes(t, c.a), hashes(t, c.b)
		for i := range a {
			if a[i] != b[i] {
				t.Errorf("%s: row %d hashes to %#x and %#x", c.name, i, a[i], b[i])
			}
		}
	}
	f := array.NewFloat64Builder(memory.DefaultAllocator)
	f.AppendValues([]float64{0, math.Copysign(0, -1), math.NaN(), math.Float64frombits(0xfff8000000000123)}, nil)
	h := hashes(t, f.NewArray())
	if h[0] != h[1] || h[2] != h[3] || h[0] == h[2] {
		t.Errorf("0, -0, NaN, NaN hash to %#x", h)
	}
}

func TestHashTellsApart(t *testing.T) {
	i64, str := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	seen := map[uint64]string{}
	add := func(what string, cols ...arrow.Array) {
		h := hashes(t, cols...)[0]
		if other, twice := seen[h]; twice {
			t.Errorf("%s hashes like %s", what, other)
		}
		seen[h] = what
	}
	add("null", fromJSON(t, i64, `[null]`))
	add("0", fromJSON(t, i64, `[0]`))
	add("1", fromJSON(t, i64, `[1]`))
	add("1.0", fromJSON(t, arrow.PrimitiveTypes.Float64, `[1]`))
	add("empty", fromJSON(t, str, `[""]`))
	add("ab,c", fromJSON(t, str, `["ab"]`), fromJSON(t, str, `["c"]`))
	add("a,bc", fromJSON(t, str, `["a"]`), fromJSON(t, str, `["bc"]`))
	add("c,ab", fromJSON(t, str, `["c"]`), fromJSON(t, str, `["ab"]`))
	add("null,1", fromJSON(t, i64, `[null]`), fromJSON(t, i64, `[1]`))
	add("1,null", fromJSON(t, i64, `[1]`), fromJSON(t, i64, `[null]`))
	add("[]", fromJSON(t, arrow.ListOf(i64), `[[]]`))
	add("[null]", fromJSON(t, arrow.ListOf(i64), `[[null]]`))
	add("[1]", fromJSON(t, arrow.ListOf(i64), `[[1]]`))
	add("[1,1]", fromJSON(t, arrow.ListOf(i64), `[[1,1]]`))
	add("{null}", fromJSON(t, arrow.StructOf(arrow.Field{Name: "a", Type: i64, Nullable: true}), `[{"a":null}]`))
}

func TestRowHashIgnoresOrderAndCuts(t *testing.T) {
	str := arrow.BinaryTypes.String
	hash := func(b dataflow.Batch) uint64 {
		h, err := dataflow.RowHash(b)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	a := batchOf(fromJSON(t, str, `["x","y","x",null]`))
	b := batchOf(fromJSON(t, str, `[null,"x","y","x"]`))
	if hash(a) != hash(b) {
		t.Error("another order has another hash")
	}
	if hash(a) != hash(a.NewSlice(0, 1))+hash(a.NewSlice(1, 4)) {
		t.Error("another cut has another hash")
	}
	if hash(a) == hash(batchOf(fromJSON(t, str, `["x","y","y",null]`))) {
		t.Error("a changed row has the same hash")
	}
}

// Partitions come from either end of the hash: both must spread small integers.
func TestHashSpreads(t *testing.T) {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	const n, parts = 64 << 10, 64
	for i := range n {
		b.Append(int64(i) * 1024)
	}
	var low, high [parts]int
	for _, h := range hashes(t, b.NewArray()) {
		low[h%parts]++
		high[h>>58]++
	}
	for p := range parts {
		for _, c := range []int{low[p], high[p]} {
			if c < n/parts*8/10 || c > n/parts*12/10 {
				t.Errorf("partition %d has %d rows of an expected %d", p, c, n/parts)
			}
		}
	}
}

func BenchmarkRowHash(b *testing.B) {
	s, i := array.NewStringBuilder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
	for n := range 16 << 10 {
		s.Append(strings.Repeat("word", n%5+1))
		i.Append(int64(n))
	}
	batch := batchOf(s.NewArray(), i.NewArray())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := dataflow.RowHash(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(batch.NumRows()*int64(b.N))/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

// The records of TeraSort, in columns of fixed and of any width.
func BenchmarkRowHashOfRecords(b *testing.B) {
	for name, types := range map[string][2]arrow.DataType{
		"fixed":  {&arrow.FixedSizeBinaryType{ByteWidth: 10}, &arrow.FixedSizeBinaryType{ByteWidth: 90}},
		"binary": {arrow.BinaryTypes.Binary, arrow.BinaryTypes.Binary},
	} {
		b.Run(name, func(b *testing.B) {
			type appender interface {
				Append([]byte)
				NewArray() arrow.Array
			}
			k, v := array.NewBuilder(memory.DefaultAllocator, types[0]).(appender), array.NewBuilder(memory.DefaultAllocator, types[1]).(appender)
			for n := range 4 << 10 {
				k.Append(fmt.Appendf(nil, "%010d", n))
				v.Append(fmt.Appendf(nil, "%090d", n))
			}
			batch := batchOf(k.NewArray(), v.NewArray())
			b.SetBytes(100 * batch.NumRows())
			for b.Loop() {
				if _, err := dataflow.RowHash(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(batch.NumRows()*int64(b.N)), "ns/row")
		})
	}
}

// TestHashOfOneLength: values of one length hash as they do among others, whatever the
// length and wherever their column begins.
func TestHashOfOneLength(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 18))
	for width := range 150 {
		fixed := array.NewFixedSizeBinaryBuilder(memory.DefaultAllocator, &arrow.FixedSizeBinaryType{ByteWidth: max(1, width)})
		alike, mixed := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary), array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
		const n = 20
		for range n {
			v := make([]byte, width)
			for i := range v {
				v[i] = byte(rng.Uint32())
			}
			alike.Append(v)
			mixed.Append(v)
			fixed.Append(append(v, 0)[:max(1, width)])
		}
		mixed.AppendNull() // then each is hashed alone
		a, f := alike.NewArray(), fixed.NewArray()
		want := hashes(t, mixed.NewArray())[:n]
		for _, from := range []int64{0, 3} {
			if got := hashes(t, array.NewSlice(a, from, n)); !slices.Equal(got, want[from:]) {
				t.Errorf("%d bytes from row %d: %x, want %x", width, from, got, want[from:])
			}
			if got := hashes(t, array.NewSlice(f, from, n)); width > 0 && !slices.Equal(got, want[from:]) {
				t.Errorf("%d bytes of fixed width from row %d: %x, want %x", width, from, got, want[from:])
			}
		}
	}
}

// An array of no values need not have offsets: lists that are all empty have such
// a child.
func TestHashWithoutOffsets(t *testing.T) {
	data := memory.NewBufferBytes([]byte("bytes of nobody"))
	for _, dt := range []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary} {
		none := array.NewData(dt, 0, []*memory.Buffer{nil, memory.NewBufferBytes(nil), data}, nil, 0, 0)
		offsets := memory.NewBufferBytes(make([]byte, 12))
		lists := array.NewListData(array.NewData(arrow.ListOf(dt), 2, []*memory.Buffer{nil, offsets}, []arrow.ArrayData{none}, 0, 0))
		got, want := hashes(t, lists), hashes(t, fromJSON(t, arrow.ListOf(arrow.PrimitiveTypes.Int64), `[[],[]]`))
		if got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: hashes %x, want %x", dt, got, want)
		}
	}
}
