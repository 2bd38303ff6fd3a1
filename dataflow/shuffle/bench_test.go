package shuffle

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/block/blocktest"
	"github.com/divisi-data/divisi/dataflow/order"
)

func benchBatches(schema *arrow.Schema, n int) (all []dataflow.Batch, bytes, rows int64) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		b := blocktest.Random(rng, memory.DefaultAllocator, schema, 32<<10, 0)
		all = append(all, b)
		bytes += order.BatchBytes(b)
		rows += b.NumRows()
	}
	return all, bytes, rows
}

var benchSchema = arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String}, {Name: "v", Type: arrow.PrimitiveTypes.Float64}}, nil)

// BenchmarkWrite: partition, gather, encode and write about 50 MB.
func BenchmarkWrite(b *testing.B) {
	all, bytes, rows := benchBatches(benchSchema, 48)
	for _, n := range []int{1, 16, 256, 1024} {
		for _, codec := range []block.Codec{block.None, block.LZ4} {
			b.Run(fmt.Sprintf("partitions=%d/%s", n, codec), func(b *testing.B) {
				b.SetBytes(bytes)
				for b.Loop() {
					env := dataflow.NewEnv(b.Context())
					part, _ := NewPartitioner(dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{0}, Partitions: n}, benchSchema, env.Task, nil)
					w, err := NewWriter(env, benchSchema, part, b.TempDir(), Options{Codec: codec})
					must(b, err)
					for _, x := range all {
						must(b, w.Write(x))
					}
					s, err := w.Seal()
					must(b, err)
					must(b, Remove(s.Path))
				}
				b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
		}
	}
}

// BenchmarkRead: fetch, check and decode them.
func BenchmarkRead(b *testing.B) {
	all, bytes, _ := benchBatches(benchSchema, 48)
	for _, codec := range []block.Codec{block.None, block.LZ4} {
		env := dataflow.NewEnv(b.Context())
		part, _ := NewPartitioner(dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{0}, Partitions: 16}, benchSchema, env.Task, nil)
		w, err := NewWriter(env, benchSchema, part, b.TempDir(), Options{Codec: codec})
		must(b, err)
		for _, x := range all {
			must(b, w.Write(x))
		}
		sealed, err := w.Seal()
		must(b, err)
		b.Run(codec.String(), func(b *testing.B) {
			b.SetBytes(bytes)
			for b.Loop() {
				s := Open(env, Local{}, []Location{{Path: sealed.Path}}, 0, 16, benchSchema, ReadOptions{})
				for {
					x, err := s.Next(b.Context())
					if err == io.EOF {
						break
					}
					must(b, err)
					x.Release()
				}
				must(b, s.Close())
			}
		})
	}
}

// BenchmarkSmallTasks: what a task costs that has 64 partitions and 1,000 rows.
func BenchmarkSmallTasks(b *testing.B) {
	x := blocktest.Random(rand.New(rand.NewPCG(1, 2)), memory.DefaultAllocator, benchSchema, 1000, 0)
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		env := dataflow.NewEnv(b.Context())
		env.Task.Index = i
		part, _ := NewPartitioner(dataflow.Exchange{Kind: dataflow.Hash, Columns: []int{0}, Partitions: 64}, benchSchema, env.Task, nil)
		w, err := NewWriter(env, benchSchema, part, dir, Options{})
		must(b, err)
		must(b, w.Write(x))
		_, err = w.Seal()
		must(b, err)
	}
	_ = os.RemoveAll(dir)
}
