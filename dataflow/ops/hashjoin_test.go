package ops

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/order"
	"github.com/divisi-data/divisi/internal/race"
)

// joined is the join by two nested loops over the spelled keys.
func joined(typ string, l, r dataflow.Batch, lk, rk []int) []string {
	key := func(b dataflow.Batch, i int, cols []int) string {
		for _, c := range cols {
			if b.Column(c).IsNull(i) {
				return ""
			}
		}
		return opstest.Row(b, i, cols...)
	}
	nulls := func(b dataflow.Batch) string { return strings.Repeat("null|", int(b.NumCols())) }
	byKey := map[string][]int{}
	for j := range int(r.NumRows()) {
		if k := key(r, j, rk); k != "" {
			byKey[k] = append(byKey[k], j)
		}
	}
	rows := []string{}
	found := map[int]bool{}
	for i := range int(l.NumRows()) {
		partners := byKey[key(l, i, lk)]
		me := opstest.Row(l, i)
		switch typ {
		case "semi":
			if len(partners) > 0 {
				rows = append(rows, me)
			}
			continue
		case "anti":
			if len(partners) == 0 {
				rows = append(rows, me)
			}
			continue
		}
		for _, j := range partners {
			rows = append(rows, me+opstest.Row(r, j))
			found[j] = true
		}
		if len(partners) == 0 && (typ == "left" || typ == "full") {
			rows = append(rows, me+nulls(r))
		}
	}
	for j := range int(r.NumRows()) {
		if !found[j] && (typ == "right" || typ == "full") {
			rows = append(rows, nulls(l)+opstest.Row(r, j))
		}
	}
	return rows
}

var joinTypes = []string{"inner", "left", "right", "full", "semi", "anti"}

func eachJoin(t *testing.T, f func(t *testing.T, typ, build string)) {
	turn := 0
	for _, typ := range joinTypes {
		for _, build := range []string{"left", "right", "auto"} {
			if turn++; turn%race.Stride(5) != 0 {
				continue
			}
			t.Run(typ+" build "+build, func(t *testing.T) { f(t, typ, build) })
		}
	}
}

func join(t testing.TB, typ, build string, lk, rk []int) dataflow.Operator {
	return op(t, "hashjoin", args{"left_keys": lk, "right_keys": rk, "type": typ, "build": build})
}

func TestHashJoin(t *testing.T) {
	eachJoin(t, func(t *testing.T, typ, build string) {
		for _, sizes := range [][2]int{{0, 0}, {0, 9}, {9, 0}, {1, 1}, {30, 50}, {50, 8}} {
			l := random(10, sizes[0], i8, str, i64)
			r := random(11, sizes[1], str, i8)
			opstest.Run(t, join(t, typ, build, []int{0}, []int{1}), []dataflow.Batch{l, r}, joined(typ, l, r, []int{0}, []int{1}), opstest.Unordered())
			opstest.Run(t, join(t, typ, build, []int{0, 1}, []int{1, 0}), []dataflow.Batch{l, r}, joined(typ, l, r, []int{0, 1}, []int{1, 0}), opstest.Unordered())
		}
	})
}

func TestHashJoinTypes(t *testing.T) {
	for i, typ := range opstest.Types() {
		l, r := random(12, 40, typ, i64), random(13, 30, i64, typ)
		kind := joinTypes[i%len(joinTypes)]
		opstest.Run(t, join(t, kind, "right", []int{0}, []int{1}), []dataflow.Batch{l, r}, joined(kind, l, r, []int{0}, []int{1}), opstest.Unordered())
	}
}

// keyed is rows of a key, drawn by next, and a number.
func keyed(n int, next func(i int) int64) dataflow.Batch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64, i64))
	defer rb.Release()
	for i := range n {
		if v := next(i); v < 0 {
			rb.Field(0).AppendNull()
		} else {
			rb.Field(0).(*array.Int64Builder).Append(v)
		}
		rb.Field(1).(*array.Int64Builder).Append(int64(i))
	}
	return rb.NewRecordBatch()
}

