package order_test

import (
	"errors"
	"fmt"
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

func sign(n int) int { return max(-1, min(1, n)) }

// Every type, both directions: keys compare as the oracle says, prefixes never
// contradict them, and keys of two batches compare with each other.
func TestCompare(t *testing.T) {
	for _, typ := range opstest.Types() {
		for _, desc := range []bool{false, true} {
			t.Run(fmt.Sprint(typ, desc), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(1, 2))
				schema := opstest.SchemaOf(typ, arrow.PrimitiveTypes.Int8)
				a := opstest.Random(memory.DefaultAllocator, rng, schema, race.Tries(150, 150, 40))
				whole := opstest.Random(memory.DefaultAllocator, rng, schema, 150)
				b := whole.NewSlice(7, whole.NumRows()-10) // offsets must not matter
				for _, keys := range [][]dataflow.SortKey{
					{{Column: 0, Descending: desc}},
					{{Column: 0, Descending: desc}, {Column: 1}},
					{{Column: 1}, {Column: 0, Descending: desc}},
				} {
					ka, err := order.Encode(a, keys)
					if err != nil {
						t.Fatal(err)
					}
					kb, err := order.Encode(b, keys)
					if err != nil {
						t.Fatal(err)
					}
					for i := range ka.Len() {
						for j := range kb.Len() {
							want := sign(opstest.CompareRows(keys, a, i, b, j))
							if got := sign(ka.Compare(i, kb, j)); got != want {
								t.Fatalf("%v: %s against %s: %d, want %d", keys, opstest.Row(a, i), opstest.Row(b, j), got, want)
							}
							if p, q := ka.Prefix(i), kb.Prefix(j); want < 0 && p > q || want > 0 && p < q || want == 0 && p != q {
								t.Fatalf("%v: prefixes %x and %x of keys that compare %d", keys, p, q, want)
							}
						}
					}
				}
			})
		}
	}
}

func TestSort(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var sorter order.Sorter
	for _, typ := range opstest.Types() {
		schema := opstest.SchemaOf(typ, arrow.PrimitiveTypes.Int8)
		for _, n := range []int{0, 1, 2, 30, 3000} {
			b := opstest.Random(memory.DefaultAllocator, rng, schema, n)
			for _, keys := range [][]dataflow.SortKey{
				{{Column: 0}}, {{Column: 0, Descending: true}}, {{Column: 1, Descending: true}, {Column: 0}},
			} {
				checkSort(t, &sorter, b, keys)
			}
		}
	}
}

// Numbers in every shape the radix passes branch on.
func TestSortLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	n := race.Tries(70_000, 70_000, 10_000)
	for name, next := range map[string]func(i int) int64{
		"random": func(int) int64 { return int64(rng.Uint64()) },
		"small":  func(int) int64 { return int64(rng.IntN(100)) },
		"sorted": func(i int) int64 { return int64(i) },
		"same":   func(int) int64 { return 7 },
		"skewed": func(i int) int64 {
			if i%100 == 0 {
				return int64(rng.Uint64())
			}
			return int64(rng.IntN(1 << 17))
		},
		"high bits": func(int) int64 { return int64(rng.IntN(5)) << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.Binary)
			rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			defer rb.Release()
			for i := range n {
				v := next(i)
				rb.Field(0).(*array.Int64Builder).Append(v)
				rb.Field(1).(*array.BinaryBuilder).Append(fmt.Appendf(nil, "common prefix %d", v))
			}
			b := rb.NewRecordBatch()
			checkSort(t, new(order.Sorter), b, []dataflow.SortKey{{Column: 0}})
			checkSort(t, new(order.Sorter), b, []dataflow.SortKey{{Column: 1}})
		})
	}
}

