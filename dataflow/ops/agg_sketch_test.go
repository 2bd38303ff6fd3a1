package ops

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/sketch"
	"github.com/divisi-data/divisi/internal/race"
)

// measured is rows of a group (sometimes null), a number (sometimes null) of so many
// different ones, and a float that is one of them too.
func measured(rows, groups, values int) dataflow.Batch {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(values)))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "g", Type: i64, Nullable: true}, {Name: "v", Type: i64, Nullable: true}, {Name: "f", Type: arrow.PrimitiveTypes.Float64},
	}, nil))
	defer rb.Release()
	for range rows {
		if g := rng.IntN(groups + 1); g == 0 {
			rb.Field(0).AppendNull()
		} else {
			rb.Field(0).(*array.Int64Builder).Append(int64(g))
		}
		if rng.IntN(9) == 0 {
			rb.Field(1).AppendNull()
		} else {
			rb.Field(1).(*array.Int64Builder).Append(rng.Int64N(int64(values)) - int64(values)/2)
		}
		rb.Field(2).(*array.Float64Builder).Append(float64(rng.IntN(values)-values/2) / 8)
	}
	return rb.NewRecordBatch()
}

var sketchAggs = []agg{
	{"rows", "count", expr.Expr{}}, {"sv", "sum", expr.Col("v")}, {"dv", "approx_distinct", expr.Col("v")}, {"q", "approx_quantile:0.25", expr.Col("v")},
	{"m", "approx_quantile:0.5", expr.Col("f")}, {"df", "approx_distinct", expr.Col("f")}, {"least", "min", expr.Col("f")},
}

