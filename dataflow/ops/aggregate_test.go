package ops

import (
	"context"
	"fmt"
	"math/big"
	"math/bits"
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
	"github.com/divisi-data/divisi/internal/race"
)

var (
	dec  = &arrow.Decimal128Type{Precision: 15, Scale: 2}
	date = arrow.FixedWidthTypes.Date32
)

// sales has columns k (text, some long), g (int16), d (date), m (decimal, nullable), n
// (int64, never null), f (float64 of halves, so that sums are exact).
func sales(rows, groups int) dataflow.Batch {
	rng := rand.New(rand.NewPCG(uint64(rows), uint64(groups)))
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: str, Nullable: true}, {Name: "g", Type: i16, Nullable: true}, {Name: "d", Type: date}, {Name: "m", Type: dec, Nullable: true},
		{Name: "n", Type: i64}, {Name: "f", Type: arrow.PrimitiveTypes.Float64},
	}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for range rows {
		g := rng.IntN(groups)
		if rng.IntN(4) == 0 {
			g = 0 // skew
		}
		switch {
		case g%7 == 3:
			rb.Field(0).AppendNull()
		case g%3 == 0:
			rb.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("a long name of a group %d", g))
		default:
			rb.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("k%d", g))
		}
		if g%11 == 5 {
			rb.Field(1).AppendNull()
		} else {
			rb.Field(1).(*array.Int16Builder).Append(int16(g % 5))
		}
		rb.Field(2).(*array.Date32Builder).Append(arrow.Date32(g))
		if rng.IntN(6) == 0 {
			rb.Field(3).AppendNull()
		} else {
			rb.Field(3).(*array.Decimal128Builder).Append(decimal128.FromI64(rng.Int64N(1e12) - 5e11))
		}
		rb.Field(4).(*array.Int64Builder).Append(rng.Int64N(1000) - 500)
		rb.Field(5).(*array.Float64Builder).Append(float64(rng.IntN(1000)) / 2)
	}
	return rb.NewRecordBatch()
}

func aggregated(t *testing.T, mode string, where expr.Expr, keys []string, aggs ...agg) dataflow.Operator {
	a := args{"aggs": aggs, "mode": mode}
	var ks []named
	for _, k := range keys {
		ks = append(ks, named{k, expr.Col(k)})
	}
	if ks != nil {
		a["keys"] = ks
	}
	if !where.IsZero() {
		a["where"] = where
	}
	return op(t, "aggregate", a)
}

var allAggs = []agg{
	{"rows", "count", expr.Expr{}}, {"ms", "count", expr.Col("m")}, {"sm", "sum", expr.Col("m")}, {"zm", "sum0", expr.Col("m")}, {"sn", "sum", expr.Col("n")},
	{"twice", "sum", expr.Col("n").Mul(2)}, {"sf", "sum", expr.Col("f")}, {"least", "min", expr.Col("m")}, {"last", "max", expr.Col("d")}, {"first", "min", expr.Col("k")},
	{"most", "max", expr.Col("f")}, {"some", "any", expr.Col("n").IsNull()},
}

// grouped is the oracle: a map of the groups' rows, and sums by math/big.
func grouped(b dataflow.Batch, keep func(i int) bool, keys ...int) []string {
	groups := map[string][]int{}
	for i := range int(b.NumRows()) {
		if keep == nil || keep(i) {
			k := ""
			if len(keys) > 0 {
				k = opstest.Row(b, i, keys...)
			}
			groups[k] = append(groups[k], i)
		}
	}
	if len(keys) == 0 && len(groups) == 0 {
		groups[""] = nil
	}
	m, n, f := b.Column(3).(*array.Decimal128), b.Column(4).(*array.Int64), b.Column(5).(*array.Float64)
	out := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64, i64, &arrow.Decimal128Type{Precision: 38, Scale: 2}, &arrow.Decimal128Type{Precision: 38, Scale: 2}, i64, i64, arrow.PrimitiveTypes.Float64, dec, date, str, arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Boolean))
	defer out.Release()
	var want []string
	for key, rows := range groups {
		sum, count, sn, sf, most := new(big.Int), 0, int64(0), 0.0, 0.0
		var least *big.Int
		var last arrow.Date32
		first, texts := "", 0
		for _, i := range rows {
			if m.IsValid(i) {
				v := m.Value(i).BigInt()
				sum.Add(sum, v)
				count++
				if least == nil || v.Cmp(least) < 0 {
					least = v
				}
			}
			sn += n.Value(i)
			sf += f.Value(i)
			most = max(most, f.Value(i))
			last = max(last, b.Column(2).(*array.Date32).Value(i))
			if k := b.Column(0).(*array.String); k.IsValid(i) && (texts == 0 || k.Value(i) < first) {
				first = k.Value(i)
				texts++
			}
		}
		null := func(c int, is bool, put func()) {
			if is {
				out.Field(c).AppendNull()
			} else {
				put()
			}
		}
		empty := len(rows) == 0
		out.Field(0).(*array.Int64Builder).Append(int64(len(rows)))
		out.Field(1).(*array.Int64Builder).Append(int64(count))
		null(2, count == 0, func() { out.Field(2).(*array.Decimal128Builder).Append(decimal128.FromBigInt(sum)) })
		out.Field(3).(*array.Decimal128Builder).Append(decimal128.FromBigInt(sum))
		null(4, empty, func() { out.Field(4).(*array.Int64Builder).Append(sn) })
		null(5, empty, func() { out.Field(5).(*array.Int64Builder).Append(2 * sn) })
		null(6, empty, func() { out.Field(6).(*array.Float64Builder).Append(sf) })
		null(7, count == 0, func() { out.Field(7).(*array.Decimal128Builder).Append(decimal128.FromBigInt(least)) })
		null(8, empty, func() { out.Field(8).(*array.Date32Builder).Append(last) })
		null(9, texts == 0, func() { out.Field(9).(*array.StringBuilder).Append(first) })
		null(10, empty, func() { out.Field(10).(*array.Float64Builder).Append(most) })
		null(11, empty, func() { out.Field(11).(*array.BooleanBuilder).Append(false) })
		row := out.NewRecordBatch()
		text := opstest.Row(row, 0)
		row.Release()
		want = append(want, key+text)
	}
	return want
}