func checkSort(t *testing.T, sorter *order.Sorter, b dataflow.Batch, keys []dataflow.SortKey) {
	t.Helper()
	k, err := order.Encode(b, keys)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]int32, b.NumRows())
	for i := range want {
		want[i] = int32(i)
	}
	slices.SortStableFunc(want, func(i, j int32) int { return opstest.CompareRows(keys, b, int(i), b, int(j)) })
	if got := sorter.Sort(k); !slices.Equal(got, want) {
		t.Fatalf("%s, %v, %d rows: %v, want %v", b.Schema(), keys, b.NumRows(), got[:min(50, len(got))], want[:min(50, len(want))])
	}
}

func TestKeysOfManyBatches(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64)
	keys := []dataflow.SortKey{{Column: 0}}
	enc, err := order.NewEncoder(schema, keys)
	if err != nil {
		t.Fatal(err)
	}
	whole := opstest.Random(memory.DefaultAllocator, rng, schema, 100)
	want, err := order.Encode(whole, keys)
	if err != nil {
		t.Fatal(err)
	}
	var k order.Keys
	for round := range 2 { // again after Reset
		for from := int64(0); from < 100; from += 10 {
			if err := enc.Append(&k, whole.NewSlice(from, from+10)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			if k.Compare(i, want, i) != 0 {
				t.Fatalf("round %d: key %d differs", round, i)
			}
		}
		k.Reset()
	}
	if k.Bytes() == 0 {
		t.Error("keys that hold memory say they hold none")
	}
}

func TestSearch(t *testing.T) {
	schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64)
	mk := func(vs ...int64) *order.Keys {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer rb.Release()
		rb.Field(0).(*array.Int64Builder).AppendValues(vs, nil)
		k, err := order.Encode(rb.NewRecordBatch(), []dataflow.SortKey{{Column: 0}})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	bounds, k := mk(10, 20, 20, 30), mk(9, 10, 19, 20, 29, 30, 99)
	for i, want := range []int{0, 1, 1, 3, 3, 4, 4} {
		if got := order.Search(bounds, k, i); got != want {
			t.Errorf("row %d: %d, want %d", i, got, want)
		}
	}
}

func TestBadKeys(t *testing.T) {
	schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64, arrow.MapOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String))
	for _, keys := range [][]dataflow.SortKey{nil, {{Column: 2}}, {{Column: -1}}, {{Column: 1}}} {
		if _, err := order.NewEncoder(schema, keys); err == nil {
			t.Errorf("%v is accepted", keys)
		}
	}
}

func TestTake(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	types := append(opstest.Types(), arrow.ListOf(opstest.Types()[23]))
	schema := opstest.SchemaOf(types...)
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	var batches []dataflow.Batch
	for _, n := range []int{1, 20, 50} {
		b := opstest.Random(mem, rng, schema, n)
		defer b.Release()
		s := b.NewSlice(int64(n/4), int64(n))
		defer s.Release()
		batches = append(batches, s)
	}
	for _, n := range []int{0, 1, 7, 300} {
		refs := make([]order.Ref, n)
		var want []string
		for i := range refs {
			c := rng.IntN(len(batches))
			refs[i] = order.Ref{Batch: int32(c), Row: int32(rng.IntN(int(batches[c].NumRows())))}
			if rng.IntN(10) == 0 {
				refs[i] = order.NullRef
				row := ""
				for range types {
					row += "null|"
				}
				want = append(want, row)
				continue
			}
			want = append(want, opstest.Row(batches[c], int(refs[i].Row)))
		}
		got, err := order.Take(mem, schema, batches, refs)
		if err != nil {
			t.Fatal(err)
		}
		if rows := opstest.Rows(got); !slices.Equal(rows, want) {
			t.Errorf("got %q\nwant %q", rows, want)
		}
		got.Release()
	}
}

func TestTakeRefusesWhatItCannot(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64, arrow.StructOf(arrow.Field{Name: "v", Type: arrow.BinaryTypes.StringView, Nullable: true}))
	rb := array.NewRecordBuilder(mem, schema)
	rb.Field(0).(*array.Int64Builder).Append(1)
	rb.Field(1).AppendNull()
	b := rb.NewRecordBatch()
	rb.Release()
	defer b.Release()
	if _, err := order.Take(mem, schema, []dataflow.Batch{b}, []order.Ref{{}}); err == nil {
		t.Error("no error")
	}
}

