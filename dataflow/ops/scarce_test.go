package ops

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/internal/race"
)

// chained is operators of one input, each behind the one before.
type chained []dataflow.Operator

func (c chained) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	for _, o := range c {
		s, err := o.Schema(in...)
		if err != nil {
			return nil, err
		}
		in = []*arrow.Schema{s}
	}
	return in[0], nil
}

func (c chained) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	for _, o := range c {
		s, err := o.Open(env, in...)
		if err != nil {
			return nil, err
		}
		in = []dataflow.Stream{s}
	}
	return in[0], nil
}

// A hardship is an operator, what it is given, and what must come of it.
type hardship struct {
	name   string
	op     dataflow.Operator
	in     []dataflow.Batch
	want   []string
	opts   []opstest.Option
	always bool // also under the race detector
}

// uneven is rows of a number, of which half are the same, a text that may be nulls, short,
// or longer than all memory, and the row's number.
func uneven(seed uint64, rows, keys int) dataflow.Batch {
	rng := rand.New(rand.NewPCG(seed, 5))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: i64, Nullable: true}, {Name: "s", Type: str, Nullable: true}, {Name: "row", Type: i64},
	}, nil))
	defer rb.Release()
	for i := range rows {
		k := rng.IntN(keys)
		if rng.IntN(2) == 0 {
			k = 0
		}
		if k == 3 {
			rb.Field(0).AppendNull()
		} else {
			rb.Field(0).(*array.Int64Builder).Append(int64(k))
		}
		switch s := rng.IntN(keys); {
		case s%5 == 4:
			rb.Field(1).AppendNull()
		case s%97 == 11:
			rb.Field(1).(*array.StringBuilder).Append(strconv.Itoa(s) + strings.Repeat("a very long text ", 100))
		default:
			rb.Field(1).(*array.StringBuilder).Append(strings.Repeat(strconv.Itoa(s), 1+s%9))
		}
		rb.Field(2).(*array.Int64Builder).Append(int64(i))
	}
	return rb.NewRecordBatch()
}

func hardships(t *testing.T) []hardship {
	var all []hardship
	add := func(always bool, name string, o dataflow.Operator, in []dataflow.Batch, want []string, opts ...opstest.Option) {
		all = append(all, hardship{name, o, in, want, opts, always})
	}
	loose, spills, early := opstest.Unordered(), opstest.Spills(), opstest.StopsEarly()
	for _, rows := range []int{0, 1, 400} {
		b := uneven(1, rows, 200)
		of := fmt.Sprintf(" of %d rows", rows)
		keys := []dataflow.SortKey{{Column: 1}, {Column: 0, Descending: true}}
		in, some := []dataflow.Batch{b}, []opstest.Option{}
		if rows > 100 {
			some = append(some, spills)
		}
		unordered := append(slices.Clone(some), loose)
		want := sorted(b, keys)
		add(rows > 1, "sort"+of, op(t, "sort", args{"keys": keys}), in, want, some...)
		add(false, "sort and limit"+of, chained{op(t, "sort", args{"keys": keys}), op(t, "limit", args{"n": 30})}, in, want[:min(30, rows)], append(slices.Clone(some), early)...)
		for _, n := range []int{5, 300} {
			add(rows > 1, fmt.Sprintf("topn %d", n)+of, op(t, "topn", args{"keys": keys, "n": n}), in, want[:min(n, rows)])
		}
		add(rows > 1, "unique"+of, op(t, "unique", args{"columns": []int{1, 0}}), in, distinct(b, 1, 0), unordered...)
		all := make([]string, rows)
		for i := range all {
			all[i] = opstest.Row(b, i, 1, 2)
		}
		add(false, "sample"+of, op(t, "sample", args{"columns": []int{1, 2}, "max": 1000}), in, all)
		add(false, "sample and stop"+of, op(t, "sample", args{"columns": []int{1, 2}, "max": 1000, "stop_after": 90}), in, all[:min(90, rows)], early)
	}
	hardJoins(t, add)
	hardWindows(t, add)
	hardGroups(t, add)
	return all
}

type addHardship func(always bool, name string, o dataflow.Operator, in []dataflow.Batch, want []string, opts ...opstest.Option)

