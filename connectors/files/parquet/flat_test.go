package parquet

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/internal/race"
)

var flatTypes = []arrow.DataType{
	arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Float32, arrow.FixedWidthTypes.Date32,
	arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Timestamp_us,
	&arrow.Decimal128Type{Precision: 8, Scale: 2}, &arrow.Decimal128Type{Precision: 15, Scale: 2},
	arrow.PrimitiveTypes.Int16, arrow.BinaryTypes.String, &arrow.Decimal128Type{Precision: 30, Scale: 1},
}

// flatRows is a column of each type, of few or many values, and an index "n". Nulls
// come alone, in stretches as long as pages, and not at all.
func flatRows(rng *rand.Rand, rows, different int, nulls string) dataflow.Batch {
	fields := []arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}
	for i, t := range flatTypes {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: t, Nullable: nulls != ""})
	}
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer rb.Release()
	for i := range rows {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
		for f := range flatTypes {
			if nulls == "some" && rng.IntN(5) == 0 || nulls == "stretches" && i/400%2 == f%2 || nulls == "all" {
				rb.Field(f + 1).AppendNull()
				continue
			}
			v := rng.IntN(different) - different/2
			switch b := rb.Field(f + 1).(type) {
			case *array.Int16Builder:
				b.Append(int16(v))
			case *array.Int32Builder:
				b.Append(int32(v))
			case *array.Uint32Builder:
				b.Append(uint32(v))
			case *array.Float32Builder:
				b.Append(float32(v) / 2)
			case *array.Date32Builder:
				b.Append(arrow.Date32(v))
			case *array.Int64Builder:
				b.Append(int64(v) << 40)
			case *array.Uint64Builder:
				b.Append(uint64(v))
			case *array.Float64Builder:
				b.Append(float64(v) / 2)
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp(v))
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(int64(v)))
			case *array.StringBuilder:
				b.Append(fmt.Sprint("text ", v))
			}
		}
	}
	return rb.NewRecordBatch()
}

func writeFlat(t *testing.T, b dataflow.Batch, props ...parquet.WriterProperty) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	props = append(props, parquet.WithMaxRowGroupLength(900), parquet.WithStoreDecimalAsInteger(true))
	w, err := pqarrow.NewFileWriter(b.Schema(), f, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// readFlat spells the rows that a condition leaves, and counts those that came. Unless the
// library decodes deltas, no memory is left.
func readFlat(t *testing.T, name string, batch int, where expr.Expr, own bool, sieves ...dataflow.Sieve) (rows []string, came int) {
	t.Helper()
	src, err := files.NewSource(files.SourceArgs{Paths: []string{name}, Format: "parquet", Predicate: where})
	if err != nil {
		t.Fatal(err)
	}
	splits, err := src.Splits(t.Context(), dataflow.SplitHint{Slots: 1})
	if err != nil || len(splits) != 1 {
		t.Fatalf("%d splits, %v", len(splits), err)
	}
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	if own { // the library's decoder of deltas keeps some
		defer mem.AssertSize(t, 0)
	}
	env := dataflow.NewEnv(t.Context())
	env.Alloc, env.BatchRows = mem, batch
	s, err := src.Open(env, splits[0])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, v := range sieves {
		dataflow.PutSieve(s, v)
	}
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			return rows, came
		}
		if err != nil {
			t.Fatal(err)
		}
		came += int(b.NumRows())
		checkCodes(t, b)
		for i, text := range spell(t, b, where) {
			if text == "" {
				continue
			}
			rows = append(rows, text)
			if n := b.Column(0).(*array.Int64).Value(i); dataflow.Locate(s, i) != fmt.Sprintf("%s:row %d", name, n) {
				t.Fatalf("row %d is located at %s", n, dataflow.Locate(s, i))
			}
		}
		b.Release()
	}
}

// checkCodes compares texts with the words that their codes stand for, where these are
// handed on, and says how many columns have some.
func checkCodes(t *testing.T, b dataflow.Batch) (coded int) {
	t.Helper()
	for _, c := range b.Columns() {
		codes, data, ok := dataflow.CodesOf(c)
		if !ok {
			continue
		}
		coded++
		words := array.NewStringData(data)
		for i, code := range codes {
			switch text := c.(*array.String); {
			case text.IsNull(i) != (int(code) == words.Len()):
				t.Fatalf("row %d of %d words has the code %d, and null is %v", i, words.Len(), code, text.IsNull(i))
			case text.IsValid(i) && text.Value(i) != words.Value(int(code)):
				t.Fatalf("row %d is %q, its code says %q", i, text.Value(i), words.Value(int(code)))
			}
		}
		words.Release()
	}
	return coded
}

