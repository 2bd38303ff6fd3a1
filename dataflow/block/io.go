package block

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// flushBytes is how much a Writer collects before it writes: enough that the cost
// of a system call does not show.
const flushBytes = 256 << 10

// A Writer writes frames one after the other. It is used by one goroutine.
type Writer struct {
	w       io.Writer
	enc     *Encoder
	buf     []byte
	flushAt int
	rows    int64
	bytes   int64
}

// NewWriter writes frames of batches of schema to w, collecting about 256 KiB
// before each write. Flush before you believe that w has everything.
func NewWriter(w io.Writer, schema *arrow.Schema, codec Codec) (*Writer, error) {
	enc, err := NewEncoder(schema, codec)
	if err != nil {
		return nil, err
	}
	return &Writer{w: w, enc: enc, flushAt: flushBytes}, nil
}

// Write adds a batch, which stays the caller's: one frame, or several where one
// would pass MaxBody. A single row that large is an error that wraps
// dataflow.ErrRecordTooLarge. A batch without rows adds nothing.
func (w *Writer) Write(b dataflow.Batch) error {
	n := b.NumRows()
	if n == 0 {
		return nil
	}
	before := len(w.buf)
	var err error
	w.buf, err = w.enc.Encode(w.buf, b)
	if errors.Is(err, dataflow.ErrRecordTooLarge) && n > 1 {
		for _, cut := range [2][2]int64{{0, n / 2}, {n / 2, n}} {
			half := b.NewSlice(cut[0], cut[1])
			err := w.Write(half)
			half.Release()
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	w.rows += n
	w.bytes += int64(len(w.buf) - before)
	if len(w.buf) >= w.flushAt {
		return w.Flush()
	}
	return nil
}

// Flush writes what is collected.
func (w *Writer) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	if cap(w.buf) > 8*flushBytes {
		w.buf = nil // one huge batch is no reason to hold on to its size
	}
	return err
}

// Rows and Bytes are what was added, flushed or not.
func (w *Writer) Rows() int64  { return w.rows }
func (w *Writer) Bytes() int64 { return w.bytes }

// A Reader's buffer is small at first: what is larger is read straight into the memory that
// its batch will use, but for what came with its header, and a reader of a few frames, of
// which an exchange of many ways has very many, needs no more. Where many frames are
// small, much is read at once.
const (
	firstAhead  = 4 << 10  // the buffer, bytes
	readAhead   = 64 << 10 // the buffer once there are many small frames, bytes
	smallFrame  = 16 << 10 // bytes
	smallFrames = 8        // are many
)

// A Reader reads a sequence of frames: a dataflow.Stream. Its errors name the
// reader and the offset of the frame; damaged bytes are of kind Corrupt.
type Reader struct {
	r      io.Reader
	buf    *bufio.Reader
	small  int // frames so far, up to smallFrames: then buf is of readAhead
	name   string
	dec    *Decoder
	alloc  memory.Allocator
	base   int64
	off    int64
	head   [HeaderSize]byte
	stored []byte // of a compressed frame
	err    error

	// Admit, where set, is asked before the body of a frame is read and memory for
	// it taken; its error ends the stream. It may block.
	Admit func(Header) error
}

var _ dataflow.Stream = (*Reader)(nil)

// NewReader reads frames of schema from r until its end; base is the position of
// r's first byte in what name names, for error messages. Batches take their memory
// from alloc: each the size of its frame's decoded body, freed by its last release.
// Close also closes r where it can be closed.
func NewReader(r io.Reader, name string, base int64, schema *arrow.Schema, alloc memory.Allocator) (*Reader, error) {
	dec, err := NewDecoder(schema, alloc)
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, buf: bufio.NewReaderSize(r, firstAhead), name: name, dec: dec, alloc: alloc, base: base}, nil
}

// Next implements dataflow.Stream.
func (r *Reader) Next(ctx context.Context) (dataflow.Batch, error) {
	for r.err == nil {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var b dataflow.Batch
		if b, r.err = r.next(); r.err == nil {
			if b.NumRows() > 0 {
				return b, nil
			}
			b.Release()
		}
	}
	return nil, r.err
}

// Offset is the position after the frame that Next returned last.
func (r *Reader) Offset() int64 { return r.base + r.off }

func (r *Reader) next() (dataflow.Batch, error) {
	n, err := io.ReadFull(r.buf, r.head[:])
	if err == io.EOF {
		return nil, io.EOF
	}
	if err == io.ErrUnexpectedEOF {
		err = corrupt("%d bytes at the end where a frame's header of %d should be", n, HeaderSize)
	}
	if err != nil {
		return nil, r.at(err)
	}
	h, err := r.dec.header(r.head[:])
	if err != nil {
		return nil, r.at(err)
	}
	if r.Admit != nil {
		if err := r.Admit(h); err != nil {
			return nil, err
		}
	}
	var body *memory.Buffer
	if h.Codec == None {
		body = dataflow.NewBuffer(r.alloc, h.Stored)
	} else {
		if cap(r.stored) < h.Stored {
			r.stored = make([]byte, h.Stored)
		}
		body = memory.NewBufferBytes(r.stored[:h.Stored])
	}
	defer body.Release()
	if n, err := io.ReadFull(r.buf, body.Bytes()); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = corrupt("frame is cut short: %d of %d bytes", HeaderSize+n, h.Size())
		}
		return nil, r.at(err)
	}
	b, err := r.dec.body(h, body)
	if err != nil {
		return nil, r.at(err)
	}
	r.off += int64(h.Size())
	if r.small < smallFrames && h.Size() < smallFrame {
		if r.small++; r.small == smallFrames {
			r.buf = bufio.NewReaderSize(r.buf, readAhead) // which begins with what the first has
		}
	}
	return b, nil
}

func (r *Reader) at(err error) error {
	return &dataflow.Error{Op: "block.Read", Path: fmt.Sprintf("%s@%d", r.name, r.base+r.off), Err: err}
}

// Close implements dataflow.Stream.
func (r *Reader) Close() error {
	if r.err == nil {
		r.err = io.EOF
	}
	r.dec.Close()
	c, ok := r.r.(io.Closer)
	r.r = nil
	if ok {
		return c.Close()
	}
	return nil
}
