package files

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// onlyBad is the policy that makes bad records the rows.
const onlyBad = "only"

// RejectSchema is what a bad record is kept as: where it was, why it could not be read,
// and its bytes.
var RejectSchema = arrow.NewSchema([]arrow.Field{
	{Name: "position", Type: arrow.BinaryTypes.String},
	{Name: "reason", Type: arrow.BinaryTypes.String},
	{Name: "record", Type: arrow.BinaryTypes.String},
}, nil)

// rejects is a source whose rows are the records that another cannot read.
type rejects struct{ *source }

// Schema implements dataflow.Source.
func (rejects) Schema(context.Context) (*arrow.Schema, error) { return RejectSchema, nil }

// Open implements dataflow.Source.
func (r rejects) Open(env *dataflow.Env, split dataflow.Split) (dataflow.Stream, error) {
	s := &rejectStream{env: env, rows: array.NewRecordBuilder(env.Alloc, RejectSchema)}
	var err error
	if s.in, err = r.open(env, split, s.take); err != nil {
		s.rows.Release()
		return nil, err
	}
	s.pull, s.stop = iter.Pull(s.run)
	return s, nil
}

// A rejectStream reads rows and throws them away; what cannot be read comes out. It
// reads as a coroutine, so that a file of nothing but bad records is no large batch.
type rejectStream struct {
	env   *dataflow.Env
	in    dataflow.Stream
	ctx   context.Context
	rows  *array.RecordBuilder
	n     int // rows in the builder
	bytes int // and their size
	pull  func() (dataflow.Batch, bool)
	stop  func()
	yield func(dataflow.Batch) bool
	err   error
}

var errStopped = errors.New("the reader has gone")

// take keeps a bad record.
func (s *rejectStream) take(b BadRecord) error {
	for i, v := range []string{b.Place, b.Reason.Error(), string(b.Record)} {
		s.rows.Field(i).(*array.StringBuilder).Append(v)
		s.bytes += len(v)
	}
	if s.n++; s.n < s.env.BatchRows && s.bytes < s.env.BatchBytes {
		return nil
	}
	return s.flush()
}

func (s *rejectStream) flush() error {
	if s.n == 0 {
		return nil
	}
	s.n, s.bytes = 0, 0
	if !s.yield(s.rows.NewRecordBatch()) {
		return errStopped
	}
	return nil
}

func (s *rejectStream) run(yield func(dataflow.Batch) bool) {
	s.yield = yield
	for {
		b, err := s.in.Next(s.ctx)
		if err == nil {
			b.Release()
			continue
		}
		if err == io.EOF {
			if ferr := s.flush(); ferr != nil {
				err = ferr
			}
		}
		s.err = err
		return
	}
}

// Next implements dataflow.Stream.
func (s *rejectStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	s.ctx = ctx
	if b, ok := s.pull(); ok {
		return b, nil
	}
	return nil, s.err
}

// Progress implements dataflow.Progresser.
func (s *rejectStream) Progress() dataflow.Progress {
	if p, ok := s.in.(dataflow.Progresser); ok {
		return p.Progress()
	}
	return dataflow.Progress{}
}

// Close implements dataflow.Stream.
func (s *rejectStream) Close() error {
	if s.rows == nil {
		return nil
	}
	s.stop()
	if s.err == nil {
		s.err = errStopped
	}
	s.rows.Release()
	s.rows = nil
	return s.in.Close()
}
