// Command kafka is a job that reads a topic and keeps nothing but how much it was:
// kafka TOPIC OUT. Its counters "records" and "bytes" tell, so that what it takes is
// reading alone.
package main

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/connectors/kafka"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(read) }

// read reads keys and values as they are.
func read(j *df.Job) {
	type record struct{ Key, Value []byte }
	records := df.Read(j, df.CustomSource[record]("kafka", kafka.SourceArgs{URI: j.Arg(0), Format: kafka.Raw}))
	df.Write(df.MapBatchTask[record, int64](records, count), df.TSV[int64](j.Arg(1)))
}

var noRows = arrow.NewSchema([]arrow.Field{{Name: "value", Type: arrow.PrimitiveTypes.Int64}}, nil)

// count counts records and the bytes of their values in whole batches, which it drops.
func count(t *df.Task) func(context.Context, df.Batch) (df.Batch, error) {
	records, bytes := t.Counter("records"), t.Counter("bytes")
	return func(_ context.Context, b df.Batch) (df.Batch, error) {
		v := b.Column(1).(*array.Binary)
		records.Add(int64(v.Len()))
		bytes.Add(int64(len(v.ValueBytes())))
		none := array.NewRecordBuilder(t.Alloc(), noRows)
		defer none.Release()
		return none.NewRecordBatch(), nil
	}
}