// Of text with few words the codes are handed on, also of some rows and of slices.
func TestCodesAreHandedOn(t *testing.T) {
	for _, nulls := range []string{"", "some"} {
		file := writeFlat(t, flatRows(rand.New(rand.NewPCG(5, 6)), 2000, 40, nulls), parquet.WithDictionaryDefault(true))
		src, err := files.NewSource(files.SourceArgs{Paths: []string{file}, Format: "parquet", Predicate: expr.Col("n").Mod(3).Eq(1)})
		if err != nil {
			t.Fatal(err)
		}
		splits, err := src.Splits(t.Context(), dataflow.SplitHint{Slots: 1})
		if err != nil {
			t.Fatal(err)
		}
		s, err := src.Open(dataflow.NewEnv(t.Context()), splits[0])
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		part := b.NewSlice(7, b.NumRows()-3)
		if n := checkCodes(t, b); n != 1 || checkCodes(t, part) != 1 {
			t.Errorf("%d columns have codes, want 1", n)
		}
		part.Release()
		b.Release()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// spell spells rows out, "" where they do not fulfil the condition.
func spell(t *testing.T, b dataflow.Batch, where expr.Expr) []string {
	t.Helper()
	keep := make([]bool, b.NumRows())
	if where.IsZero() {
		for i := range keep {
			keep[i] = true
		}
	} else {
		bound, err := expr.BindFilter(b.Schema(), where)
		if err != nil {
			t.Fatal(err)
		}
		sel, _, err := bound.Evaluator(memory.DefaultAllocator).Select(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range sel {
			keep[i] = true
		}
	}
	out := make([]string, b.NumRows())
	for i := range out {
		for c := 0; keep[i] && c < int(b.NumCols()); c++ {
			out[i] += b.Column(c).ValueStr(i) + "|"
		}
	}
	return out
}

// What is read is what was written, and of a condition's rows just the same, whatever
// the pages, the encoding, the nulls and the size of batches.
func TestFlatColumns(t *testing.T) {
	rng, turn := rand.New(rand.NewPCG(21, 4)), 0
	n := expr.Col("n")
	for name, props := range map[string][]parquet.WriterProperty{
		"dictionary": {parquet.WithDictionaryDefault(true), parquet.WithDataPageSize(1000)},
		"plain":      {parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1000)},
		"version 2":  {parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDataPageSize(3000), parquet.WithDictionaryPageSizeLimit(2000)},
		"delta":      {parquet.WithDictionaryDefault(false), parquet.WithEncodingFor("c0", parquet.Encodings.DeltaBinaryPacked), parquet.WithEncodingFor("c4", parquet.Encodings.DeltaBinaryPacked)},
	} {
		for _, nulls := range []string{"", "some", "stretches", "all"} {
			for _, different := range []int{1, 5000} {
				if turn++; turn%race.Stride(5) != 0 {
					continue
				}
				b := flatRows(rng, 2000, different, nulls)
				file := writeFlat(t, b, props...)
				c := func(i int) expr.Expr { return expr.Col(fmt.Sprint("c", i)) }
				for i, where := range []expr.Expr{{}, n.Mod(97).Eq(5), n.Ge(800).And(n.Lt(1000)), n.Mod(10).Lt(9), n.Lt(0), c(4).Gt(2).And(n.Mod(3).Eq(0)),
					c(0).Ge(-1000).And(c(0).Lt(2)), c(11).HasSuffix("7"), c(11).Eq("text 0"), c(3).IsNull().And(c(9).NotNull()),
					c(0).Gt(0).And(c(11).NotLike("%1%")).And(n.Mod(4).Ne(0)), c(0).Lt(c(4)), c(8).Gt(expr.Dec("2.00")).And(c(6).Lt(900.5)), c(2).Ne(c(6)).And(c(0).Mod(2).Eq(0))} {
					batch := []int{100, 1 << 16, 777}[i%3]
					var want []string
					for _, text := range spell(t, b, where) {
						if text != "" {
							want = append(want, text)
						}
					}
					got, came := readFlat(t, file, batch, where, name != "delta")
					if !slices.Equal(got, want) {
						t.Fatalf("%s, nulls %q, %d different, %s: %d rows, want %d", name, nulls, different, where, len(got), len(want))
					}
					if few := i == 1 || i == 2 || i == 4 || i == 8; few && came > 2*len(want) {
						t.Errorf("%s, nulls %q, %s: %d rows came for %d", name, nulls, where, came, len(want))
					}
				}
			}
		}
	}
}

// Whatever bytes a page has, its runs end in an error or in as many values as it says.
func TestRunsOfAnything(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 4))
	for range race.Tries(20000, 20000, 2000) {
		data := make([]byte, rng.IntN(40))
		for i := range data {
			data[i] = byte(rng.Uint32() >> rng.IntN(25))
		}
		var r runs
		n, width := 1+rng.IntN(300), uint(rng.IntN(34))
		if r.parse(data, width, n) != nil {
			continue
		}
		all := make([]uint32, n)
		r.read(all, 0)
		var places []int32
		for i := range n {
			if rng.IntN(3) == 0 {
				places = append(places, int32(i))
			}
		}
		some := make([]uint32, len(places))
		r.at = 0
		r.pick(some, places)
		for i, p := range places {
			if some[i] != all[p] {
				t.Fatalf("value %d is %d and %d", p, some[i], all[p])
			}
		}
	}
}
