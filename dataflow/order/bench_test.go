package order_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
	"github.com/divisi-data/divisi/dataflow/order"
)

// numbers are batches of random int64.
func numbers(n, size int) []dataflow.Batch {
	rng := rand.New(rand.NewPCG(1, 1))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64))
	defer rb.Release()
	var bs []dataflow.Batch
	for range n / size {
		for i := range size {
			rb.Field(0).(*array.Int64Builder).Append(int64(rng.Uint64()))
			rb.Field(1).(*array.Int64Builder).Append(int64(i))
		}
		bs = append(bs, rb.NewRecordBatch())
	}
	return bs
}

// records are batches of TeraSort's records: ten bytes of key, ninety of value.
func records(n, size int) []dataflow.Batch {
	rng := rand.New(rand.NewPCG(1, 1))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(arrow.BinaryTypes.Binary, arrow.BinaryTypes.Binary))
	defer rb.Release()
	var bs []dataflow.Batch
	var key [10]byte
	var value [90]byte
	for range n / size {
		for range size {
			for i := range key {
				key[i] = byte(rng.Uint32())
			}
			rb.Field(0).(*array.BinaryBuilder).Append(key[:])
			rb.Field(1).(*array.BinaryBuilder).Append(value[:])
		}
		bs = append(bs, rb.NewRecordBatch())
	}
	return bs
}

func BenchmarkSort(b *testing.B) {
	for _, c := range []struct {
		name string
		bs   []dataflow.Batch
	}{{"int64", numbers(4<<20, 64<<10)}, {"terasort", records(1<<20, 8<<10)}} {
		keys := []dataflow.SortKey{{Column: 0}}
		enc, err := order.NewEncoder(c.bs[0].Schema(), keys)
		if err != nil {
			b.Fatal(err)
		}
		var k order.Keys
		n := 0
		encode := func() {
			k.Reset()
			n = 0
			for _, x := range c.bs {
				n += int(x.NumRows())
				if err := enc.Append(&k, x); err != nil {
					b.Fatal(err)
				}
			}
		}
		rate := func(b *testing.B) {
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		}
		encode()
		b.Run(fmt.Sprintf("%s/rows=%d/encode", c.name, n), func(b *testing.B) {
			for b.Loop() {
				encode()
			}
			rate(b)
		})
		var s order.Sorter
		var perm []int32
		b.Run(fmt.Sprintf("%s/rows=%d/sort", c.name, n), func(b *testing.B) {
			for b.Loop() {
				perm = s.Sort(&k)
			}
			rate(b)
		})
		b.Run(fmt.Sprintf("%s/rows=%d/take", c.name, n), func(b *testing.B) {
			rows := int(c.bs[0].NumRows())
			refs := make([]order.Ref, 0, rows)
			var taker order.Taker
			for _, x := range c.bs {
				taker.Add(x)
			}
			for b.Loop() {
				for lo := 0; lo < len(perm); lo += rows {
					refs = refs[:0]
					for _, p := range perm[lo : lo+rows] {
						refs = append(refs, order.Ref{Batch: p / int32(rows), Row: p % int32(rows)})
					}
					out, err := taker.Take(memory.DefaultAllocator, c.bs[0].Schema(), refs)
					if err != nil {
						b.Fatal(err)
					}
					out.Release()
				}
			}
			rate(b)
		})
	}
}