func TestMerge(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(11, seed))
		schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int16, arrow.BinaryTypes.String)
		keys := []dataflow.SortKey{{Column: 0, Descending: seed%2 == 0}}
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		env := dataflow.NewEnv(t.Context())
		env.Alloc, env.BatchRows = mem, 1+rng.IntN(30)
		var in []dataflow.Stream
		var want []string
		var all []order.Ref
		var batches []dataflow.Batch
		for i := range rng.IntN(9) {
			b := opstest.Random(mem, rng, schema, rng.IntN(50))
			defer b.Release()
			k, err := order.Encode(b, keys)
			if err != nil {
				t.Fatal(err)
			}
			var refs []order.Ref
			for _, r := range order.Sort(k) {
				refs = append(refs, order.Ref{Row: r})
			}
			s, err := order.Take(mem, schema, []dataflow.Batch{b}, refs)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Release()
			in = append(in, opstest.Slice(mem, s, 1+rng.IntN(10)))
			batches = append(batches, s)
			for r := range s.NumRows() {
				all = append(all, order.Ref{Batch: int32(i), Row: int32(r)})
			}
		}
		slices.SortStableFunc(all, func(a, b order.Ref) int {
			return opstest.CompareRows(keys, batches[a.Batch], int(a.Row), batches[b.Batch], int(b.Row))
		})
		for _, r := range all {
			want = append(want, opstest.Row(batches[r.Batch], int(r.Row)))
		}
		m := order.Check(keys, order.Merge(env, keys, in, false))
		out, err := opstest.Collect(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if got := opstest.Rows(out...); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		for _, b := range out {
			if int(b.NumRows()) > env.BatchRows && len(in) > 1 {
				t.Errorf("a batch of %d rows, limit %d", b.NumRows(), env.BatchRows)
			}
			b.Release()
		}
		if env.Memory.Used() != 0 {
			t.Errorf("%d bytes are still reserved", env.Memory.Used())
		}
	}
}

func TestCheck(t *testing.T) {
	schema := opstest.SchemaOf(arrow.PrimitiveTypes.Int64)
	keys := []dataflow.SortKey{{Column: 0}}
	for _, c := range []struct {
		vs []int64
		ok bool
	}{{nil, true}, {[]int64{1}, true}, {[]int64{1, 1, 2, 5}, true}, {[]int64{1, 2, 1}, false}, {[]int64{1, 0, 1}, false}} {
		for size := 1; size < 4; size++ {
			mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
			rb := array.NewRecordBuilder(mem, schema)
			rb.Field(0).(*array.Int64Builder).AppendValues(c.vs, nil)
			b := rb.NewRecordBatch()
			rb.Release()
			s := order.Check(keys, opstest.Slice(mem, b, size))
			out, err := opstest.Collect(t.Context(), s)
			if c.ok != (err == nil) {
				t.Errorf("%v in batches of %d: %v", c.vs, size, err)
			}
			if err != nil && (!errors.Is(err, order.ErrNotSorted) || dataflow.KindOf(err) != dataflow.Fatal) {
				t.Errorf("error is %v", err)
			}
			for _, b := range out {
				b.Release()
			}
			b.Release()
			mem.AssertSize(t, 0)
		}
	}
}

func TestLocator(t *testing.T) {
	var l order.Locator
	for range 2 {
		var want []order.Ref
		for b, n := range []int{1, 300, 2, 256, 255, 700, 1} {
			l.Add(n)
			for r := range n {
				want = append(want, order.Ref{Batch: int32(b), Row: int32(r)})
			}
		}
		for i, w := range want {
			if got := l.Ref(int32(i)); got != w {
				t.Fatalf("row %d: %v, want %v", i, got, w)
			}
		}
		if l.Rows() != len(want) {
			t.Errorf("%d rows, want %d", l.Rows(), len(want))
		}
		l.Reset()
	}
}
