package order_test

import (
	"bytes"
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
)

// TestTakeOfText takes rows one by one and in runs out of slices of texts of one length
// and of several, with and without nulls, by Take and by a Taker that is used again.
func TestTakeOfText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 14))
	for _, widths := range [][]int{{0}, {1}, {10}, {16}, {17}, {90}, {300}, {3, 5}, {0, 16}, {10, 90, 2}} {
		for _, dt := range []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString} {
			for _, nulls := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v of %v, nulls %v", dt, widths, nulls), func(t *testing.T) {
					takeOfText(t, rng, dt, widths, nulls)
				})
			}
		}
	}
}

func takeOfText(t *testing.T, rng *rand.Rand, dt arrow.DataType, widths []int, nulls bool) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	schema := opstest.SchemaOf(dt)
	const null = "\x00null"
	var taker order.Taker
	for range 3 {
		taker.Reset()
		var batches []dataflow.Batch
		var rows [][]string // of each batch
		for i := range 1 + rng.IntN(3) {
			rb := array.NewRecordBuilder(mem, schema)
			n := 1 + rng.IntN(60)
			var all []string
			for range n {
				v := make([]byte, widths[(i+rng.IntN(len(widths)))%len(widths)])
				for k := range v {
					v[k] = 'a' + byte(rng.IntN(26))
				}
				if nulls && rng.IntN(4) == 0 {
					rb.Field(0).AppendNull()
					all = append(all, null)
					continue
				}
				all = append(all, string(v))
				if f, ok := rb.Field(0).(*array.BinaryBuilder); ok { // its strings would be base64
					f.Append(v)
				} else {
					must(t, rb.Field(0).AppendValueFromString(string(v)))
				}
			}
			whole := rb.NewRecordBatch()
			rb.Release()
			from := rng.IntN(n)
			b := whole.NewSlice(int64(from), int64(n))
			whole.Release()
			defer b.Release()
			batches, rows = append(batches, b), append(rows, all[from:])
			taker.Add(b)
		}
		for _, n := range []int{0, 1, 200} {
			var refs []order.Ref
			var want []string
			for len(refs) < n {
				c := rng.IntN(len(batches))
				row := rng.IntN(len(rows[c]))
				for run := 1 + rng.IntN(8)*rng.IntN(2); run > 0 && row < len(rows[c]); run-- {
					refs, want = append(refs, order.Ref{Batch: int32(c), Row: int32(row)}), append(want, rows[c][row])
					row++
				}
				if nulls && rng.IntN(10) == 0 {
					refs, want = append(refs, order.NullRef), append(want, null)
				}
			}
			for how, take := range map[string]func() (dataflow.Batch, error){
				"Take":  func() (dataflow.Batch, error) { return order.Take(mem, schema, batches, refs) },
				"Taker": func() (dataflow.Batch, error) { return taker.Take(mem, schema, refs) },
			} {
				got, err := take()
				must(t, err)
				if int(got.NumRows()) != len(want) {
					t.Fatalf("%s: %d rows, want %d", how, got.NumRows(), len(want))
				}
				for i, w := range want {
					g := null
					if col := got.Column(0); col.IsValid(i) {
						g = text(col, i)
					}
					if g != w {
						t.Fatalf("%s: row %d of %d is %q, want %q", how, i, len(want), g, w)
					}
				}
				got.Release()
			}
		}
	}
}

func text(a arrow.Array, i int) string {
	switch a := a.(type) {
	case *array.Binary:
		return string(a.Value(i))
	case *array.String:
		return a.Value(i)
	}
	return a.(*array.LargeString).Value(i)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSearchOfText compares with a count, for few bounds and many, most of them alike in
// their first eight bytes.
func TestSearchOfText(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	schema := opstest.SchemaOf(arrow.BinaryTypes.Binary)
	keys := func(vs [][]byte) *order.Keys {
		rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer rb.Release()
		rb.Field(0).(*array.BinaryBuilder).AppendValues(vs, nil)
		k, err := order.Encode(rb.NewRecordBatch(), []dataflow.SortKey{{Column: 0}})
		must(t, err)
		return k
	}
	random := func(n int) (vs [][]byte) {
		for range n {
			v := []byte("the same ")
			for range rng.IntN(4) {
				v = append(v, byte(rng.IntN(3)))
			}
			v[rng.IntN(len(v))] ^= byte(rng.IntN(20) / 19)
			vs = append(vs, v[:len(v)-rng.IntN(20)/19*len(v)])
		}
		return vs
	}
	for _, n := range []int{0, 1, 2, 3, 7, 8, 63, 64, 200} {
		bounds, rows := random(n), random(300)
		slices.SortFunc(bounds, bytes.Compare)
		b, k := keys(bounds), keys(rows)
		for i, row := range rows {
			want := 0
			for _, x := range bounds {
				if bytes.Compare(x, row) <= 0 {
					want++
				}
			}
			if got := order.Search(b, k, i); got != want {
				t.Fatalf("%d bounds: %q is in partition %d, want %d", n, row, got, want)
			}
		}
	}
}

// TestTakeOfMuchText takes rows, some of which follow each other, out of more than a cache
// holds: then they are asked for before they are copied.
func TestTakeOfMuchText(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	schema := opstest.SchemaOf(arrow.BinaryTypes.Binary)
	for _, width := range []int{17, 64, 90, 200} {
		var batches []dataflow.Batch
		var taker order.Taker
		value := func(batch, row int32) []byte {
			v := bytes.Repeat([]byte{byte(row), byte(batch)}, width/2+1)[:width]
			copy(v, fmt.Sprint(batch, row))
			return v
		}
		const each = 10_000
		for i := range int32(5<<20/(each*width) + 1) {
			b := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
			for row := range int32(each) {
				b.Append(value(i, row))
			}
			whole := array.NewRecordBatch(schema, []arrow.Array{b.NewArray()}, each)
			batches = append(batches, whole.NewSlice(int64(i), each)) // its first row is row i
			taker.Add(batches[i])
		}
		var refs []order.Ref
		for len(refs) < 3000 {
			r := order.Ref{Batch: int32(rng.IntN(len(batches)))}
			r.Row = int32(rng.IntN(int(batches[r.Batch].NumRows()) - 100))
			for range 1 + rng.IntN(100)*rng.IntN(2) {
				refs = append(refs, r)
				r.Row++
			}
		}
		got, err := taker.Take(memory.DefaultAllocator, schema, refs)
		must(t, err)
		for i, r := range refs {
			if v := got.Column(0).(*array.Binary).Value(i); !bytes.Equal(v, value(r.Batch, r.Row+r.Batch)) {
				t.Fatalf("%d bytes: row %d, of %v, is %q", width, i, r, v)
			}
		}
	}
}
