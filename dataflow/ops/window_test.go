package ops

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/order"
	"github.com/divisi-data/divisi/internal/race"
)

// Columns of the batches that windows are tried on: two of partition, one of order
// and, for ranges, the keys at which a row's frame begins and ends, then values.
const (
	wPart, wText, wKey, wFrom, wTo, wInt, wFloat = 0, 1, 2, 3, 4, 5, 6
	wFirst                                       = 7
)

var wFrameBy = [2]int64{-2, 3}

// windowRowsOf is sorted rows of so many partitions, one of them with half the rows
// where skewed, with a column of each type behind the fixed ones.
func windowRowsOf(seed uint64, rows, parts int, skewed, descending bool, types ...arrow.DataType) dataflow.Batch {
	rng := rand.New(rand.NewPCG(seed, 11))
	f64 := arrow.PrimitiveTypes.Float64
	schema := opstest.SchemaOf(append([]arrow.DataType{i64, str, i64, i64, i64, i16, f64}, types...)...)
	b := opstest.Random(memory.DefaultAllocator, rng, schema, rows)
	cols := slices.Clone(b.Columns())
	builders := [7]*array.Int64Builder{}
	for _, c := range []int{wPart, wKey, wFrom, wTo} {
		builders[c] = array.NewInt64Builder(memory.DefaultAllocator)
	}
	floats := array.NewFloat64Builder(memory.DefaultAllocator)
	texts := array.NewStringBuilder(memory.DefaultAllocator)
	for range rows {
		p := rng.IntN(parts)
		if skewed && rng.IntN(2) == 0 {
			p = 0
		}
		builders[wPart].Append(int64(p))
		texts.Append([]string{"a", "a long name of a partition"}[p%2])
		floats.Append(float64(rng.IntN(100)) / 2)
		if rng.IntN(9) == 0 {
			builders[wKey].AppendNull()
			builders[wFrom].AppendNull()
			builders[wTo].AppendNull()
			continue
		}
		k, sign := int64(rng.IntN(max(rows/4, 1))), int64(1)
		if descending {
			sign = -1
		}
		builders[wKey].Append(k)
		builders[wFrom].Append(k + sign*wFrameBy[0])
		builders[wTo].Append(k + sign*wFrameBy[1])
	}
	for c, b := range builders {
		if b != nil {
			cols[c] = b.NewArray()
		}
	}
	cols[wText], cols[wFloat] = texts.NewArray(), floats.NewArray()
	b = array.NewRecordBatch(schema, cols, int64(rows))
	perm := make([]int, rows)
	for i := range perm {
		perm[i] = i
	}
	keys := windowKeys(true, descending)
	slices.SortStableFunc(perm, func(i, j int) int { return opstest.CompareRows(keys, b, i, b, j) })
	refs := make([]order.Ref, rows)
	for i, p := range perm {
		refs[i].Row = int32(p)
	}
	b, err := order.Take(memory.DefaultAllocator, schema, []dataflow.Batch{b}, refs)
	if err != nil {
		panic(err)
	}
	return b
}

func windowKeys(parted, descending bool) []dataflow.SortKey {
	var keys []dataflow.SortKey
	if parted {
		keys = orderBy([]int{wPart, wText})
	}
	return append(keys, dataflow.SortKey{Column: wKey, Descending: descending})
}

// windowOracle works everything out by loops over the partition.
type windowOracle struct {
	b          dataflow.Batch
	parted     bool
	ordered    bool
	descending bool
	frame      frame
}

func (o windowOracle) rows(fs []windowFunc) []string {
	out := []string{}
	n := int(o.b.NumRows())
	same := func(keys []dataflow.SortKey, i, j int) bool {
		return len(keys) == 0 || opstest.CompareRows(keys, o.b, i, o.b, j) == 0
	}
	var part []dataflow.SortKey
	if o.parted {
		part = orderBy([]int{wPart, wText})
	}
	peers := part
	if o.ordered {
		peers = windowKeys(o.parted, o.descending)
	}
	begin, end, peer, behind := 0, 0, 0, 0
	for i := range n {
		if i == end {
			for begin = i; end < n && same(part, end, i); end++ {
			}
		}
		if i == behind {
			for peer = i; behind < end && same(peers, behind, i); behind++ {
			}
		}
		var frame []int
		for r := begin; r < end; r++ {
			if o.inFrame(i, r, peer, behind) {
				frame = append(frame, r)
			}
		}
		row := opstest.Row(o.b, i)
		for _, f := range fs {
			row += o.value(f, i, begin, end, peer, peers, frame) + "|"
		}
		out = append(out, row)
	}
	return out
}