func TestAggregateFinal(t *testing.T) {
	for _, c := range []struct{ rows, groups int }{{0, 1}, {1, 1}, {50, 3}, {1500, 450}} {
		b := sales(c.rows, c.groups)
		for _, keys := range [][]string{{"k"}, {"g"}, {"d"}, {"k", "g", "d"}, {"m", "k"}, {"d", "f"}, {}}[race.Tries(0, 0, 3):] {
			t.Run(fmt.Sprintf("%d rows by %v", c.rows, keys), func(t *testing.T) {
				var cols []int
				for _, k := range keys {
					cols = append(cols, b.Schema().FieldIndices(k)[0])
				}
				opts := []opstest.Option{opstest.Unordered()}
				if c.rows > 1000 && len(keys) > 0 && keys[0] != "g" {
					opts = append(opts, opstest.Spills())
				}
				opstest.Run(t, aggregated(t, "final", expr.Expr{}, keys, allAggs...), []dataflow.Batch{b}, grouped(b, nil, cols...), opts...)
			})
		}
	}
	b := sales(700, 40)
	n := b.Column(4).(*array.Int64)
	opstest.Run(t, aggregated(t, "final", expr.Col("n").Gt(100), []string{"k"}, allAggs...), []dataflow.Batch{b},
		grouped(b, func(i int) bool { return n.Value(i) > 100 }, 0), opstest.Unordered())
	for _, keys := range [][]string{nil, {"k"}, {"d", "g"}}[race.Tries(0, 0, 2):] { // nearly all rows pass
		var cols []int
		for _, k := range keys {
			cols = append(cols, b.Schema().FieldIndices(k)[0])
		}
		opstest.Run(t, aggregated(t, "final", expr.Col("n").Gt(-450), keys, allAggs...), []dataflow.Batch{b},
			grouped(b, func(i int) bool { return n.Value(i) > -450 }, cols...), opstest.Unordered())
	}
	opstest.Run(t, aggregated(t, "final", expr.Col("n").Gt(10_000), nil, allAggs...), []dataflow.Batch{b},
		grouped(b, func(int) bool { return false }), opstest.Unordered())
}

