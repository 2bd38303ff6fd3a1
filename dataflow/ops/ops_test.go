package ops

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/internal/race"
)

// op makes an operator the way plans do, from its kind and the JSON of its
// arguments.
func op(t testing.TB, kind string, args any) dataflow.Operator {
	t.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	o, err := dataflow.NewOperator(kind, b)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

type args map[string]any

func random(seed uint64, rows int, types ...arrow.DataType) dataflow.Batch {
	return opstest.Random(memory.DefaultAllocator, rand.New(rand.NewPCG(seed, 99)), opstest.SchemaOf(types...), rows)
}

var (
	i64 = arrow.PrimitiveTypes.Int64
	i16 = arrow.PrimitiveTypes.Int16
	i8  = arrow.PrimitiveTypes.Int8
	str = arrow.BinaryTypes.String
)

// sorted is the rows of b in order, by the oracle.
func sorted(b dataflow.Batch, keys []dataflow.SortKey) []string {
	perm := make([]int, b.NumRows())
	for i := range perm {
		perm[i] = i
	}
	slices.SortStableFunc(perm, func(i, j int) int { return opstest.CompareRows(keys, b, i, b, j) })
	rows := []string{}
	for _, i := range perm {
		rows = append(rows, opstest.Row(b, i))
	}
	return rows
}

func TestSort(t *testing.T) {
	for _, typ := range opstest.Types() {
		keys := []dataflow.SortKey{{Column: 0, Descending: typ.ID()%2 == 0}}
		for _, n := range []int{0, 1, 40} {
			b := random(1, n, typ, i64)
			opstest.Run(t, op(t, "sort", args{"keys": keys}), []dataflow.Batch{b}, sorted(b, keys))
		}
	}
}

func TestSortSpills(t *testing.T) {
	for _, types := range [][]arrow.DataType{{i64, i64}, {i16, str}, {str, i64}, opstest.Types()}[:race.Tries(4, 4, 3)] {
		for _, keys := range [][]dataflow.SortKey{{{Column: 0}}, {{Column: 1, Descending: true}, {Column: 0}}}[race.Tries(0, 0, 1):] {
			b := random(2, 700, types...)
			opstest.Run(t, op(t, "sort", args{"keys": keys}), []dataflow.Batch{b}, sorted(b, keys), opstest.Spills())
		}
	}
}

func TestMerge(t *testing.T) {
	keys := []dataflow.SortKey{{Column: 0}}
	for n := 1; n < 6; n++ {
		var in []dataflow.Batch
		rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64, i64))
		var want [][2]int64
		for i := range n {
			var v int64
			for range 20 * i {
				rb.Field(0).(*array.Int64Builder).Append(v)
				rb.Field(1).(*array.Int64Builder).Append(int64(i))
				want = append(want, [2]int64{v, int64(i)})
				v += int64(len(want) % 3)
			}
			in = append(in, rb.NewRecordBatch())
		}
		slices.SortStableFunc(want, func(a, b [2]int64) int { return int(a[0] - b[0]) })
		var rows []string
		for _, w := range want {
			rows = append(rows, fmt.Sprintf("%d|%d|", w[0], w[1]))
		}
		opstest.Run(t, op(t, "merge", args{"keys": keys}), in, rows)
	}
}

func TestLimit(t *testing.T) {
	for _, n := range []int{0, 1, 5, 40, 41, 1000} {
		b := random(3, 40, i64, str)
		opstest.Run(t, op(t, "limit", args{"n": n}), []dataflow.Batch{b}, opstest.Rows(b)[:min(n, 40)], opstest.StopsEarly())
	}
}

func TestTopN(t *testing.T) {
	for _, n := range []int{0, 1, 7, 100, 5000} {
		for _, keys := range [][]dataflow.SortKey{{{Column: 0}}, {{Column: 1, Descending: true}, {Column: 0}}} {
			b := random(4, 1500, i8, str, i64)
			want := sorted(b, keys)
			opts := []opstest.Option{}
			if n == 0 {
				opts = append(opts, opstest.StopsEarly())
			}
			if n > 1000 {
				opts = append(opts, opstest.Spills())
			}
			opstest.Run(t, op(t, "topn", args{"keys": keys, "n": n}), []dataflow.Batch{b}, want[:min(n, len(want))], opts...)
		}
	}
}

func TestProject(t *testing.T) {
	b := random(5, 30, i64, str, i8)
	var want []string
	for i := range 30 {
		want = append(want, opstest.Row(b, i, 2, 0, 2))
	}
	opstest.Run(t, op(t, "project", args{"columns": []int{2, 0, 2}}), []dataflow.Batch{b}, want)
}