func (o windowOracle) inFrame(i, r, peer, behind int) bool {
	f := o.frame
	switch f.Unit {
	case "":
		return !o.ordered || r < behind
	case "rows":
		return (f.From.At == "start" || r >= i+int(f.From.By)) && (f.To.At == "end" || r <= i+int(f.To.By))
	}
	key, bound := o.b.Column(wKey), func(c int) arrow.Array { return o.b.Column(c) }
	compare := func(c int) int {
		x := opstest.Compare(key, r, bound(c), i)
		if o.descending {
			x = -x
		}
		return x
	}
	after := f.From.At == "start" || f.From.At == "current" && r >= peer || f.From.At == "by" && compare(wFrom) >= 0
	before := f.To.At == "end" || f.To.At == "current" && r < behind || f.To.At == "by" && compare(wTo) <= 0
	return after && before
}

func (o windowOracle) value(f windowFunc, i, begin, end, peer int, peers []dataflow.SortKey, frame []int) string {
	at := func(r int) string {
		if r < begin || r >= end {
			return "null"
		}
		s := opstest.Row(o.b, r, f.Column)
		return s[:len(s)-1]
	}
	switch f.Fn {
	case "row_number":
		return fmt.Sprint(i - begin + 1)
	case "rank":
		return fmt.Sprint(peer - begin + 1)
	case "dense_rank":
		n := 1
		for r := begin + 1; r <= peer; r++ {
			if opstest.CompareRows(peers, o.b, r-1, o.b, r) != 0 {
				n++
			}
		}
		return fmt.Sprint(n)
	case "ntile":
		var tiles []int
		for t := range int(f.N) {
			size := (end - begin) / int(f.N)
			if t < (end-begin)%int(f.N) {
				size++
			}
			for range size {
				tiles = append(tiles, t+1)
			}
		}
		return fmt.Sprint(tiles[i-begin])
	case "lag":
		return at(i - int(f.N))
	case "lead":
		return at(i + int(f.N))
	case "first", "last":
		if len(frame) == 0 {
			return "null"
		}
		if f.Fn == "first" {
			return at(frame[0])
		}
		return at(frame[len(frame)-1])
	}
	if f.Column >= 0 {
		frame = slices.DeleteFunc(slices.Clone(frame), func(r int) bool { return o.b.Column(f.Column).IsNull(r) })
	}
	if f.Fn == "count" {
		return fmt.Sprint(len(frame))
	}
	if len(frame) == 0 {
		return "null"
	}
	if f.Fn != "sum" {
		best := frame[0]
		for _, r := range frame[1:] {
			if c := opstest.Compare(o.b.Column(f.Column), r, o.b.Column(f.Column), best); f.Fn == "min" && c < 0 || f.Fn == "max" && c > 0 {
				best = r
			}
		}
		return at(best)
	}
	sum, whole := 0.0, new(big.Int)
	for _, r := range frame {
		switch a := o.b.Column(f.Column).(type) {
		case *array.Float64:
			sum += a.Value(r)
		default:
			whole.Add(whole, numberAt(a, r).BigInt())
		}
	}
	if f.Column == wFloat {
		return fmt.Sprint(sum)
	}
	return whole.String()
}

func (o windowOracle) op(t testing.TB, fs []windowFunc) dataflow.Operator {
	a := args{"functions": fs, "frame": o.frame}
	if o.parted {
		a["partition"] = []int{wPart, wText}
	}
	if o.ordered {
		a["order"] = windowKeys(false, o.descending)
	}
	return op(t, "window", a)
}

var (
	atStart, atCurrent, atEnd = bound{At: "start"}, bound{At: "current"}, bound{At: "end"}

	windowRanks = []windowFunc{{"n", "row_number", -1, 0}, {"r", "rank", -1, 0}, {"d", "dense_rank", -1, 0}}
	windowFar   = []windowFunc{{"t", "ntile", -1, 3}, {"before", "lag", wInt, 2}, {"after", "lead", wInt, 1}}
)