// A partial aggregate and a final one behind it are as one, however little memory
// the partial one has, and also where it lets rows pass.
func TestAggregatePartial(t *testing.T) {
	partial := []agg{{"rows", "count", expr.Expr{}}, {"sm", "sum", expr.Col("m")}, {"least", "min", expr.Col("m")}}
	final := []agg{{"rows", "sum0", expr.Col("rows")}, {"sm", "sum", expr.Col("sm")}, {"least", "min", expr.Col("least")}}
	for _, c := range []struct {
		rows, groups int
		limit        int64
	}{{0, 1, 0}, {3000, 20, 0}, {3000, 2500, 20 << 10}, {120_000, 100_000, 0}}[:race.Tries(4, 4, 3)] {
		b := sales(c.rows, c.groups)
		for _, keys := range [][]string{{"d"}, {"k", "g"}, nil} {
			if c.rows > 100_000 && keys != nil && keys[0] != "d" {
				continue
			}
			env := dataflow.NewEnv(t.Context())
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			env.Alloc, env.Memory, env.BatchRows = mem, dataflow.NewMemory("test", c.limit), 1000
			run := func(o dataflow.Operator, schema *arrow.Schema, in dataflow.Stream) ([]dataflow.Batch, *arrow.Schema) {
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
				return got, out
			}
			mid, schema := run(aggregated(t, "partial", expr.Expr{}, keys, partial...), b.Schema(), opstest.Slice(mem, b, 1000))
			env.Memory = dataflow.NewMemory("test", 0)
			got, _ := run(aggregated(t, "final", expr.Expr{}, keys, final...), schema, &canned{bs: mid})
			want, _ := run(aggregated(t, "final", expr.Expr{}, keys, partial...), b.Schema(), opstest.Slice(mem, b, 1000))
			a, w := opstest.Rows(got...), opstest.Rows(want...)
			slices.Sort(a)
			slices.Sort(w)
			if !slices.Equal(a, w) {
				t.Errorf("%d rows by %v: %d groups, want %d", c.rows, keys, len(a), len(w))
			}
			for _, bs := range [][]dataflow.Batch{mid, got, want} {
				releaseBatches(bs)
			}
			mem.AssertSize(t, 0)
			if env.Memory.Used() != 0 {
				t.Error("memory is still reserved")
			}
		}
	}
}

// lender takes memory away while batches are read, and gives it back before others.
type lender struct {
	dataflow.Stream
	memory *dataflow.Memory
	lent   int64
	reads  int
}

func (l *lender) Next(ctx context.Context) (dataflow.Batch, error) {
	if l.reads++; l.reads%3 == 2 { // all but a little
		l.lent = 1 << 20
		for ; l.lent > 0 && !l.memory.TryReserve(l.lent); l.lent -= 512 {
		}
	} else if l.lent > 0 {
		l.memory.Release(l.lent)
		l.lent = 0
	}
	return l.Stream.Next(ctx)
}