func hardJoins(t *testing.T, add addHardship) {
	turn := 0
	for _, typ := range joinTypes {
		for _, build := range []string{"left", "right", "auto"} {
			for name, in := range map[string][2]dataflow.Batch{
				"many keys": {uneven(2, 150, 150), uneven(3, 100, 150)},
				"one key":   {uneven(4, 40, 1), uneven(5, 50, 1)},
				"no left":   {uneven(6, 0, 1), uneven(7, 100, 90)},
				"no right":  {uneven(8, 100, 90), uneven(9, 0, 1)},
			} {
				opts := []opstest.Option{opstest.Unordered()}
				if name == "many keys" {
					opts = append(opts, opstest.Spills())
				}
				for i, cols := range [][]int{{0}, {1, 0}} {
					if name == "many keys" && i == 0 {
						continue // half of one side with half of the other
					}
					turn++
					add(turn%9 == 0, fmt.Sprintf("%s join by %d, build %s, %s", typ, len(cols), build, name),
						join(t, typ, build, cols, cols), in[:], joined(typ, in[0], in[1], cols, cols), opts...)
				}
			}
		}
	}
}

func hardWindows(t *testing.T, add addHardship) {
	for _, rows := range []int{0, 1, 120} {
		for i, f := range windowFrames(false) {
			for _, parted := range []bool{true, false} {
				o := windowOracle{windowRowsOf(uint64(rows), rows, 4, true, false, str), parted, true, false, f}
				if !parted {
					o.b = windowRowsOf(2, rows, 1, false, false, str)
				}
				fs := append(append(slices.Clone(windowRanks), windowFar...), windowFramed(wInt, wFirst)...)
				if i%2 == 1 { // nothing that must see the end of a partition
					fs = append(slices.Clone(windowRanks), windowFramed(wFirst)...)
				}
				add(rows > 1 && i%3 == 0 && parted, fmt.Sprintf("window of %d rows, frame %d, parted %v", rows, i, parted), o.op(t, fs), []dataflow.Batch{o.b}, o.rows(fs))
			}
		}
	}
}

func hardGroups(t *testing.T, add addHardship) {
	none := expr.Expr{}
	for _, c := range []struct{ rows, groups int }{{0, 1}, {1, 1}, {500, 1}, {500, 200}} {
		b := sales(c.rows, c.groups)
		for _, keys := range [][]string{nil, {"n"}, {"k"}, {"k", "g"}} {
			var cols []int
			for _, k := range keys {
				cols = append(cols, b.Schema().FieldIndices(k)[0])
			}
			opts := []opstest.Option{opstest.Unordered()}
			if c.groups > 1 && keys != nil {
				opts = append(opts, opstest.Spills())
			}
			add(c.groups > 1, fmt.Sprintf("groups of %d rows by %v", c.rows, keys), aggregated(t, "final", none, keys, allAggs...), []dataflow.Batch{b}, grouped(b, nil, cols...), opts...)
		}
		m := measured(c.rows, c.groups, 200)
		opts := []opstest.Option{opstest.Unordered()}
		if c.groups > 1 {
			opts = append(opts, opstest.Spills())
		}
		add(c.groups > 1, fmt.Sprintf("sketches of %d rows, %d groups", c.rows, c.groups), aggregated(t, "final", none, []string{"g"}, sketchAggs...), []dataflow.Batch{m}, sketched(t, m), opts...)
		add(c.groups > 1, fmt.Sprintf("two steps of %d rows, %d groups", c.rows, c.groups), inTwo(t), []dataflow.Batch{m}, sketched(t, m), opts...)
	}
}

// inTwo is sketchAggs by a partial aggregate and a final one.
func inTwo(t *testing.T) dataflow.Operator {
	none := expr.Expr{}
	return chained{
		aggregated(t, "partial", none, []string{"g"}, agg{"rows", "count", none}, agg{"sv", "sum", expr.Col("v")}, agg{"dv", "distinct_sketch", expr.Col("v")}, agg{"q", "quantile_sketch", expr.Col("v")},
			agg{"m", "quantile_sketch", expr.Col("f")}, agg{"df", "distinct_sketch", expr.Col("f")}, agg{"least", "min", expr.Col("f")}),
		aggregated(t, "final", none, []string{"g"}, agg{"rows", "sum0", expr.Col("rows")}, agg{"sv", "sum", expr.Col("sv")}, agg{"dv", "distinct_of_sketches", expr.Col("dv")}, agg{"q", "quantile_of_sketches:0.25:int64?", expr.Col("q")},
			agg{"m", "quantile_of_sketches:0.5:float64", expr.Col("m")}, agg{"df", "distinct_of_sketches", expr.Col("df")}, agg{"least", "min", expr.Col("least")}),
	}
}

// Whatever memory comes and goes, and wherever a run ends: what comes out is right, and
// nothing remains.
func TestScarceMemory(t *testing.T) {
	tries := race.Tries(6, 4, 4)
	for _, h := range hardships(t) {
		if race.Enabled && !h.always {
			continue
		}
		t.Run(h.name, func(t *testing.T) { opstest.Scarce(t, h.op, h.in, h.want, tries, h.opts...) })
	}
}
