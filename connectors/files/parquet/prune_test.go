package parquet_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	_ "github.com/divisi-data/divisi/storage/local"
)

// Row groups that cannot hold a row of interest are not read, and no row of interest
// is lost.
func TestPredicateSkipsRowGroups(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "d", Type: &arrow.Decimal128Type{Precision: 15, Scale: 2}},
		{Name: "day", Type: arrow.FixedWidthTypes.Date32}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "f", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		v := int64(i) + rng.Int64N(20)
		rb.Field(0).(*array.Int64Builder).Append(v)
		rb.Field(1).(*array.Decimal128Builder).Append(decimal128.FromI64(v * 50))
		rb.Field(2).(*array.Date32Builder).Append(arrow.Date32(v))
		if i%9 == 0 {
			rb.Field(3).AppendNull()
		} else {
			rb.Field(3).(*array.StringBuilder).Append(fmt.Sprintf("s%04d", i))
		}
		rb.Field(4).(*array.Float64Builder).Append(float64(v))
	}
	rows := rb.NewRecordBatch()
	defer rows.Release()
	format, err := files.LookupFormat("parquet")
	if err != nil {
		t.Fatal(err)
	}
	w, err := format.Writer(files.WriteOptions{Options: []byte(`{"row_group_rows":50}`)})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	enc, err := w.Open(dataflow.NewEnv(t.Context()), f, schema)
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at < 1000; at += 50 {
		part := rows.NewSlice(at, at+50)
		if err := enc.Write(part); err != nil {
			t.Fatal(err)
		}
		part.Release()
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		where expr.Expr
		skips bool
	}{
		{expr.Col("n").Lt(100), true},
		{expr.Col("n").Eq(500).Or(expr.Col("n").Gt(990)), true},
		{expr.Col("d").Between(expr.Dec("100.25"), 120), true},
		{expr.Col("day").Ge(expr.Date("1972-06-01")), true},
		{expr.Col("s").Like("s03%"), true},
		{expr.Col("s").In("s0007", "s0900"), true},
		{expr.Col("f").Lt(10), false}, // a NaN is in no statistics
		{expr.Col("n").Ne(3), false},
		{expr.Col("n").Mod(7).Eq(1), false},
	} {
		filter, err := expr.BindFilter(schema, c.where)
		if err != nil {
			t.Fatal(err)
		}
		count := func(b arrow.RecordBatch) int {
			sel, _, err := filter.Evaluator(memory.DefaultAllocator).Select(b)
			if err != nil {
				t.Fatal(err)
			}
			return len(sel)
		}
		src, err := files.NewSource(files.SourceArgs{Paths: []string{name}, Format: "parquet", Predicate: c.where})
		if err != nil {
			t.Fatal(err)
		}
		splits, err := src.Splits(t.Context(), dataflow.SplitHint{Slots: 3, MaxBytes: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		env := dataflow.NewEnv(t.Context())
		read, found := 0, 0
		for _, split := range splits {
			s, err := src.Open(env, split)
			if err != nil {
				t.Fatal(err)
			}
			for {
				b, err := s.Next(t.Context())
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				read += int(b.NumRows())
				found += count(b)
				b.Release()
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if want := count(rows); found != want || want == 0 {
			t.Errorf("%s: %d rows are found, want %d", c.where, found, want)
		}
		skipped := env.Counters.Values()["parquet.row_groups_skipped"]
		if (skipped > 0) != c.skips || read < found {
			t.Errorf("%s: %d rows were read, %d row groups skipped", c.where, read, skipped)
		}
	}
}