// Other tasks take memory and give it back: a group that found no room, and would find
// some later, is one group all the same.
func TestAggregateMemoryComesAndGoes(t *testing.T) {
	b := sales(4000, 1200)
	for _, keys := range [][]string{{"n"}, {"k", "g"}} {
		var cols []int
		for _, k := range keys {
			cols = append(cols, b.Schema().FieldIndices(k)[0])
		}
		env, spill := dataflow.NewEnv(t.Context()), &opstest.Spill{}
		env.Memory, env.Spill = dataflow.NewMemory("test", 1<<20), spill
		o := aggregated(t, "final", expr.Expr{}, keys, allAggs...)
		if _, err := o.Schema(b.Schema()); err != nil {
			t.Fatal(err)
		}
		s, err := o.Open(env, &lender{Stream: opstest.Slice(memory.DefaultAllocator, b, 200), memory: env.Memory.Child("others", 0)})
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		got, want := opstest.Rows(out...), grouped(b, nil, cols...)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("by %v: %d groups, want %d", keys, len(got), len(want))
		}
		if spill.Made() == 0 {
			t.Errorf("by %v: nothing was spilled", keys)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// One slot of the table takes many keys, also in a table so large that rows are looked for
// ahead, and keys stay found when it grows.
func TestGroupsCollide(t *testing.T) {
	for _, size := range []int{1024, aheadSlots} {
		g := &groupTable{}
		g.init([]arrow.Field{{Name: "k", Type: i64}, {Name: "l", Type: i64}})
		g.room = func(int, int64) bool { return true }
		n := 500
		g.words, g.hashes = make([]uint64, 2*n), make([]uint64, n)
		for i := range n {
			g.words[2*i], g.words[2*i+1] = uint64(i%100), 7
			g.hashes[i] = 5 // as if all hashes were alike
		}
		gids := make([]int32, n)
		g.slots, g.shift = make([]uint64, size), uint(32-bits.Len(uint(size-1)))
		rows := make([]int32, n)
		for i := range rows {
			rows[i] = int32(i)
		}
		find := g.findWords
		if size >= aheadSlots {
			find = g.findAhead
		}
		for range 2 {
			find(rows, gids)
			for i, id := range gids {
				if int(id) != i%100+1 {
					t.Fatalf("row %d is in group %d", i, id)
				}
			}
			g.rehash()
		}
	}
}

// A table grows through all sizes, beside a map.
func TestGroupsGrow(t *testing.T) {
	for _, fields := range [][]arrow.Field{{{Name: "k", Type: i64}}, {{Name: "k", Type: i64, Nullable: true}}} {
		g := &groupTable{}
		g.init(fields)
		g.room = func(int, int64) bool { return true }
		rng := rand.New(rand.NewPCG(3, 5))
		want := map[int64]int32{}
		sel, gids := make([]int32, 1000), make([]int32, 1000)
		for i := range sel {
			sel[i] = int32(i)
		}
		for g.n < 4*aheadSlots {
			b := array.NewInt64Builder(memory.DefaultAllocator)
			for range sel {
				k := rng.Int64N(5 * aheadSlots)
				if k == 7 && fields[0].Nullable {
					b.AppendNull()
					continue
				}
				b.Append(k << (k % 40)) // of all magnitudes
			}
			a := b.NewInt64Array()
			if missed := g.find([]arrow.Array{a}, len(sel), sel, gids); len(missed) > 0 {
				t.Fatalf("%d rows found no room", len(missed))
			}
			for i, id := range gids {
				k := int64(-1)
				if a.IsValid(i) {
					k = a.Value(i)
				}
				if have, ok := want[k]; !ok && int(id) != len(want)+1 || ok && have != id {
					t.Fatalf("%d is in group %d, was in %d of %d", k, id, have, len(want))
				}
				want[k] = id
			}
			a.Release()
			b.Release()
		}
		if len(want) != g.n-1 {
			t.Errorf("%d groups, want %d", g.n-1, len(want))
		}
	}
}

func TestAggregateRefuses(t *testing.T) {
	b := sales(1, 1)
	for _, c := range []struct {
		op   dataflow.Operator
		want string
	}{
		{aggregated(t, "final", expr.Expr{}, []string{"nix"}, allAggs...), `no column "nix"`},
		{aggregated(t, "final", expr.Expr{}, []string{"k"}, agg{"x", "sum", expr.Col("k")}), "has no sum"},
		{aggregated(t, "final", expr.Expr{}, []string{"k"}, agg{"x", "median", expr.Col("n")}), "no aggregate"},
		{aggregated(t, "final", expr.Col("n"), []string{"k"}), "no condition"},
	} {
		if _, err := c.op.Schema(b.Schema()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// A sum that does not fit is the data's fault: the task is not tried again, wherever it
// was noticed.
func TestSumsTooLarge(t *testing.T) {
	large := new(big.Int).Exp(big.NewInt(10), big.NewInt(37), nil)
	for _, rows := range []int{9, 11, 40} { // fits, of more than 38 digits, and of more than 128 bits
		rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(&arrow.Decimal128Type{Precision: 38}, arrow.PrimitiveTypes.Int64))
		for range rows {
			rb.Field(0).(*array.Decimal128Builder).Append(decimal128.FromBigInt(large))
			rb.Field(1).(*array.Int64Builder).Append(1 << 60)
		}
		b := rb.NewRecordBatch()
		for c, field := range b.Schema().Fields() {
			o := aggregated(t, "final", expr.Expr{}, nil, agg{"x", "sum", expr.Col(field.Name)})
			if _, err := o.Schema(b.Schema()); err != nil {
				t.Fatal(err)
			}
			s, err := o.Open(dataflow.NewEnv(t.Context()), &canned{bs: []dataflow.Batch{b}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = opstest.Collect(t.Context(), s)
			if fits := rows == 9 && c == 0; fits != (err == nil) || !fits && (dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "cast what is summed")) {
				t.Errorf("%d rows, column %d: %v", rows, c, err)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	b := sales(700, 40)
	n := b.Column(4).(*array.Int64)
	for _, low := range []int64{-10_000, 0, 400, 10_000} {
		var want, all []string
		out := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64, str))
		for i := range int(b.NumRows()) {
			if n.Value(i) <= low {
				continue
			}
			all = append(all, opstest.Row(b, i))
			out.Field(0).(*array.Int64Builder).Append(n.Value(i) * 2)
			if k := b.Column(0).(*array.String); k.IsNull(i) {
				out.Field(1).AppendNull()
			} else {
				out.Field(1).(*array.StringBuilder).Append(k.Value(i))
			}
		}
		rows := out.NewRecordBatch()
		want = opstest.Rows(rows)
		rows.Release()
		out.Release()
		where := expr.Col("n").Gt(low)
		opstest.Run(t, op(t, "select", args{"where": where, "columns": []named{{"twice", expr.Col("n").Mul(2)}, {"k", expr.Col("k")}}}), []dataflow.Batch{b}, want)
		opstest.Run(t, op(t, "select", args{"where": where}), []dataflow.Batch{b}, all)
	}
	// An error names the value.
	o := op(t, "select", args{"columns": []named{{"x", expr.Lit(1).IntDiv(expr.Col("n").Sub(expr.Col("n")))}}})
	s, err := o.Open(dataflow.NewEnv(t.Context()), opstest.Slice(memory.DefaultAllocator, b, 10))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = opstest.Collect(t.Context(), s); err == nil || !strings.Contains(err.Error(), "division by zero: 1") || dataflow.KindOf(err) != dataflow.User {
		t.Errorf("the error is %v", err)
	}
}