func windowFramed(cols ...int) []windowFunc {
	fs := []windowFunc{{"rows", "count", -1, 0}, {"sum", "sum", wInt, 0}, {"float", "sum", wFloat, 0}}
	for _, c := range cols {
		for _, fn := range []string{"first", "last", "min", "max", "count"} {
			fs = append(fs, windowFunc{fmt.Sprint(fn, c), fn, c, 0})
		}
	}
	return fs
}

func by(n int64) bound { return bound{At: "by", By: n} }

func windowFrames(descending bool) []frame {
	return []frame{
		{},
		{Unit: "rows", From: atStart, To: atCurrent},
		{Unit: "rows", From: by(-2), To: by(1)},
		{Unit: "rows", From: by(-4), To: by(-2)},
		{Unit: "rows", From: by(2), To: by(5)},
		{Unit: "rows", From: atCurrent, To: atEnd},
		{Unit: "rows", From: atStart, To: atEnd},
		{Unit: "range", From: atCurrent, To: atCurrent},
		{Unit: "range", From: atCurrent, To: atEnd},
		{Unit: "range", From: by(wFrom), To: by(wTo), Key: wKey, Descending: descending},
		{Unit: "range", From: atStart, To: by(wTo), Key: wKey, Descending: descending},
		{Unit: "range", From: by(wFrom), To: atCurrent, Key: wKey, Descending: descending},
	}
}

func TestWindow(t *testing.T) {
	for _, n := range []int{0, 1, 40} {
		for _, descending := range []bool{false, true} {
			b := windowRowsOf(1, n, 5, true, descending, str)
			for _, f := range windowFrames(descending) {
				if descending && !f.Descending {
					continue // it does not look at the keys
				}
				for _, parted := range []bool{false, true} {
					if !parted { // the rows are in order by key alone only where they are one partition
						b = windowRowsOf(2, n, 1, false, descending, str)
					}
					o := windowOracle{b, parted, true, descending, f}
					fs := append(append(slices.Clone(windowRanks), windowFar...), windowFramed(wInt, wFirst)...)
					opstest.Run(t, o.op(t, fs), []dataflow.Batch{b}, o.rows(fs))
					if t.Failed() {
						t.Fatalf("%d rows, %+v, parted %v, descending %v", n, f, parted, descending)
					}
				}
			}
		}
	}
	// Each on its own, where less need be known of a partition.
	b := windowRowsOf(3, 40, 5, true, false)
	for _, f := range append(append(slices.Clone(windowRanks), windowFar...), windowFramed(wInt)...) {
		o := windowOracle{b, true, true, false, frame{}}
		opstest.Run(t, o.op(t, []windowFunc{f}), []dataflow.Batch{b}, o.rows([]windowFunc{f}))
		o.ordered = false
		opstest.Run(t, o.op(t, []windowFunc{f}), []dataflow.Batch{b}, o.rows([]windowFunc{f}))
	}
}

// Every type of column has values before, after, first and last, and those that have
// an order have smallest and largest.
func TestWindowTypes(t *testing.T) {
	for _, typ := range opstest.Types() {
		b := windowRowsOf(4, 50, 3, false, false, typ)
		fs := []windowFunc{{"before", "lag", wFirst, 1}, {"after", "lead", wFirst, 3}, {"first", "first", wFirst, 0}, {"last", "last", wFirst, 0}}
		for _, fn := range []string{"min", "max", "sum"} {
			if _, err := newSlide(fn, typ); err == nil && (fn != "sum" || typ.ID() == arrow.DECIMAL128 || arrow.IsInteger(typ.ID()) && typ.ID() != arrow.INT64 && typ.ID() != arrow.UINT64) {
				fs = append(fs, windowFunc{fn, fn, wFirst, 0})
			}
		}
		o := windowOracle{b, true, true, false, frame{Unit: "rows", From: by(-1), To: by(2)}}
		if typ.ID() == arrow.DECIMAL128 { // of hundredths
			fs = slices.DeleteFunc(fs, func(f windowFunc) bool { return f.Fn == "sum" })
		}
		opstest.Run(t, o.op(t, fs), []dataflow.Batch{b}, o.rows(fs))
		if t.Failed() {
			t.Fatal(typ)
		}
	}
}

