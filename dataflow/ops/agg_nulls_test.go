package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// Keys of every type, alone and beside another, of which the first null comes after many
// rows: groups that are there by then stay the same, also those that were spilled before.
func TestNullsComeLate(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 4))
	for _, key := range []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, i16, arrow.PrimitiveTypes.Int32, i64, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16,
		arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, date, arrow.FixedWidthTypes.Timestamp_us, &arrow.Decimal128Type{Precision: 38, Scale: 2},
		str, arrow.BinaryTypes.Binary,
	} {
		all := opstest.Random(memory.DefaultAllocator, rng, opstest.SchemaOf(key, i16, i64), 3000)
		in, want := nullsLast(t, all)
		for _, names := range [][]string{{"c0"}, {"c0", "c1"}, {"c1", "c0"}} {
			for _, limit := range []int64{0, 20 << 10} {
				t.Run(fmt.Sprintf("%s by %v within %d", key, names, limit), func(t *testing.T) {
					env := dataflow.NewEnv(t.Context())
					env.Memory, env.Temp, env.Spill = dataflow.NewMemory("test", limit), dataflow.DirTemp(t.TempDir()), block.NewSpill(block.None)
					o := aggregated(t, "final", expr.Expr{}, names, agg{"rows", "count", expr.Expr{}}, agg{"values", "count", expr.Col("c2")})
					if _, err := o.Schema(all.Schema()); err != nil {
						t.Fatal(err)
					}
					s, err := o.Open(env, &canned{bs: in})
					if err != nil {
						t.Fatal(err)
					}
					out, err := opstest.Collect(t.Context(), s)
					if err != nil {
						t.Fatal(err)
					}
					got := opstest.Rows(out...)
					slices.Sort(got)
					if expected := want(names); !slices.Equal(got, expected) {
						t.Errorf("%d groups, want %d", len(got), len(expected))
					}
				})
			}
		}
	}
}

// nullsLast orders rows so that those without nulls in the first two columns come first,
// in batches, and gives a plain loop that counts groups of them.
func nullsLast(t *testing.T, all dataflow.Batch) (in []dataflow.Batch, want func(keys []string) []string) {
	t.Helper()
	var first, last []int32
	for i := range int32(all.NumRows()) {
		if all.Column(0).IsNull(int(i)) || all.Column(1).IsNull(int(i)) {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	if len(first) == 0 || len(last) == 0 {
		t.Fatalf("%d rows without nulls, %d with some", len(first), len(last))
	}
	rows := append(first, last...)
	for len(rows) > 0 {
		n := min(500, len(rows))
		cols := make([]arrow.Array, all.NumCols())
		for c := range cols {
			var err error
			if cols[c], err = expr.Gather(memory.DefaultAllocator, all.Column(c), rows[:n]); err != nil {
				t.Fatal(err)
			}
		}
		in = append(in, array.NewRecordBatch(all.Schema(), cols, int64(n)))
		rows = rows[n:]
	}
	return in, func(keys []string) []string {
		groups := map[string][2]int{}
		for _, b := range in {
			for i := range int(b.NumRows()) {
				var cols []int
				for _, k := range keys {
					cols = append(cols, b.Schema().FieldIndices(k)[0])
				}
				k := opstest.Row(b, i, cols...)
				n := groups[k]
				n[0]++
				if b.Column(2).IsValid(i) {
					n[1]++
				}
				groups[k] = n
			}
		}
		var out []string
		for k, n := range groups {
			out = append(out, fmt.Sprintf("%s%d|%d|", k, n[0], n[1]))
		}
		slices.Sort(out)
		return out
	}
}