// sketched is the oracle for sketchAggs: sketches of the sets of hashes, and ranks in
// sorted values, of which there must be few enough.
func sketched(t *testing.T, b dataflow.Batch) []string {
	t.Helper()
	v, f := b.Column(1).(*array.Int64), b.Column(2).(*array.Float64)
	groups := map[string][]int{}
	for i := range int(b.NumRows()) {
		k := opstest.Row(b, i, 0)
		groups[k] = append(groups[k], i)
	}
	var hashes [2][]uint64
	for c := range hashes {
		hashes[c] = make([]uint64, b.NumRows())
		if err := dataflow.HashColumns(hashes[c], b, []int{c + 1}); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for key, rows := range groups {
		var vs []int64
		var fs []float64
		var sum int64
		var dv, df sketch.Distinct
		exact := map[int64]bool{}
		for _, i := range rows {
			if v.IsValid(i) {
				vs = append(vs, v.Value(i))
				sum += v.Value(i)
				exact[v.Value(i)] = true
				dv.Add(hashes[0][i])
			}
			fs = append(fs, f.Value(i))
			df.Add(hashes[1][i])
		}
		if e := math.Abs(float64(dv.Count())/max(1, float64(len(exact))) - 1); len(exact) > 0 && e > 0.035 {
			t.Errorf("of %d values %d are found", len(exact), dv.Count())
		}
		slices.Sort(vs)
		slices.Sort(fs)
		at := func(n int, share float64) int { return max(0, int(math.Ceil(share*float64(n)))-1) }
		s, q := "null|", "null|"
		if len(vs) > 0 {
			s, q = fmt.Sprintf("%d|", sum), fmt.Sprintf("%d|", vs[at(len(vs), 0.25)])
		}
		want = append(want, fmt.Sprintf("%s%d|%s%d|%s%v|%d|%v|", key, len(rows), s, dv.Count(), q, fs[at(len(fs), 0.5)], df.Count(), fs[0]))
	}
	return want
}

// Whatever the size of batches and the memory, groups have the same sketches: they are
// spilled and merged.
func TestAggregateSketches(t *testing.T) {
	for _, c := range []struct{ rows, groups, values int }{{0, 1, 1}, {1, 1, 1}, {2000, 3, 100}, {9000, 40, 5000}, {9000, 2500, 9000}}[:race.Tries(5, 5, 4)] {
		b := measured(c.rows, c.groups, c.values)
		opts := []opstest.Option{opstest.Unordered()}
		if c.rows > 5000 {
			opts = append(opts, opstest.Spills())
		}
		opstest.Run(t, aggregated(t, "final", expr.Expr{}, []string{"g"}, sketchAggs...), []dataflow.Batch{b}, sketched(t, b), opts...)
	}
}

// Large batches: with some amounts of memory, of one pass rows are spilled, because their
// groups are new, and states, because groups grow.
func TestAggregateSpillsRowsAndStates(t *testing.T) {
	b := measured(12_000, 2500, 9000)
	want := sketched(t, b)
	slices.Sort(want)
	both := false
	for limit := int64(800); limit < 2000; limit += 100 {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		env := dataflow.NewEnv(t.Context())
		spill := &opstest.Spill{}
		env.Alloc, env.Memory, env.Spill = mem, dataflow.NewMemory("test", limit<<10), spill
		o := aggregated(t, "final", expr.Expr{}, []string{"g"}, sketchAggs...)
		if _, err := o.Schema(b.Schema()); err != nil {
			t.Fatal(err)
		}
		s, err := o.Open(env, opstest.Slice(mem, b, 3000))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			out, err := s.Next(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, opstest.Rows(out)...)
			out.Release()
			for _, r := range s.(*aggStream).pending {
				both = both || r.rows != nil && r.states != nil
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%d kB: %d groups, want %d", limit, len(got), len(want))
		}
		mem.AssertSize(t, 0)
		if env.Memory.Used() != 0 || spill.Live() != 0 {
			t.Errorf("%d kB: %d bytes are still reserved, %d runs remain", limit, env.Memory.Used(), spill.Live())
		}
	}
	if !both {
		t.Error("no run of rows had one of states beside it")
	}
}

// Groups of registers, each larger than the memory.
func TestAggregateLargeSketches(t *testing.T) {
	if race.Short() {
		t.Skip("many rows (-short, or the race detector is on)")
	}
	b := measured(60_000, 4, 1<<40)
	v := b.Column(1).(*array.Int64)
	groups, hashes := map[string]*sketch.Distinct{}, make([]uint64, b.NumRows())
	if err := dataflow.HashColumns(hashes, b, []int{1}); err != nil {
		t.Fatal(err)
	}
	for i := range int(b.NumRows()) {
		k := opstest.Row(b, i, 0)
		if groups[k] == nil {
			groups[k] = &sketch.Distinct{}
		}
		if v.IsValid(i) {
			groups[k].Add(hashes[i])
		}
	}
	var want []string
	for k, d := range groups {
		want = append(want, fmt.Sprintf("%s%d|", k, d.Count()))
	}
	opstest.Run(t, aggregated(t, "final", expr.Expr{}, []string{"g"}, agg{"dv", "approx_distinct", expr.Col("v")}), []dataflow.Batch{b}, want, opstest.Unordered(), opstest.Spills())
}

// Sketches of parts, merged, are as one sketch, whether the partial aggregate has memory
// or not, and where it lets rows pass; without rows there is nothing to find.
func TestAggregatePartialSketches(t *testing.T) {
	partial := []agg{{"dv", "distinct_sketch", expr.Col("v")}, {"q", "quantile_sketch", expr.Col("v")}, {"n", "count", expr.Expr{}}}
	final := []agg{{"dv", "distinct_of_sketches", expr.Col("dv")}, {"q", "quantile_of_sketches:0.75:int64?", expr.Col("q")}, {"n", "sum0", expr.Col("n")}}
	whole := []agg{{"dv", "approx_distinct", expr.Col("v")}, {"q", "approx_quantile:0.75", expr.Col("v")}, {"n", "count", expr.Expr{}}}
	for _, c := range []struct {
		rows, groups int
		limit        int64
	}{{0, 1, 0}, {600, 1, 0}, {6000, 20, 0}, {6000, 20, 8 << 10}, {6000, 5000, 20 << 10}, {60_000, 50_000, 0}}[:race.Tries(6, 6, 5)] {
		for _, keys := range [][]string{{"g"}, nil} {
			if keys == nil && c.rows > 800 {
				continue // too many for exact ranks
			}
			b := measured(c.rows, c.groups, 1000)
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			run := func(o dataflow.Operator, schema *arrow.Schema, in dataflow.Stream, limit int64) ([]dataflow.Batch, *arrow.Schema) {
				env := dataflow.NewEnv(t.Context())
				env.Alloc, env.Memory, env.BatchRows = mem, dataflow.NewMemory("test", limit), 500
				out, err := o.Schema(schema)
				if err != nil {
					t.Fatal(err)
				}
				s, err := o.Open(env, in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := opstest.Collect(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				if env.Memory.Used() != 0 {
					t.Error("memory is still reserved")
				}
				return got, out
			}
			mid, schema := run(aggregated(t, "partial", expr.Expr{}, keys, partial...), b.Schema(), opstest.Slice(mem, b, 500), c.limit)
			if groups := 0; c.limit > 0 {
				for _, m := range mid {
					groups += int(m.NumRows())
				}
				if groups <= c.groups+1 {
					t.Errorf("%d groups of %d: memory was not short", groups, c.groups)
				}
			}
			got, gotSchema := run(aggregated(t, "final", expr.Expr{}, keys, final...), schema, &canned{bs: mid}, 0)
			want, wantSchema := run(aggregated(t, "final", expr.Expr{}, keys, whole...), b.Schema(), opstest.Slice(mem, b, 500), 0)
			a, w := opstest.Rows(got...), opstest.Rows(want...)
			slices.Sort(a)
			slices.Sort(w)
			if !slices.Equal(a, w) || !gotSchema.Equal(wantSchema) {
				t.Errorf("%d rows by %v: %d groups of %s, want %d of %s", c.rows, keys, len(a), gotSchema, len(w), wantSchema)
			}
			for _, bs := range [][]dataflow.Batch{mid, got, want} {
				releaseBatches(bs)
			}
			mem.AssertSize(t, 0)
		}
	}
}

// Every type that has an order finds its values again, the least, the middle and the
// largest.
func TestQuantileTypes(t *testing.T) {
	types := []arrow.DataType{
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, i64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64,
		arrow.FixedWidthTypes.Time32s, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Timestamp_us, arrow.FixedWidthTypes.Duration_ns,
		&arrow.Decimal128Type{Precision: 15, Scale: 2},
	}
	for _, typ := range types {
		o, err := ordinalsOf(typ)
		if err != nil {
			t.Fatal(err)
		}
		rb := array.NewBuilder(memory.DefaultAllocator, typ)
		for _, x := range []int64{-100, -1, 0, 1, 99} {
			switch rb := rb.(type) {
			case *array.Float32Builder:
				rb.Append(float32(x) / 4)
			case *array.Float64Builder:
				rb.Append(float64(x) / 4)
			case *array.Uint64Builder:
				rb.Append(uint64(x + 100))
			default:
				if strings.HasPrefix(typ.Name(), "uint") {
					x += 100
				}
				appendWhole(rb, x)
			}
		}
		a := rb.NewArray()
		var last uint64
		for i := range a.Len() {
			v, err := o.of(a, i)
			if err != nil || i > 0 && v <= last {
				t.Errorf("%s: %s is not above the one before it (%v)", typ, a.ValueStr(i), err)
			}
			last = v
			o.append(rb, v)
		}
		back := rb.NewArray()
		if !array.Equal(a, back) {
			t.Errorf("%s: %s came back as %s", typ, a, back)
		}
	}
	large := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: 38})
	large.Append(decimal128.New(1, 0))
	if _, err := wholeOrdinals.of(large.NewArray(), 0); err == nil || !strings.Contains(err.Error(), "cast it to float64") {
		t.Errorf("a long decimal: %v", err)
	}
}

func TestSketchesRefuse(t *testing.T) {
	b := sales(1, 1)
	for fn, want := range map[string]string{
		"approx_quantile:1.5": "from 0 to 1", "approx_quantile:NaN": "from 0 to 1", "approx_quantile": "from 0 to 1",
		"distinct_of_sketches": "not at a column of type",
	} {
		if _, err := aggregated(t, "final", expr.Expr{}, []string{"k"}, agg{"x", fn, expr.Col("n")}).Schema(b.Schema()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", fn, err, want)
		}
	}
	if _, err := aggregated(t, "final", expr.Expr{}, []string{"n"}, agg{"x", "approx_quantile:0.5", expr.Col("k")}).Schema(b.Schema()); err == nil || !strings.Contains(err.Error(), "has no quantiles") {
		t.Errorf("text: %v", err)
	}
}
