package parquet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/internal/race"
)

// passing is a sieve for the rows of which the columns' values, as they print, fulfil a
// condition.
func passing(ok func(values []string) bool, columns ...string) dataflow.Sieve {
	return dataflow.Sieve{Columns: columns, Pass: func(cols []arrow.Array) (rows []int32, all bool, err error) {
		for i := range cols[0].Len() {
			var values []string
			for _, c := range cols {
				values = append(values, c.ValueStr(i))
			}
			if ok(values) {
				rows = append(rows, int32(i))
			}
		}
		return rows, len(rows) == cols[0].Len(), nil
	}}
}

// Of the rows that pass all sieves and fulfil a condition every one comes, and few others.
func TestSieves(t *testing.T) {
	rng, turn := rand.New(rand.NewPCG(23, 4)), 0
	number := passing(func(v []string) bool { return strings.HasSuffix(v[0], "7") }, "n")
	text := passing(func(v []string) bool { return strings.Contains(v[0], "1") }, "c11") // by its dictionary, where there is one
	both := passing(func(v []string) bool { return v[0] < v[1] && v[0] != array.NullValueStr }, "c0", "c4")
	none := passing(func([]string) bool { return false }, "c3")
	fails := dataflow.Sieve{Columns: []string{"c8"}, Pass: func([]arrow.Array) ([]int32, bool, error) { return nil, false, errors.New("it fails") }}
	unknown := passing(func([]string) bool { return false }, "nothing is called so")
	for name, props := range map[string][]parquet.WriterProperty{
		"dictionary": {parquet.WithDictionaryDefault(true), parquet.WithDataPageSize(1000)},
		"plain":      {parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(1000)},
	} {
		for _, nulls := range []string{"", "some", "stretches", "all"} {
			if turn++; turn%race.Stride(3) != 0 {
				continue
			}
			b := flatRows(rng, 2000, 60, nulls)
			file := writeFlat(t, b, props...)
			for i, sieves := range [][]dataflow.Sieve{{number}, {text}, {both}, {none}, {fails}, {unknown}, {text, number}, {both, text, number}} {
				for _, where := range []expr.Expr{{}, expr.Col("c0").Gt(-10), expr.Col("c11").NotLike("%2%").And(expr.Col("n").Ge(100))} {
					var want []string
					for row, spelled := range spell(t, b, where) {
						pass := spelled != ""
						for _, v := range sieves {
							if i != 4 && i != 5 {
								var values []arrow.Array
								for _, c := range v.Columns {
									at := array.NewSlice(b.Column(b.Schema().FieldIndices(c)[0]), int64(row), int64(row+1))
									defer at.Release()
									values = append(values, at)
								}
								_, all, _ := v.Pass(values)
								pass = pass && all
							}
						}
						if pass {
							want = append(want, spelled)
						}
					}
					got, came := readFlat(t, file, []int{100, 1 << 16, 777}[i%3], where, true, sieves...)
					got = slices.DeleteFunc(got, func(r string) bool { return !slices.Contains(want, r) })
					what := fmt.Sprintf("%s, nulls %q, sieves %d, %s", name, nulls, i, where)
					if !slices.Equal(got, want) {
						t.Fatalf("%s: %d rows, want %d", what, len(got), len(want))
					}
					if (i == 0 || i == 3) && came > 2*len(want)+len(want)/2 {
						t.Errorf("%s: %d rows came for %d", what, came, len(want))
					}
				}
			}
		}
	}
}

// What leaves least comes first, once it was seen: a sieve that was asked of the rows that a
// condition left is asked before it.
func TestCheapestStepFirst(t *testing.T) {
	const rows, batch = 800, 100
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Int64}}, nil))
	defer rb.Release()
	var want int
	for i := range int64(rows) {
		for f, v := range []int64{i, i % 7, 4} {
			rb.Field(f).(*array.Int64Builder).Append(v)
		}
		if i%7 < 4 && i%10 == 7 {
			want++
		}
	}
	b := rb.NewRecordBatch()
	defer b.Release()
	var asked []int
	few := passing(func(v []string) bool { return strings.HasSuffix(v[0], "7") }, "n")
	pass := few.Pass
	few.Pass = func(cols []arrow.Array) ([]int32, bool, error) {
		asked = append(asked, cols[0].Len())
		return pass(cols)
	}
	got, came := readFlat(t, writeFlat(t, b, parquet.WithDictionaryDefault(false)), batch, expr.Col("a").Lt(expr.Col("b")), true, few)
	if len(got) != want || came != want {
		t.Errorf("%d rows came and %d of them fulfil the condition, want %d", came, len(got), want)
	}
	if want := []int{58, 100, 100, 100, 100, 100, 100, 100}; !slices.Equal(asked, want) {
		t.Errorf("the sieve was asked of %v rows, want %v", asked, want)
	}
}
