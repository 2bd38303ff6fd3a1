// Exchange sends records of 100 bytes by the hash of their keys, and sums up what arrives:
//
//	exchange [--ways N] IN OUT
//
// It is a shuffle and as little else as can be. The one line of the output is how many
// records arrived in the N partitions (16), a tab, and the sum of their CRC-32.
package main

import (
	"context"
	"hash/crc32"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(exchange) }

type (
	pair = df.Pair[string, string]
	seen = df.Pair[int64, int64] // records, and the sum of their checksums
)

func exchange(j *df.Job) {
	ways := j.Int("ways", 16, "partitions")
	records := df.MapBatch[df.Record, pair](df.Read(j, df.FromRecords(10, 100, j.Arg(0))), asStrings)
	arrived := df.MapBatchTask[pair, seen](df.PartitionByKey(records, df.Partitions(ways)), summed)
	one := df.Map(arrived, func(s seen) df.Pair[bool, seen] { return df.KV(true, s) })
	all := df.Combine(one, func(a, b seen) seen { return df.KV(a.Key+b.Key, a.Value+b.Value) }, df.Partitions(1))
	df.Write(df.Values(all), df.TSV[seen](j.Arg(1)))
}

// asStrings is a batch of bytes as one of strings, which can be keys: the same memory.
func asStrings(_ context.Context, b df.Batch) (df.Batch, error) {
	cols := make([]arrow.Array, b.NumCols())
	fields := make([]arrow.Field, b.NumCols())
	for i, c := range b.Columns() {
		d := c.Data()
		cast := array.NewData(arrow.BinaryTypes.String, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
		cols[i] = array.MakeFromData(cast)
		cast.Release()
		defer cols[i].Release()
		fields[i] = arrow.Field{Name: b.ColumnName(i), Type: arrow.BinaryTypes.String}
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, b.NumRows()), nil
}

// summed is one row for a batch.
func summed(t *df.Task) func(context.Context, df.Batch) (df.Batch, error) {
	return func(_ context.Context, b df.Batch) (df.Batch, error) {
		keys, values := b.Column(0).(*array.String), b.Column(1).(*array.String)
		var sum int64
		var record []byte
		for i := range keys.Len() {
			record = append(append(record[:0], keys.Value(i)...), values.Value(i)...)
			sum += int64(crc32.ChecksumIEEE(record))
		}
		return row(t, int64(keys.Len()), sum), nil
	}
}

func row(t *df.Task, values ...int64) df.Batch {
	var fields []arrow.Field
	var cols []arrow.Array
	for i, v := range values {
		b := array.NewInt64Builder(t.Alloc())
		defer b.Release()
		b.Append(v)
		cols = append(cols, b.NewArray())
		defer cols[i].Release()
		fields = append(fields, arrow.Field{Name: []string{"key", "value"}[i], Type: arrow.PrimitiveTypes.Int64})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, 1)
}
