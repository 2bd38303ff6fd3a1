package arrow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// stream reads record batches from..to of a file, or all of a stream.
type stream struct {
	*openFile
	in     *files.Input
	env    *dataflow.Env
	schema *arrow.Schema
	places []int

	from, to int64
	at       int64 // of a file: the next batch
	ended    bool  // of a stream
	all      dataflow.Batch
	next     int64 // the first row of all that is not returned yet
	first    int64 // the row of all that the last batch began with
	err      error
	closed   bool

	mu   sync.Mutex // guards what Progress shows
	rows int64
	read int64
}

// Next implements dataflow.Stream.
func (s *stream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := ctx.Err(); err != nil {
		s.err = &dataflow.Error{Op: "arrow.Read", Path: s.in.Path, Kind: dataflow.Canceled, Err: err}
		return nil, s.err
	}
	for s.all == nil || s.next == s.all.NumRows() {
		s.drop()
		if s.err = s.random.Guard("arrow.Read", s.load); s.err != nil {
			return nil, s.err
		}
	}
	s.first = s.next
	s.next = min(s.all.NumRows(), s.first+int64(max(1, s.env.BatchRows)))
	s.mu.Lock()
	s.rows += s.next - s.first
	s.mu.Unlock()
	return s.all.NewSlice(s.first, s.next), nil
}

// load decodes the next record batch and checks it.
func (s *stream) load() error {
	var b dataflow.Batch
	var err error
	switch {
	case s.file != nil && s.at == s.to, s.file == nil && s.ended:
		return io.EOF
	case s.file != nil:
		b, err = s.file.RecordBatchAt(int(s.at))
	default:
		if b, err = s.flow.Read(); err == nil {
			b.Retain() // it is the reader's until the next one
		} else if err == io.EOF {
			s.ended = true
		}
	}
	if err != nil {
		return err
	}
	defer b.Release()
	var cols []arrow.Array
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for i, p := range s.places {
		if p < 0 { // the file lacks it
			cols = append(cols, array.MakeArrayOfNull(s.env.Alloc, s.schema.Field(i).Type, int(b.NumRows())))
			continue
		}
		col := b.Column(p)
		if int64(col.Len()) != b.NumRows() {
			return fmt.Errorf("column %s has %d rows of %d", b.ColumnName(p), col.Len(), b.NumRows())
		}
		if err := files.CheckArray(col.Data()); err != nil {
			return fmt.Errorf("column %s of record batch %d: %w", b.ColumnName(p), s.at, err)
		}
		c, err := files.Retype(col, s.schema.Field(i))
		if err != nil {
			return fmt.Errorf("record batch %d: %w", s.at, err)
		}
		cols = append(cols, c)
	}
	s.all = array.NewRecordBatch(s.schema, cols, b.NumRows())
	s.at++
	s.mu.Lock()
	s.read++
	s.mu.Unlock()
	return nil
}

func (s *stream) drop() {
	if s.all != nil {
		s.all.Release()
	}
	s.all, s.next, s.first = nil, 0, 0
}

// Locate implements dataflow.Locator.
func (s *stream) Locate(row int) string {
	return fmt.Sprintf("%s:record batch %d, row %d", s.in.Path, s.at-1, s.first+int64(row))
}

// Progress implements dataflow.Progresser.
func (s *stream) Progress() dataflow.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := dataflow.Progress{Rows: s.rows}
	if n := s.to - s.from; n > 0 {
		p.Fraction = float64(s.read) / float64(n)
	}
	p.Bytes = int64(p.Fraction * float64(s.in.Length))
	return p
}

// Close implements dataflow.Stream.
func (s *stream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.err = errClosed
	}
	s.drop()
	s.close()
	return s.in.Close()
}

var errClosed = errors.New("stream is closed")
