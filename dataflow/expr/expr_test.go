package expr

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

var testAlloc = memory.DefaultAllocator

var berlin = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/Berlin"}

var testSchema = arrow.NewSchema([]arrow.Field{
	{Name: "b", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	{Name: "c", Type: arrow.FixedWidthTypes.Boolean},
	{Name: "i8", Type: arrow.PrimitiveTypes.Int8, Nullable: true},
	{Name: "i32", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
	{Name: "i64", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	{Name: "j64", Type: arrow.PrimitiveTypes.Int64},
	{Name: "u64", Type: arrow.PrimitiveTypes.Uint64, Nullable: true},
	{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
	{Name: "f32", Type: arrow.PrimitiveTypes.Float32},
	{Name: "d2", Type: decimalOf(15, 2), Nullable: true},
	{Name: "e2", Type: decimalOf(15, 2)},
	{Name: "d20", Type: decimalOf(38, 20), Nullable: true},
	{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "t", Type: arrow.BinaryTypes.String},
	{Name: "day", Type: arrow.FixedWidthTypes.Date32, Nullable: true},
	{Name: "ts", Type: berlin, Nullable: true},
	{Name: "ms", Type: &arrow.TimestampType{Unit: arrow.Millisecond}},
}, nil)

var words = []string{"", "a", "ab", "abc", "promo steel", "PROMO BRASS", "éa", "日本語", " x ", "12", "-3.75", "special requests", "a%b", "a_b", "a\\b", strings.Repeat("xy", 20)}

func testBatch(rng *rand.Rand, rows int) arrow.RecordBatch {
	rb := array.NewRecordBuilder(testAlloc, testSchema)
	defer rb.Release()
	ints := []int64{0, 1, -1, 2, 3, 7, 100, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64, 1 << 53, 1<<53 + 1}
	for range rows {
		for i, f := range testSchema.Fields() {
			if f.Nullable && rng.IntN(5) == 0 {
				rb.Field(i).AppendNull()
				continue
			}
			n := ints[rng.IntN(len(ints))]
			if rng.IntN(2) == 0 {
				n = rng.Int64N(200) - 100
			}
			switch b := rb.Field(i).(type) {
			case *array.BooleanBuilder:
				b.Append(rng.IntN(2) == 0)
			case *array.Int8Builder:
				b.Append(int8(n))
			case *array.Int32Builder:
				b.Append(int32(n))
			case *array.Int64Builder:
				b.Append(n)
			case *array.Uint64Builder:
				b.Append(uint64(n))
			case *array.Float64Builder:
				b.Append([]float64{0, math.Copysign(0, -1), 1.5, -2.25, math.NaN(), math.Inf(1), 1e30, 0.1}[rng.IntN(8)])
			case *array.Float32Builder:
				b.Append([]float32{0, 1.5, -2.25, 100, 0.1}[rng.IntN(5)])
			case *array.Decimal128Builder:
				d := decimal128.FromI64(n % 1e13)
				if f.Name == "d20" && rng.IntN(3) == 0 {
					d = decimal128.New(rng.Int64N(1<<60)-1<<59, rng.Uint64())
				}
				b.Append(d)
			case *array.StringBuilder:
				b.Append(words[rng.IntN(len(words))])
			case *array.Date32Builder:
				b.Append(arrow.Date32(rng.Int32N(80000) - 40000))
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp(rng.Int64N(4e15) - 1e15))
			}
		}
	}
	return rb.NewRecordBatch()
}

// A generator makes random expressions of a wanted sort.
type generator struct{ *rand.Rand }

func (g generator) pick(es ...func() Expr) Expr { return es[g.IntN(len(es))]() }

func (g generator) number(depth int) Expr {
	if depth == 0 || g.IntN(4) == 0 {
		return []Expr{Col("i8"), Col("i32"), Col("i64"), Col("j64"), Col("u64"), Col("f"), Col("f32"), Col("d2"), Col("e2"), Col("d20"),
			Lit(3), Lit(int32(-7)), Lit(0), Dec("0.05"), Dec("-12.5"), Lit(2.5), Lit(math.MaxInt64), Null(arrow.PrimitiveTypes.Int64)}[g.IntN(18)]
	}
	x := func() Expr { return g.number(depth - 1) }
	return g.pick(
		func() Expr { return x().Add(x()) }, func() Expr { return x().Sub(x()) }, func() Expr { return x().Mul(x()) },
		func() Expr { return x().Div(x()) }, func() Expr { return x().Neg() }, func() Expr { return x().Abs() },
		func() Expr { return If(g.cond(depth-1), x(), x()) }, func() Expr { return Coalesce(x(), x(), x()) },
		func() Expr { return g.integer(depth - 1) }, func() Expr { return x().Cast(decimalOf(20, 3)) }, func() Expr { return x().Cast(arrow.PrimitiveTypes.Int32) },
		func() Expr { return g.text(depth - 1).Cast(decimalOf(10, 1)) },
	)
}

func (g generator) integer(depth int) Expr {
	if depth == 0 || g.IntN(4) == 0 {
		return []Expr{Col("i8"), Col("i32"), Col("i64"), Col("j64"), Lit(3), Lit(-2), Lit(0)}[g.IntN(7)]
	}
	x := func() Expr { return g.integer(depth - 1) }
	return g.pick(
		func() Expr { return x().Add(x()) }, func() Expr { return x().IntDiv(x()) }, func() Expr { return x().Mod(x()) },
		func() Expr { return Case().When(g.cond(depth-1), x()).When(g.cond(depth-1), x()).End() },
		func() Expr { return g.time(depth - 1).Year() }, func() Expr { return g.time(depth - 1).Month() }, func() Expr { return g.time(depth - 1).Day() },
		func() Expr { return g.time(depth - 1).Weekday() }, func() Expr { return Col("ts").Hour() },
		func() Expr { return g.text(depth - 1).Length() }, func() Expr { return g.text(depth - 1).Position(g.text(0)) },
	)
}

func (g generator) text(depth int) Expr {
	if depth == 0 || g.IntN(4) == 0 {
		return []Expr{Col("s"), Col("t"), Lit(words[g.IntN(len(words))]), Null(arrow.BinaryTypes.String)}[g.IntN(4)]
	}
	x := func() Expr { return g.text(depth - 1) }
	return g.pick(
		func() Expr { return x().Substr(g.integer(0), g.IntN(4)) }, func() Expr { return x().Upper() }, func() Expr { return x().Lower() },
		func() Expr { return x().Trim() }, func() Expr { return x().Concat(x()) }, func() Expr { return If(g.cond(depth-1), x(), x()) },
		func() Expr { return Coalesce(x(), x()) }, func() Expr { return x().NullIf("a") },
	)
}

func (g generator) time(depth int) Expr {
	if depth == 0 || g.IntN(3) == 0 {
		return []Expr{Col("day"), Col("ts"), Col("ms"), Date("1998-12-01")}[g.IntN(4)]
	}
	x := func() Expr { return g.time(depth - 1) }
	return g.pick(
		func() Expr { return x().AddMonths(g.IntN(30) - 15) }, func() Expr { return x().AddDays(Lit(g.IntN(400) - 200)) },
		func() Expr { return x().Truncate([]string{"year", "month", "week", "day"}[g.IntN(4)]) },
	)
}

func (g generator) cond(depth int) Expr {
	if depth == 0 || g.IntN(6) == 0 {
		return []Expr{Col("b"), Col("c"), Lit(true), Lit(false), Null(arrow.FixedWidthTypes.Boolean), Col("i64").IsNull(), Col("d2").Gt(3)}[g.IntN(7)]
	}
	x := func() Expr { return g.cond(depth - 1) }
	compare := func(a, b Expr) Expr {
		return []Expr{a.Eq(b), a.Ne(b), a.Lt(b), a.Le(b), a.Gt(b), a.Ge(b)}[g.IntN(6)]
	}
	return g.pick(
		func() Expr { return x().And(x()) }, func() Expr { return x().Or(x()) }, func() Expr { return x().Not() },
		func() Expr { return compare(g.number(depth-1), g.number(depth-1)) }, func() Expr { return compare(g.text(depth-1), g.text(depth-1)) },
		func() Expr { return compare(Col("day"), Date("1970-05-01")) }, func() Expr { return compare(Col("i32"), Lit(g.IntN(5))) },
		func() Expr {
			return g.text(depth - 1).Like([]string{"%", "a%", "%a", "%o%", "a_b", "%s%req%", "a\\%b", "_本%", "PROMO%", "", "%_x_%"}[g.IntN(11)])
		},
		func() Expr { return g.number(depth - 1).IsNull() }, func() Expr { return g.text(depth-1).In("a", "12", "日本語") },
		func() Expr { return g.integer(depth-1).In(1, 2, 3, 4, 5, 6, -1) }, func() Expr { return g.number(depth-1).In(1, Dec("2.5"), Col("j64")) },
		func() Expr { return g.number(depth-1).Between(0, 50) },
	)
}

// check compares kernels and oracle for all rows of a batch; it reports how many
// rows had a value.
func check(t *testing.T, e Expr, b arrow.RecordBatch) (values int) {
	t.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Expr
	if err := json.Unmarshal(raw, &back); err != nil || back.String() != e.String() {
		t.Fatalf("%s comes back from JSON as %s: %v", e, back, err)
	}
	bound, err := Bind(b.Schema(), back)
	if err != nil {
		return 0 // the types do not fit, or a scale is too large
	}
	typeOf := func(e Expr) arrow.DataType {
		b, err := Bind(testSchema, e)
		if err != nil {
			t.Fatal(err)
		}
		return b.Type()
	}
	want := make([]any, b.NumRows())
	var failed []int
	for i := range want {
		if want[i], err = oracle(e, b, i, typeOf); err != nil {
			failed = append(failed, i)
		}
	}
	mem := memory.NewCheckedAllocator(testAlloc)
	defer mem.AssertSize(t, 0)
	ev := bound.Evaluator(mem)
	var sel []int32 // rows that do not fail, backwards
	for i := len(want) - 1; i >= 0; i-- {
		if !slices.Contains(failed, i) {
			sel = append(sel, int32(i))
		}
	}
	for _, rows := range [][]int32{nil, sel} {
		if rows != nil && len(rows) == 0 {
			continue
		}
		out, err := ev.Eval(b, rows)
		if err != nil {
			var at *RowError
			if rows == nil && len(failed) > 0 && errors.As(err, &at) {
				continue
			}
			if strings.Contains(err.Error(), "rescale(") {
				continue // bringing a value to the common scale fails, also beside a null
			}
			t.Fatalf("%s: %v (the oracle fails on rows %v)", e, err, failed)
		}
		if rows == nil && len(failed) > 0 && e.n.op != "isnull" && e.n.op != "not" && bound.Type().ID() != arrow.BOOL {
			failing := e.String()
			if !strings.Contains(failing, "case") && !strings.Contains(failing, "coalesce") && !strings.Contains(failing, "null") {
				out[0].Release()
				t.Fatalf("%s does not fail, which the oracle does on rows %v", e, failed)
			}
		}
		a := out[0]
		for k := range a.Len() {
			i := k
			if rows != nil {
				i = int(rows[k])
			}
			if slices.Contains(failed, i) { // what decides nothing need not be worked out
				continue
			}
			got, wanted := cell(a, k), want[i]
			if bound.Type().ID() == arrow.FLOAT64 || bound.Type().ID() == arrow.FLOAT32 {
				if r, ok := wanted.(interface{ Float64() (float64, bool) }); ok {
					wanted, _ = r.Float64()
				}
			}
			if show(got) != show(wanted) {
				t.Fatalf("%s, row %d of %d (%d selected): %s, want %s\n%s", e, i, len(want), len(rows), show(got), show(wanted), describe(b, i))
			}
			if got == nil && !bound.Fields()[0].Nullable {
				t.Fatalf("%s gives a null, which it promised not to", e)
			}
			if got != nil {
				values++
			}
		}
		a.Release()
	}
	if bound.Type().ID() == arrow.BOOL && len(failed) == 0 {
		checkSelect(t, e, b, want)
	}
	return values
}

func checkSelect(t *testing.T, e Expr, b arrow.RecordBatch, want []any) {
	t.Helper()
	f, err := BindFilter(b.Schema(), e)
	if err != nil {
		t.Fatal(err)
	}
	rows, all, err := f.Evaluator(testAlloc).Select(b)
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	var wanted []int32
	for i, v := range want {
		if v == true {
			wanted = append(wanted, int32(i))
		}
	}
	if !slices.Equal(rows, wanted) || all != (len(wanted) == len(want)) {
		t.Fatalf("Select(%s): %v (all: %v), want %v", e, rows, all, wanted)
	}
}

func describe(b arrow.RecordBatch, i int) string {
	var parts []string
	for c, col := range b.Columns() {
		parts = append(parts, b.ColumnName(c)+"="+show(cell(col, i)))
	}
	return strings.Join(parts, " ")
}

// Kernels and a row-by-row oracle agree on random expressions over random rows, in
// slices with offsets and for selected rows.
func TestKernelsAgainstOracle(t *testing.T) {
	values := 0
	for seed := range uint64(1500) {
		values += randomCheck(t, seed)
	}
	if values < 10_000 {
		t.Errorf("only %d values were compared", values)
	}
}

func randomCheck(t *testing.T, seed uint64) int {
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	b := testBatch(g.Rand, 1+g.IntN(40))
	from := g.Int64N(b.NumRows())
	b = b.NewSlice(from, b.NumRows())
	e := []func(int) Expr{g.number, g.integer, g.text, g.time, g.cond, g.cond}[g.IntN(6)](1 + g.IntN(3))
	return check(t, e, b)
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { randomCheck(t, seed) })
}

// Decoding never crashes, and what decodes is written and read the same.
func FuzzJSON(f *testing.F) {
	for _, e := range []Expr{Col("a").Add(1), Date("1998-12-01").AddDays(-90), Lit("x\xff"), Col("s").Like("%a"), If(Col("b"), 1, Dec("2.5"))} {
		raw, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var e Expr
		if json.Unmarshal(raw, &e) != nil {
			return
		}
		_, _ = Bind(testSchema, e)
		again, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back Expr
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		third, _ := json.Marshal(back)
		if string(third) != string(again) {
			t.Fatalf("%s becomes %s", again, third)
		}
	})
}

func TestErrorsSayWhat(t *testing.T) {
	for _, c := range []struct {
		e    Expr
		want string
	}{
		{Col("nix"), `there is no column "nix"`},
		{Col("s").Add(1), "s is of type string, not a number"},
		{Col("s").Eq(1), "types that do not compare"},
		{Date("1998-13-01"), "is no date"},
		{Col("day").Hour(), "a date has no hour"},
		{Col("s").Matches("("), "missing closing"},
		{Call("nix"), `no function "nix"`},
		{Lit(struct{}{}), "cannot be a literal"},
		{Dec("1.x"), "is no decimal"},
	} {
		if _, err := Bind(testSchema, c.e); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.e, err, c.want)
		}
	}
	b := testBatch(rand.New(rand.NewPCG(1, 1)), 50)
	bound, err := Bind(testSchema, Col("j64").Mul(Lit(math.MaxInt64)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = bound.Evaluator(testAlloc).Eval(b, nil)
	var at *RowError
	if !errors.As(err, &at) || !strings.Contains(err.Error(), "integer overflow") {
		t.Fatal(err)
	}
	if v := fmt.Sprint(b.Column(5).(*array.Int64).Value(at.Row)); !strings.Contains(err.Error(), v+" * ") {
		t.Errorf("%v does not name row %d's value %s", err, at.Row, v)
	}
}

func TestConstantsAreFolded(t *testing.T) {
	for _, e := range []Expr{
		Date("1994-01-01").AddMonths(12), Lit(1).Add(2).Mul(Dec("0.5")), Lit("a").Concat("b").Like("a%"),
		Col("b").And(false), Col("s").Eq(Null(arrow.BinaryTypes.String)), Col("c").IsNull(),
	} {
		b, err := Bind(testSchema, e)
		if err != nil || b.roots[0].lit == nil {
			t.Errorf("%s is not constant (%v)", e, err)
		}
	}
	// What occurs twice is one.
	x := Col("d2").Mul(Lit(1).Sub(Col("e2")))
	b, err := Bind(testSchema, x, x.Mul(2))
	if err != nil || b.roots[1].args[0] != b.roots[0] {
		t.Errorf("the product is worked out twice (%v)", err)
	}
}

func TestFunctions(t *testing.T) {
	Register(Function{Name: "twice",
		Type: func(args []arrow.DataType) (arrow.DataType, error) { return args[0], nil },
		Eval: func(mem memory.Allocator, args []arrow.Array, rows int) (arrow.Array, error) {
			b := array.NewInt64Builder(mem)
			defer b.Release()
			for i := range rows {
				b.Append(2 * args[0].(*array.Int64).Value(i))
			}
			return b.NewArray(), nil
		}})
	b := testBatch(rand.New(rand.NewPCG(2, 2)), 10)
	bound, err := Bind(testSchema, Call("twice", Col("j64").Mod(100)).Add(1))
	if err != nil {
		t.Fatal(err)
	}
	mem := memory.NewCheckedAllocator(testAlloc)
	defer mem.AssertSize(t, 0)
	out, err := bound.Evaluator(mem).Eval(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer out[0].Release()
	for i := range 10 {
		if got, want := out[0].(*array.Int64).Value(i), b.Column(5).(*array.Int64).Value(i)%100*2+1; got != want {
			t.Errorf("row %d: %d, want %d", i, got, want)
		}
	}
}

// Prune never throws away a row that the condition keeps, and does throw away.
func TestPrune(t *testing.T) {
	g := generator{rand.New(rand.NewPCG(5, 5))}
	cols := []string{"i32", "j64", "e2", "t", "day", "f32"}
	consts := func(c string) Expr {
		switch c {
		case "t":
			return Lit(words[g.IntN(len(words))])
		case "day":
			return Lit(arrow.Date32(g.Int32N(80000) - 40000))
		case "e2":
			return Dec("12.34").Mul(g.IntN(30) - 15)
		}
		return Lit(g.IntN(200) - 100)
	}
	pruned := 0
	for range 3000 {
		b := testBatch(g.Rand, 3)
		var leaf func(depth int) Expr
		leaf = func(depth int) Expr {
			if depth > 0 {
				return []Expr{leaf(depth - 1).And(leaf(depth - 1)), leaf(depth - 1).Or(leaf(depth - 1)), leaf(depth - 1).Not()}[g.IntN(3)]
			}
			c := cols[g.IntN(len(cols))]
			x, y := Col(c), consts(c)
			if g.IntN(3) == 0 {
				x, y = y, x
			}
			es := []Expr{x.Eq(y), x.Lt(y), x.Le(y), x.Gt(y), x.Ge(y), x.Ne(y), Col(c).In(consts(c), consts(c)), Col("t").Like("a%"), Col("t").Like("P%S")}
			return es[g.IntN(len(es))]
		}
		e := leaf(g.IntN(3))
		known := func(c string) (Range, bool) {
			at := testSchema.FieldIndices(c)[0]
			r := Range{AllNull: true}
			ev := &Evaluator{Bound: &Bound{}}
			ev.begin(b)
			v, err := ev.frame(nil).load(b.Column(at))
			if err != nil {
				t.Fatal(err)
			}
			for i := range int(b.NumRows()) {
				if v.null(i) {
					continue
				}
				l := v.at(i)
				l.typ = testSchema.Field(at).Type
				if r.AllNull || l.order(r.Min.lit) < 0 {
					r.Min.lit = l
				}
				if r.AllNull || l.order(r.Max.lit) > 0 {
					r.Max.lit = l
				}
				r.AllNull = false
			}
			return r, c != "f32" || g.IntN(2) == 0
		}
		if Prune(testSchema, e, known) {
			continue
		}
		pruned++
		f, err := BindFilter(testSchema, e)
		if err != nil {
			t.Fatal(err)
		}
		rows, _, err := f.Evaluator(testAlloc).Select(b)
		if err != nil || len(rows) > 0 {
			t.Fatalf("%s is true for rows %v of what was thrown away (%v)", e, rows, err)
		}
	}
	if pruned < 300 {
		t.Errorf("only %d of 3000 were thrown away", pruned)
	}
}