func TestCheckSorted(t *testing.T) {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64))
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 2, 3, 9}, nil)
	good := rb.NewRecordBatch()
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 2, 3, 1}, nil)
	bad := rb.NewRecordBatch()
	o := op(t, "checksorted", args{"keys": []dataflow.SortKey{{Column: 0}}})
	opstest.Run(t, o, []dataflow.Batch{good}, opstest.Rows(good))
	if errs := opstest.Check(t.Context(), o, []dataflow.Batch{bad}, opstest.Rows(bad)); len(errs) == 0 {
		t.Error("rows out of order pass")
	}
}

func TestSample(t *testing.T) {
	b := random(6, 500, i64, str, i8)
	cols := []int{1, 0}
	var all []string
	for i := range 500 {
		all = append(all, opstest.Row(b, i, cols...))
	}
	for _, c := range []struct{ max, stop int }{{1000, 0}, {500, 0}, {1000, 100}} {
		n := 500
		if c.stop > 0 {
			n = c.stop
		}
		o := op(t, "sample", args{"columns": cols, "max": c.max, "stop_after": c.stop})
		opstest.Run(t, o, []dataflow.Batch{b}, all[:n], opstest.StopsEarly())
	}
}

// The sample does not depend on batches, keeps the order, and leaves no part of
// the input out.
func TestSampleIsEven(t *testing.T) {
	const n, size = 100_000, 300
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64))
	for i := range n {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	b := rb.NewRecordBatch()
	o := op(t, "sample", args{"columns": []int{0}, "max": size})
	var first []string
	for _, batch := range []int{7, 100, 999, n} { // with 7, the reservoir is compacted
		env := dataflow.NewEnv(t.Context())
		s, err := o.Open(env, opstest.Slice(memory.DefaultAllocator, b, batch))
		if err != nil {
			t.Fatal(err)
		}
		out, err := opstest.Collect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		rows := opstest.Rows(out...)
		if first == nil {
			first = rows
		}
		if !slices.Equal(rows, first) {
			t.Errorf("another sample with batches of %d", batch)
		}
		if env.Memory.Peak() > 100<<10 {
			t.Errorf("peak of %d bytes", env.Memory.Peak())
		}
		var tenth [10]int
		last := int64(-1)
		for _, o := range out {
			for _, v := range o.Column(0).(*array.Int64).Int64Values() {
				if v <= last {
					t.Fatalf("%d after %d", v, last)
				}
				last = v
				tenth[v*10/n]++
			}
		}
		for i, c := range tenth {
			if c < 10 || c > 60 {
				t.Errorf("%d of %d rows are of tenth %d", c, size, i)
			}
		}
	}
}

func TestBadArguments(t *testing.T) {
	in := opstest.SchemaOf(i64, arrow.MapOf(str, str))
	for _, c := range []struct {
		kind, args string
		in         []*arrow.Schema
	}{
		{"sort", `{"keys":[{"column":7}]}`, []*arrow.Schema{in}},
		{"sort", `{"keys":[{"column":1}]}`, []*arrow.Schema{in}},
		{"sort", `{"keys":[]}`, []*arrow.Schema{in}},
		{"sort", `{"keys":[{"column":0}]}`, nil},
		{"sort", `{"key":[{"column":0}]}`, []*arrow.Schema{in}},
		{"merge", `{"keys":[{"column":0}]}`, []*arrow.Schema{in, opstest.SchemaOf(str)}},
		{"limit", `{"n":-1}`, []*arrow.Schema{in}},
		{"limit", `{`, []*arrow.Schema{in}},
		{"topn", `{"n":1}`, []*arrow.Schema{in}},
		{"topn", `{"keys":[{"column":0}],"n":-1}`, []*arrow.Schema{in}},
		{"project", `{}`, []*arrow.Schema{in}},
		{"project", `{"columns":[2]}`, []*arrow.Schema{in}},
		{"sample", `{"columns":[0],"max":0}`, []*arrow.Schema{in}},
		{"sample", `{"columns":[-1],"max":1}`, []*arrow.Schema{in}},
		{"checksorted", `{}`, []*arrow.Schema{in}},
	} {
		o, err := dataflow.NewOperator(c.kind, []byte(c.args))
		if err == nil {
			_, err = o.Schema(c.in...)
		}
		if dataflow.KindOf(err) != dataflow.User || err == nil || !strings.Contains(err.Error(), c.kind) {
			t.Errorf("%s %s: %v", c.kind, c.args, err)
		}
	}
}
