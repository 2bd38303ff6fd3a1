package shuffle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
	"github.com/divisi-data/divisi/dataflow/order"
)

var ints = arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, {Name: "v", Type: arrow.PrimitiveTypes.Int64}}, nil)

// intBatch has the keys and, in the second column, their positions.
func intBatch(mem memory.Allocator, keys ...int32) dataflow.Batch {
	b := array.NewRecordBuilder(mem, ints)
	defer b.Release()
	for i, k := range keys {
		b.Field(0).(*array.Int32Builder).Append(k)
		b.Field(1).(*array.Int64Builder).Append(int64(i))
	}
	return b.NewRecordBatch()
}

func partition(t *testing.T, x dataflow.Exchange, task int, b dataflow.Batch) []int32 {
	t.Helper()
	p, err := NewPartitioner(x, b.Schema(), dataflow.TaskID{Index: task}, nil)
	must(t, err)
	dst := make([]int32, b.NumRows())
	must(t, p.Partition(dst, b))
	return dst
}

func TestSimplePartitioners(t *testing.T) {
	b := intBatch(memory.DefaultAllocator, 0, 1, 5, -1, 7, 7, -8)
	for _, c := range []struct {
		x    dataflow.Exchange
		task int
		want []int32
	}{
		{dataflow.Exchange{Kind: dataflow.Single, Partitions: 1}, 0, []int32{0, 0, 0, 0, 0, 0, 0}},
		{dataflow.Exchange{Kind: dataflow.Forward}, 9, []int32{0, 0, 0, 0, 0, 0, 0}},
		{dataflow.Exchange{Kind: dataflow.Broadcast, Partitions: 1}, 9, []int32{0, 0, 0, 0, 0, 0, 0}},
		{dataflow.Exchange{Kind: dataflow.Spread, Partitions: 3}, 0, []int32{0, 1, 2, 0, 1, 2, 0}},
		{dataflow.Exchange{Kind: dataflow.Spread, Partitions: 3}, 5, []int32{2, 0, 1, 2, 0, 1, 2}},
		{dataflow.Exchange{Kind: dataflow.Direct, Columns: []int{0}, Partitions: 4}, 0, []int32{0, 1, 1, 3, 3, 3, 0}},
	} {
		if got := partition(t, c.x, c.task, b); !slices.Equal(got, c.want) {
			t.Errorf("%v task %d: %v, want %v", c.x, c.task, got, c.want)
		}
	}
}

func TestHashPartitioner(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]int32, 100000)
	for i := range keys {
		keys[i] = int32(rng.IntN(20000))
	}
	b := intBatch(memory.DefaultAllocator, keys...)
	for _, n := range []int{1, 2, 7, 64, 1000} {
		got := partition(t, dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{0}, Partitions: n}, 0, b)
		of := map[int32]int32{}
		distinct := make([]int, n)
		for i, p := range got {
			if p < 0 || int(p) >= n {
				t.Fatalf("partition %d of %d", p, n)
			}
			if before, seen := of[keys[i]]; seen && before != p {
				t.Fatalf("key %d is in %d and %d", keys[i], before, p)
			} else if !seen {
				of[keys[i]] = p
				distinct[p]++
			}
		}
		mean := len(of) / n
		if most := slices.Max(distinct); most > 2*mean+20 {
			t.Errorf("%d partitions: %d keys in one, %d on average", n, most, mean)
		}
	}
}

func TestMisfits(t *testing.T) {
	for _, x := range []dataflow.Exchange{
		{Kind: "odd"}, {Kind: dataflow.Hash}, {Kind: dataflow.Hash, Columns: []int{2}},
		{Kind: dataflow.Direct, Columns: []int{1}}, {Kind: dataflow.Range, Keys: []dataflow.SortKey{{}}},
	} {
		if _, err := NewPartitioner(x, ints, dataflow.TaskID{}, nil); dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "exchange") {
			t.Errorf("%v: %v", x, err)
		}
	}
}

type batches struct{ all []dataflow.Batch }

func TestRangePartitioner(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct{ sample, n, distinct int }{
		{0, 4, 1}, {1, 4, 5}, {3, 8, 100}, {1000, 1, 50}, {1000, 8, 1 << 20}, {1000, 8, 3}, {1000, 64, 1},
	} {
		for _, desc := range []bool{false, true} {
			t.Run(fmt.Sprintf("%+v/descending=%v", c, desc), func(t *testing.T) {
				env := world(t, 0)
				draw := func(n int) []int32 {
					keys := make([]int32, n)
					for i := range keys {
						keys[i] = int32(rng.IntN(c.distinct)) - 2
					}
					return keys
				}
				sample := draw(c.sample)
				// The sample holds the key column alone, in odd batches.
				narrow := arrow.NewSchema(ints.Fields()[:1], nil)
				var in []dataflow.Stream
				for part := range slices.Chunk(sample, 300) {
					b := intBatch(env.Alloc, part...)
					in = append(in, &batches{[]dataflow.Batch{array.NewRecordBatch(narrow, b.Columns()[:1], b.NumRows())}})
					b.Release()
				}
				x := dataflow.Exchange{Kind: dataflow.Range, Keys: []dataflow.SortKey{{Descending: desc}}, Partitions: c.n}
				bounds, err := Bounds(t.Context(), env, Concat(in...), narrow, x.Keys, c.n)
				must(t, err)
				p, err := NewPartitioner(x, ints, env.Task, bounds)
				must(t, err)
				keys := draw(5000)
				b := intBatch(env.Alloc, keys...)
				defer b.Release()
				got := make([]int32, len(keys))
				must(t, p.Partition(got, b))

				// The oracle: the sorted sample, cut in equal parts.
				slices.Sort(sample)
				if desc {
					slices.Reverse(sample)
				}
				for i, k := range keys {
					want := 0
					for j := 1; j < c.n && len(sample) > 0; j++ {
						cut := sample[j*len(sample)/c.n]
						if k == cut || (k > cut) != desc {
							want++
						}
					}
					if int(got[i]) != want {
						t.Fatalf("key %d goes to %d, want %d", k, got[i], want)
					}
				}
				if c.sample == 1000 && c.distinct > 1000 {
					count := make([]int, c.n)
					for _, p := range got {
						count[p]++
					}
					if slices.Max(count) > 2*len(keys)/c.n {
						t.Errorf("uneven: %v", count)
					}
				}
			})
		}
	}
}

// Along the order of text and number keys, with nulls, partitions never fall.
func TestRangeFollowsOrder(t *testing.T) {
	env := world(t, 0)
	schema := blocktest.AllTypes()
	all := random(9, env, schema, 400, 300)
	sample, rows := all[0], all[1]
	defer rows.Release()
	keys := []dataflow.SortKey{{Column: 7, Descending: true}, {Column: 4}}
	x := dataflow.Exchange{Kind: dataflow.Range, Keys: keys, Partitions: 16}
	bounds, err := Bounds(t.Context(), env, &batches{[]dataflow.Batch{sample}}, schema, keys, 16)
	must(t, err)
	p, err := NewPartitioner(x, schema, env.Task, bounds)
	must(t, err)
	got := make([]int32, rows.NumRows())
	must(t, p.Partition(got, rows))
	k, err := order.Encode(rows, keys)
	must(t, err)
	last := int32(0)
	for _, i := range order.Sort(k) {
		if got[i] < last {
			t.Fatalf("row %d goes to %d, one before it to %d", i, got[i], last)
		}
		last = got[i]
	}
	if used := len(slices.Compact(slices.Sorted(slices.Values(got)))); used < 10 {
		t.Errorf("%d of 16 partitions are used", used)
	}
}
