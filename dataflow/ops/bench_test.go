package ops

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// canned gives batches that are made already, n times over.
type canned struct {
	bs []dataflow.Batch
	at int
}

func (c *canned) Next(context.Context) (dataflow.Batch, error) {
	if c.at == len(c.bs) {
		return nil, io.EOF
	}
	c.at++
	b := c.bs[c.at-1]
	b.Retain()
	return b, nil
}

func (c *canned) Close() error { return nil }

func numbers(n, size int, next func(i int) int64) []dataflow.Batch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i64, i64))
	defer rb.Release()
	var bs []dataflow.Batch
	for i := range n {
		rb.Field(0).(*array.Int64Builder).Append(next(i))
		rb.Field(1).(*array.Int64Builder).Append(int64(i))
		if (i+1)%size == 0 {
			bs = append(bs, rb.NewRecordBatch())
		}
	}
	return bs
}

func records(n, size int) []dataflow.Batch {
	rng := rand.New(rand.NewPCG(1, 1))
	rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(arrow.BinaryTypes.Binary, arrow.BinaryTypes.Binary))
	defer rb.Release()
	var bs []dataflow.Batch
	var key [10]byte
	var value [90]byte
	for i := range n {
		for i := range key {
			key[i] = byte(rng.Uint32())
		}
		rb.Field(0).(*array.BinaryBuilder).Append(key[:])
		rb.Field(1).(*array.BinaryBuilder).Append(value[:])
		if (i+1)%size == 0 {
			bs = append(bs, rb.NewRecordBatch())
		}
	}
	return bs
}

// bench runs an operator over inputs again and again; rate counts the rows of the
// first.
func bench(b *testing.B, o dataflow.Operator, limit int64, in ...[]dataflow.Batch) {
	rows := 0
	for _, x := range in[0] {
		rows += int(x.NumRows())
	}
	for b.Loop() {
		env := dataflow.NewEnv(b.Context())
		env.Check = false
		env.Memory, env.Temp, env.Spill = dataflow.NewMemory("bench", limit), dataflow.DirTemp(b.TempDir()), block.NewSpill(block.None)
		var streams []dataflow.Stream
		for _, x := range in {
			streams = append(streams, &canned{bs: x})
		}
		s, err := o.Open(env, streams...)
		if err != nil {
			b.Fatal(err)
		}
		if err := drain(b.Context(), s, func(dataflow.Batch) error { return nil }); err != nil {
			b.Fatal(err)
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func BenchmarkSort(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	o := op(b, "sort", args{"keys": []dataflow.SortKey{{Column: 0}}})
	ints := numbers(3<<20, 32<<10, func(int) int64 { return int64(rng.Uint64()) })
	b.Run("int64", func(b *testing.B) { bench(b, o, 0, ints) })
	recs := records(1<<20, 8<<10)
	b.Run("terasort", func(b *testing.B) { bench(b, o, 0, recs) })
	b.Run("terasort/spilled", func(b *testing.B) { bench(b, o, 32<<20, recs) })
}

func BenchmarkHashJoin(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	const build = 1 << 20
	small := numbers(build, 32<<10, func(i int) int64 { return int64(i) * 7919 })
	for _, hits := range []int{6, 100} {
		probe := numbers(4<<20, 32<<10, func(int) int64 { return rng.Int64N(build*100/int64(hits)) * 7919 })
		o := join(b, "inner", "right", []int{0}, []int{0})
		b.Run(fmt.Sprintf("hits=%d%%", hits), func(b *testing.B) { bench(b, o, 0, probe, small) })
	}
}

func BenchmarkUnique(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, keys := range []int64{1000, 1 << 20} {
		in := numbers(4<<20, 32<<10, func(int) int64 { return rng.Int64N(keys) })
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { bench(b, op(b, "unique", args{"columns": []int{0}}), 0, in) })
	}
}

// As many rows as a task of many groups has, whose table is larger than the cache but
// for the first.
func BenchmarkAggregate(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, keys := range []int64{1000, 1 << 17, 1 << 20} {
		in := numbers(2<<20, 32<<10, func(int) int64 { return rng.Int64N(keys) })
		o := op(b, "aggregate", args{"mode": "final", "keys": []named{{"k", expr.Col("c0")}}, "aggs": []agg{{"n", "count", expr.Expr{}}, {"s", "sum", expr.Col("c1")}}})
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { bench(b, o, 0, in) })
	}
}