func TestWindowSpills(t *testing.T) {
	b := windowRowsOf(5, 600, 2, true, false, str)
	for i, f := range windowFrames(false) {
		if !f.toEnd() || i%race.Stride(5) != 0 {
			continue
		}
		o := windowOracle{b, true, true, false, f}
		fs := append(append(slices.Clone(windowRanks), windowFar...), windowFramed(wInt, wFirst)...)
		opstest.Run(t, o.op(t, fs), []dataflow.Batch{b}, o.rows(fs), opstest.Spills())
		if t.Failed() {
			t.Fatalf("%+v", f)
		}
	}
}

// Where nothing far away is looked at, nothing is kept: no spill with little memory.
func TestWindowStreams(t *testing.T) {
	b := windowRowsOf(6, 5000, 1, false, false)
	env := dataflow.NewEnv(t.Context())
	env.Memory = dataflow.NewMemory("test", order.BatchBytes(b)/10)
	o := windowOracle{b, true, true, false, frame{Unit: "rows", From: by(-3), To: by(1)}}
	fs := append(slices.Clone(windowRanks), windowFramed(wInt)...)
	w := o.op(t, fs)
	if _, err := w.Schema(b.Schema()); err != nil {
		t.Fatal(err)
	}
	s, err := w.Open(env, opstest.Slice(env.Alloc, b, 50)) // there is nowhere to spill to
	if err != nil {
		t.Fatal(err)
	}
	out, err := opstest.Collect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for _, x := range out {
		n += x.NumRows()
	}
	if n != b.NumRows() {
		t.Errorf("%d rows of %d", n, b.NumRows())
	}
}

// Frames longer than a chunk begin in one that is looked at again.
func TestWindowLongFrames(t *testing.T) {
	const n = 3*slideChunk + 100
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64))
	rng := rand.New(rand.NewPCG(7, 7))
	vs := make([]int64, n)
	for i := range vs {
		vs[i] = int64(rng.IntN(1000))
	}
	rb.Field(0).(*array.Int64Builder).AppendValues(vs, nil)
	b := rb.NewRecordBatch()
	for _, size := range []int{1, 100, slideChunk - 1, slideChunk, slideChunk + 1, 2 * slideChunk, n} {
		w := op(t, "window", args{"frame": frame{Unit: "rows", From: by(int64(1 - size)), To: by(0)},
			"functions": []windowFunc{{"sum", "sum", 0, 0}, {"max", "max", 0, 0}}})
		if _, err := w.Schema(b.Schema()); err != nil {
			t.Fatal(err)
		}
		s, err := w.Open(dataflow.NewEnv(t.Context()), opstest.Slice(memory.DefaultAllocator, b, 1000))
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		row, sum := 0, int64(0)
		for _, x := range out {
			for i := range int(x.NumRows()) {
				from := max(0, row-size+1)
				sum += vs[row]
				if from > 0 {
					sum -= vs[from-1]
				}
				if got := x.Column(1).(*array.Int64).Value(i); got != sum {
					t.Fatalf("frames of %d rows: the sum at row %d is %d, want %d", size, row, got, sum)
				}
				if row%997 == 0 {
					if got, want := x.Column(2).(*array.Int64).Value(i), slices.Max(vs[from:row+1]); got != want {
						t.Fatalf("frames of %d rows: the largest at row %d is %d, want %d", size, row, got, want)
					}
				}
				row++
			}
		}
		if row != n {
			t.Fatalf("%d rows, want %d", row, n)
		}
	}
}

func TestWindowRefuses(t *testing.T) {
	schema := opstest.SchemaOf(i64, str)
	for name, a := range map[string]args{
		"no function":            {},
		"an unknown function":    {"functions": []windowFunc{{"x", "median", 0, 0}}},
		"a sum of text":          {"functions": []windowFunc{{"x", "sum", 1, 0}}},
		"no such column":         {"functions": []windowFunc{{"x", "sum", 7, 0}}},
		"no parts":               {"functions": []windowFunc{{"x", "ntile", -1, 0}}},
		"a frame that is upside": {"functions": []windowFunc{{"x", "sum", 0, 0}}, "frame": frame{Unit: "rows", From: by(2), To: by(1)}},
		"a frame from the end":   {"functions": []windowFunc{{"x", "sum", 0, 0}}, "frame": frame{Unit: "rows", From: atEnd, To: atEnd}},
		"a distance in no order": {"functions": []windowFunc{{"x", "sum", 0, 0}}, "frame": frame{Unit: "range", From: by(0), To: atEnd}},
	} {
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		o, err := dataflow.NewOperator("window", raw)
		if err == nil {
			_, err = o.Schema(schema)
		}
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
