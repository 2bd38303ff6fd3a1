package main

import (
	"bytes"
	"context"
	"hash/crc32"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	df "github.com/divisi-data/divisi/dataflow"
)

// A summary is what is to be known of a batch of records. Batches in order of (Task,
// Seq) are in order of the files' names and of the places in them: splits are.
type summary struct {
	Task, Seq   int64
	First, Last []byte
}

// The counters of a check, and the engine's own of records that were cut short.
const (
	countRows       = "rows"
	countChecksum   = "checksum" // modulo 2^64
	countOutOfOrder = "out of order"
	countBad        = "files.bad_records"
)

// summarized reads records and leaves the result in counters. The rows that come out
// are of no further use.
func summarized(j *df.Job, dir string) df.Dataset[summary] {
	records := df.Read(j, df.FromRecords(keyBytes, recordBytes, dir).SkipBad(0))
	batches := df.MapBatchTask[df.Record, summary](records, summarize).Named("Summarize")
	type place struct{ Task, Seq int64 }
	inOrder := df.Sort(batches, func(s summary) place { return place{s.Task, s.Seq} }, df.Partitions(1))
	return df.MapTask(inOrder, func(t *df.Task) func(summary) summary {
		outOfOrder := t.Counter(countOutOfOrder)
		var last []byte
		return func(s summary) summary {
			if bytes.Compare(last, s.First) > 0 {
				outOfOrder.Inc()
			}
			last = bytes.Clone(s.Last)
			return s
		}
	}).Named("Check")
}

// summarize makes one row of each batch, and looks at the records in columns.
func summarize(t *df.Task) func(context.Context, df.Batch) (df.Batch, error) {
	rows, checksum, outOfOrder := t.Counter(countRows), t.Counter(countChecksum), t.Counter(countOutOfOrder)
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "Task", Type: arrow.PrimitiveTypes.Int64}, {Name: "Seq", Type: arrow.PrimitiveTypes.Int64},
		{Name: "First", Type: arrow.BinaryTypes.Binary}, {Name: "Last", Type: arrow.BinaryTypes.Binary},
	}, nil)
	seq := int64(0)
	return func(_ context.Context, b df.Batch) (df.Batch, error) {
		keys, values := b.Column(0).(*array.Binary), b.Column(1).(*array.Binary)
		n := int(b.NumRows())
		var sum uint64
		for i := range n {
			if i > 0 && bytes.Compare(keys.Value(i-1), keys.Value(i)) > 0 {
				outOfOrder.Inc()
			}
			c := crc32.ChecksumIEEE(keys.Value(i))
			sum += uint64(crc32.Update(c, crc32.IEEETable, values.Value(i)))
		}
		rows.Add(int64(n))
		checksum.Add(int64(sum))

		out := array.NewRecordBuilder(t.Alloc(), schema)
		defer out.Release()
		out.Field(0).(*array.Int64Builder).Append(int64(t.ID().Index))
		out.Field(1).(*array.Int64Builder).Append(seq)
		out.Field(2).(*array.BinaryBuilder).Append(keys.Value(0))
		out.Field(3).(*array.BinaryBuilder).Append(keys.Value(n - 1))
		seq++
		return out.NewRecordBatch(), nil
	}
}

// nowhereKind is a sink that keeps nothing, for a job whose result is its counters.
const nowhereKind = "nowhere"

func init() {
	df.RegisterSink(df.SinkKind{Kind: nowhereKind, Summary: "keeps nothing", Build: func([]byte) (df.Sink, error) { return nowhere{}, nil }})
}

type nowhere struct{}

func (nowhere) Prepare(context.Context, df.Commit) ([]byte, error)     { return nil, nil }
func (nowhere) Open(*df.Env) (df.Writer, error)                        { return nowhere{}, nil }
func (nowhere) Publish(context.Context, df.Commit, []df.Receipt) error { return nil }
func (nowhere) Clean(context.Context, df.Commit) error                 { return nil }
func (nowhere) Write(context.Context, df.Batch) error                  { return nil }
func (nowhere) Seal(context.Context) (df.Receipt, error)               { return df.Receipt{}, nil }
func (nowhere) Abort(context.Context) error                            { return nil }
