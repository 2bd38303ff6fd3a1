package files

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// Sequential reads a file one byte after the other and knows where it is, for formats
// whose parts are told apart by marks between them. Used by one goroutine, but for
// what RecordStream does.
type Sequential struct {
	r   *RandomReader
	b   *bufio.Reader
	pos int64
}

// sequentialBytes are read at once.
const sequentialBytes = 256 << 10

// NewSequential begins at a position.
func NewSequential(r *RandomReader, at int64) *Sequential {
	s := &Sequential{r: r}
	s.Goto(at)
	return s
}

// Goto goes on at a position.
func (s *Sequential) Goto(at int64) {
	s.r.pos, s.pos = at, at
	if s.b == nil {
		s.b = bufio.NewReaderSize(s.r, int(min(sequentialBytes, s.r.in.Size+16)))
	} else {
		s.b.Reset(s.r)
	}
}

// Pos is where the next byte is read.
func (s *Sequential) Pos() int64 { return s.pos }

// Left is how many bytes follow.
func (s *Sequential) Left() int64 { return s.r.in.Size - s.pos }

// Read implements io.Reader.
func (s *Sequential) Read(p []byte) (int, error) {
	n, err := s.b.Read(p)
	s.pos += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (s *Sequential) ReadByte() (byte, error) {
	b, err := s.b.ReadByte()
	if err == nil {
		s.pos++
	}
	return b, err
}

// Bytes reads n bytes into buf, which is made longer where it must, as they come: the
// number may be a lie. A file that ends before is an error.
func (s *Sequential) Bytes(buf []byte, n int64) ([]byte, error) {
	return ReadBytes(s, buf, n)
}

// ReadBytes is Bytes of any reader.
func ReadBytes(r io.Reader, buf []byte, n int64) ([]byte, error) {
	buf = buf[:0]
	for int64(len(buf)) < n {
		at := len(buf)
		step := int(min(n-int64(at), int64(max(cap(buf)-at, at, 64<<10))))
		if cap(buf)-at < step {
			buf = append(make([]byte, 0, at+step), buf...)
		}
		buf = buf[:at+step]
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return buf, err
		}
	}
	return buf, nil
}

// Find goes to the first place, at from or later and before to, where mark stands.
// False if there is none.
func (s *Sequential) Find(mark []byte, from, to int64) (bool, error) {
	buf := make([]byte, min(64<<10, max(0, s.r.in.Size-from)+1)) // a short read shows the end
	for from < to {
		n, err := s.r.ReadAt(buf[:min(int64(len(buf)), s.r.in.Size-from)], from)
		if err != nil && err != io.EOF {
			return false, err
		}
		if i := bytes.Index(buf[:n], mark); i >= 0 {
			if from+int64(i) >= to {
				return false, nil
			}
			s.Goto(from + int64(i))
			return true, nil
		}
		if n < len(buf) {
			return false, nil
		}
		from += int64(n - len(mark) + 1)
	}
	return false, nil
}

// A RecordDecoder takes the records of a range one by one.
type RecordDecoder interface {
	// Decode appends the next record to the columns of b, or returns io.EOF, again and
	// again. It says where the record lies and about how many bytes it is.
	Decode(b *array.RecordBuilder) (Position, int64, error)
	// At is how far in the file it is; never called while Decode runs.
	At() int64
	// Close frees what it holds, but not the file.
	Close()
}

// Position is where a record lies: by itself, or by its number in a block.
type Position struct {
	Offset int64
	Record int64 // from 0; -1: it is the record that begins there
}

// RecordStream makes batches of what a decoder decodes.
type RecordStream struct {
	op      string
	env     *dataflow.Env
	in      *Input
	random  *RandomReader
	dec     RecordDecoder
	builder *array.RecordBuilder
	places  []Position
	err     error
	closed  bool

	mu   sync.Mutex // guards what Progress shows
	rows int64
	at   int64
}

// NewRecordStream reads through random, of which in is the input; the stream owns in
// and the decoder.
func NewRecordStream(op string, env *dataflow.Env, in *Input, random *RandomReader, schema *arrow.Schema, dec RecordDecoder) *RecordStream {
	return &RecordStream{op: op, env: env, in: in, random: random, dec: dec, at: in.Offset, builder: array.NewRecordBuilder(Bounded(env), schema)}
}

// Next implements dataflow.Stream.
func (s *RecordStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := ctx.Err(); err != nil {
		s.err = &dataflow.Error{Op: s.op, Path: s.in.Path, Kind: dataflow.Canceled, Err: err}
		return nil, s.err
	}
	var b dataflow.Batch
	s.err = s.random.Guard(s.op, func() error { return s.fill(&b) })
	return b, s.err
}

func (s *RecordStream) fill(out *dataflow.Batch) error {
	s.places = s.places[:0]
	var bytes int64
	for len(s.places) < max(1, s.env.BatchRows) && (bytes < int64(s.env.BatchBytes) || len(s.places) == 0) {
		p, n, err := s.dec.Decode(s.builder)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		s.places = append(s.places, p)
		bytes += n
	}
	if len(s.places) == 0 {
		return io.EOF
	}
	*out = s.builder.NewRecordBatch()
	s.mu.Lock()
	s.rows += int64(len(s.places))
	s.at = s.dec.At()
	s.mu.Unlock()
	return nil
}

// Locate implements dataflow.Locator.
func (s *RecordStream) Locate(row int) string {
	if row < 0 || row >= len(s.places) {
		return s.in.Path
	}
	p := s.places[row]
	if p.Record < 0 {
		return s.in.Place(p.Offset)
	}
	return fmt.Sprintf("%s: record %d of the block", s.in.Place(p.Offset), p.Record)
}

// Progress implements dataflow.Progresser.
func (s *RecordStream) Progress() dataflow.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := dataflow.Progress{Rows: s.rows, Bytes: min(max(0, s.at-s.in.Offset), s.in.Length)}
	if s.in.Length > 0 {
		p.Fraction = float64(p.Bytes) / float64(s.in.Length)
	}
	return p
}

// Close implements dataflow.Stream.
func (s *RecordStream) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	if s.err == nil {
		s.err = errClosed
	}
	s.dec.Close()
	s.builder.Release()
	return s.in.Close()
}