// With a tenth of the memory: many keys, a hot key on the build side that does not
// fit by itself, and one on both.
func TestHashJoinSpills(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 15))
	uniform := func(int) int64 { return rng.Int64N(2000) - 20 }
	hot := func(share int) func(int) int64 {
		return func(int) int64 {
			if rng.IntN(100) < share {
				return 7
			}
			return rng.Int64N(2000) - 20
		}
	}
	for name, c := range map[string][2]dataflow.Batch{
		"uniform":        {keyed(800, uniform), keyed(800, uniform)},
		"hot left":       {keyed(800, hot(60)), keyed(30, uniform)},
		"hot right":      {keyed(30, uniform), keyed(800, hot(60))},
		"one key":        {keyed(700, hot(100)), keyed(25, hot(100))},
		"one key, right": {keyed(25, hot(100)), keyed(700, hot(100))},
		"one key, alone": {keyed(700, hot(100)), keyed(3, func(int) int64 { return 1 })},
		"nulls":          {keyed(700, func(int) int64 { return -1 }), keyed(700, func(i int) int64 { return int64(i%2) - 1 })},
	} {
		t.Run(name, func(t *testing.T) {
			eachJoin(t, func(t *testing.T, typ, build string) {
				opts := []opstest.Option{opstest.Unordered()}
				side := c[0]
				if build == "right" || build == "auto" && c[1].NumRows() < c[0].NumRows() {
					side = c[1]
				}
				if side.NumRows() > 500 {
					opts = append(opts, opstest.Spills())
				}
				opstest.Run(t, join(t, typ, build, []int{0}, []int{0}), c[:], joined(typ, c[0], c[1], []int{0}, []int{0}), opts...)
			})
		})
	}
}

// The smaller side is built, whichever it is: beside a large one it needs no disk.
func TestHashJoinBuildsTheSmallerSide(t *testing.T) {
	large := keyed(5000, func(i int) int64 { return int64(i % 100) })
	small := keyed(20, func(i int) int64 { return int64(i) })
	for _, in := range [][2]dataflow.Batch{{large, small}, {small, large}} {
		j := join(t, "inner", "auto", []int{0}, []int{0})
		if _, err := j.Schema(in[left].Schema(), in[right].Schema()); err != nil {
			t.Fatal(err)
		}
		env := dataflow.NewEnv(t.Context())
		env.Memory = dataflow.NewMemory("test", order.BatchBytes(large)/4)
		s, err := j.Open(env, opstest.Slice(env.Alloc, in[left], 50), opstest.Slice(env.Alloc, in[right], 50))
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s) // there is nowhere to spill to
		if err != nil {
			t.Fatal(err)
		}
		n := int64(0)
		for _, b := range out {
			n += b.NumRows()
		}
		if n != 1000 {
			t.Errorf("%d rows, want 1000", n)
		}
	}
}

func TestHashJoinBadArguments(t *testing.T) {
	in := opstest.SchemaOf(i64, str)
	for _, c := range []string{
		`{}`, `{"left_keys":[0],"right_keys":[0,1]}`, `{"left_keys":[0],"right_keys":[1]}`, `{"left_keys":[0],"right_keys":[7]}`,
		`{"left_keys":[0],"right_keys":[0],"type":"outer"}`, `{"left_keys":[0],"right_keys":[0],"build":"both"}`,
	} {
		o, err := dataflow.NewOperator("hashjoin", []byte(c))
		if err == nil {
			_, err = o.Schema(in, in)
		}
		if dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%s: %v", c, err)
		}
	}
	if _, err := join(t, "inner", "left", []int{0}, []int{0}).Schema(in); err == nil {
		t.Error("one input is accepted")
	}
}

func TestHashJoinNullability(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "k", Type: i64}}, nil)
	for typ, want := range map[string]string{"inner": "[false false]", "left": "[false true]", "right": "[true false]", "full": "[true true]", "semi": "[false]", "anti": "[false]"} {
		out, err := join(t, typ, "right", []int{0}, []int{0}).Schema(s, s)
		if err != nil {
			t.Fatal(err)
		}
		var got []bool
		for _, f := range out.Fields() {
			got = append(got, f.Nullable)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", typ, got, want)
		}
	}
}
