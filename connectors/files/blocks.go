package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

// BlockOptions say how the records of a file end.
type BlockOptions struct {
	Op string // for errors: "text.Read"
	// Record is the size of a record in bytes; 0 means records are lines.
	Record int64
	// Cut returns how many bytes at the front of buf are whole records, for files
	// whose ranges begin and end with records (see Aligner). Nil: up to the last line
	// feed, or multiple of Record.
	Cut func(buf []byte) int
}

// Blocks reads a range of a file in blocks of whole records: those that begin in
// the range, each once. It reads large pieces, and a block's bytes are in a buffer
// of the attempt's allocator that may become part of a batch without a copy.
// Used by one goroutine; Progress and Shrink may be called from any.
type Blocks struct {
	opt    BlockOptions
	in     *Input
	env    *dataflow.Env
	src    io.ReadCloser
	stored *storedReader  // what src reads from
	parts  codec.Range    // of a compressed file that may be cut; nil otherwise
	carry  []byte         // begun but unfinished record, follows the last block
	spare  *memory.Buffer // of a block that nobody needs any more
	skip   bool           // the record before the range is still to be passed over
	done   bool
	closed bool
	err    error
	held   int64 // reserved for a record longer than a block
	chunk  int

	mu      sync.Mutex
	pos     int64 // where the next block begins
	end     int64 // records that begin here or later are not ours
	claimed int64 // what begins before this is begun: Shrink keeps it
	rows    int64
}

// A Block is some whole records. The receiver owns the buffer.
type Block struct {
	Buffer *memory.Buffer // its length is that of the records
	Offset int64          // where they begin in the (decompressed) file
}

// tailBytes is how much is read at once to finish the record at the range's end.
const tailBytes = 64 << 10

// shrinkMin is the least that is worth giving away, in blocks.
const shrinkMin = 4

// NewBlocks begins to read; the blocks own in, also when it fails.
func NewBlocks(env *dataflow.Env, in *Input, opt BlockOptions) (*Blocks, error) {
	b := &Blocks{opt: opt, in: in, env: env, chunk: max(env.BatchBytes, 16)}
	start := in.Offset
	b.pos, b.end = in.Offset, in.End()
	if in.Codec != Plain && opt.Cut == nil && opt.Record == 0 {
		if err := b.openParts(); err != nil {
			in.Close()
			return nil, in.Fail(opt.Op, 0, err)
		}
		return b, nil
	}
	if in.Codec != Plain {
		start, b.pos, b.end = 0, 0, math.MaxInt64
	} else if opt.Cut != nil { // the range is whole records
	} else if opt.Record > 0 {
		b.pos, b.end = roundUp(b.pos, opt.Record), roundUp(b.end, opt.Record)
		start = b.pos
	} else if start > 0 { // a line begins here if the byte before is a line feed
		start--
		b.pos, b.skip = start, true
	}
	b.claimed = b.pos
	if b.pos >= b.end {
		b.done = true
		return b, nil
	}
	var err error
	b.stored = &storedReader{file: in.File, pos: start, size: in.Size}
	if b.src, err = in.read(b.stored); err != nil {
		in.Close()
		return nil, in.Fail(opt.Op, 0, err)
	}
	return b, nil
}

// openParts begins to read lines of a compressed file. Where in it the range's parts
// lie is not known before they are read, so the lines are cut a little differently: a
// line that begins right behind a range's last byte still belongs to the range, and
// the next one always passes over what it begins with, be it a whole line or not.
func (b *Blocks) openParts() error {
	b.stored = &storedReader{file: b.in.File, pos: b.in.Offset, size: b.in.Size}
	src, parts, err := decompressRange(b.in, b.stored)
	if err != nil {
		return err
	}
	b.src, b.parts = src, parts
	b.pos, b.end, b.claimed = 0, math.MaxInt64, 0
	b.skip = b.in.Offset > 0
	b.done = parts.Own() == 0
	return nil
}

// learn moves the end to behind the range's own parts as soon as that is known.
func (b *Blocks) learn() {
	if b.parts == nil {
		return
	}
	if own := b.parts.Own(); own < math.MaxInt64 {
		b.mu.Lock()
		b.end = own + 1
		b.mu.Unlock()
	}
}

func roundUp(n, to int64) int64 { return (n + to - 1) / to * to }

// Next returns the next block, never an empty one, or io.EOF again and again.
func (b *Blocks) Next(ctx context.Context) (Block, error) {
	if b.err != nil {
		return Block{}, b.err
	}
	if b.done {
		return Block{}, io.EOF
	}
	blk, err := b.next(ctx)
	if err != nil {
		b.err = err
		if err == io.EOF {
			b.done = true
		}
	}
	return blk, err
}

// size is how large a buffer to begin a block with: a chunk, or what a small file has
// left and one byte more, in which its end is seen.
func (b *Blocks) size() int {
	size := max(b.chunk, len(b.carry)+b.chunk/2)
	if b.in.Codec == Plain && b.in.Size > 0 {
		size = min(size, max(int(b.in.Size-b.pos), len(b.carry))+1)
	}
	return size
}

// buffer is one to begin a block with.
func (b *Blocks) buffer() *memory.Buffer {
	buf := b.spare
	if b.spare = nil; buf == nil {
		return dataflow.NewBuffer(b.env.Alloc, b.size())
	}
	buf.ResizeNoShrink(b.size())
	return buf
}

// Reuse takes back the buffer of a block whose bytes nobody looks at any more, for the
// next block: memory that was used just now is faster than any other.
func (b *Blocks) Reuse(buf *memory.Buffer) {
	if b.closed || b.spare != nil {
		buf.Release()
		return
	}
	b.spare = buf
}

func (b *Blocks) next(ctx context.Context) (Block, error) {
	buf := b.buffer()
	keep := false
	defer func() {
		if !keep {
			buf.Release()
		}
	}()
	n := copy(buf.Bytes(), b.carry)
	b.carry = b.carry[:0]
	for {
		if err := ctx.Err(); err != nil {
			return Block{}, err
		}
		want := b.claim(n, buf.Len()-n)
		k, err := io.ReadFull(b.src, buf.Bytes()[n:n+want])
		n += k
		b.learn()
		eof := errors.Is(err, io.EOF) || err == io.ErrUnexpectedEOF
		if err != nil && !eof {
			return Block{}, b.in.Fail(b.opt.Op, b.pos+int64(n), err)
		}
		if b.skip {
			i := bytes.IndexByte(buf.Bytes()[:n], '\n')
			if i < 0 {
				if eof {
					return Block{}, io.EOF
				}
				b.move(int64(n))
				n = 0
				if b.past() { // the range lies inside one long line
					return Block{}, io.EOF
				}
				continue
			}
			b.skip = false
			b.move(int64(i + 1))
			n = copy(buf.Bytes(), buf.Bytes()[i+1:n])
		}
		cut, last := b.cut(buf.Bytes()[:n], eof)
		if cut == 0 && last {
			return Block{}, io.EOF
		}
		whole := n
		if last {
			whole = cut
			if err := b.aligned(buf.Bytes()[:cut]); err != nil {
				return Block{}, err
			}
		}
		if err := b.limit(buf.Bytes()[:whole], cut); err != nil {
			return Block{}, err
		}
		if cut > 0 {
			b.done = last
			b.carry = append(b.carry, buf.Bytes()[cut:n]...)
			if last {
				b.carry = nil
			}
			out := Block{Buffer: buf, Offset: b.pos}
			b.move(int64(cut))
			buf.ResizeNoShrink(cut)
			keep = true
			return out, nil
		}
		if n == buf.Len() { // one record longer than the buffer
			if err := b.grow(buf); err != nil {
				return Block{}, err
			}
		}
	}
}

// claim says how many bytes to read behind the n that are there, and marks what
// begins in them as begun.
func (b *Blocks) claim(n, room int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.pos + int64(n)
	if left := b.end - at; left > 0 {
		room = int(min(int64(room), left))
	} else if b.opt.Record == 0 {
		room = min(room, tailBytes)
	}
	b.claimed = max(b.claimed, min(at+int64(room), b.end))
	return room
}

// cut says how many bytes of buf are whole records of ours, and whether they are
// the last.
func (b *Blocks) cut(buf []byte, eof bool) (n int, last bool) {
	b.mu.Lock()
	end := b.end
	b.mu.Unlock()
	if b.pos >= end {
		return 0, true
	}
	if b.opt.Record > 0 {
		if n = len(buf); eof || b.pos+int64(n) >= end {
			return n, true // the format sees whether the last one is whole
		}
		return n - n%int(b.opt.Record), false
	}
	if left := end - b.pos; int64(len(buf)) >= left {
		if b.opt.Cut != nil {
			return int(left), true
		}
		// Ours ends with the first line feed at or behind the range's last byte.
		if i := bytes.IndexByte(buf[left-1:], '\n'); i >= 0 {
			return int(left) + i, true
		}
	}
	if eof {
		return len(buf), true
	}
	if b.opt.Cut != nil {
		return b.opt.Cut(buf), false
	}
	if int64(len(buf)) >= end-b.pos {
		return 0, false // the last line is not whole yet; it comes with those before it
	}
	return bytes.LastIndexByte(buf, '\n') + 1, false
}

// aligned checks that a range which should end with a record does.
func (b *Blocks) aligned(buf []byte) error {
	if b.opt.Cut == nil || b.in.Codec != Plain || b.in.End() == b.in.Size || b.opt.Cut(buf) == len(buf) {
		return nil
	}
	return &dataflow.Error{Op: b.opt.Op, Path: b.in.Place(b.in.End()), Kind: dataflow.User,
		Err: fmt.Errorf("%w: no record ends here any more", ErrInputChanged), Try: "run the job again when nobody writes to its input"}
}

// limit refuses a line longer than MaxRecordBytes, wherever the cuts lie.
func (b *Blocks) limit(buf []byte, cut int) error {
	most := b.in.MaxRecordBytes
	if most <= 0 || int64(len(buf)) <= most || b.opt.Record > 0 {
		return nil
	}
	if b.opt.Cut != nil { // the format checks whole records, here only the unfinished
		if int64(len(buf)-cut) > most {
			return b.in.TooLarge(b.opt.Op, b.pos+int64(cut))
		}
		return nil
	}
	for at := 0; at < len(buf); {
		i := bytes.IndexByte(buf[at:], '\n')
		if i < 0 {
			i = len(buf) - at
		}
		if int64(i) > most {
			return b.in.TooLarge(b.opt.Op, b.pos+int64(at))
		}
		at += i + 1
	}
	return nil
}

// grow doubles the buffer for a record that does not fit.
func (b *Blocks) grow(buf *memory.Buffer) error {
	size := int64(buf.Len()) * 2
	if most := b.in.MaxRecordBytes; most > 0 {
		size = max(min(size, most+int64(b.chunk)), int64(buf.Len())+int64(b.chunk))
	}
	if size > b.held && b.env.Memory != nil {
		if err := b.env.Memory.Reserve(size - b.held); err != nil {
			return &dataflow.Error{Op: b.opt.Op, Path: b.in.Place(b.pos), Kind: dataflow.OutOfMemory,
				Err: fmt.Errorf("%w: longer than %d bytes, and %w", dataflow.ErrRecordTooLarge, buf.Len(), err)}
		}
		b.held = size
	}
	buf.Resize(int(size))
	return nil
}

// past reports whether what comes next is not ours.
func (b *Blocks) past() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pos >= b.end
}

func (b *Blocks) move(n int64) {
	b.mu.Lock()
	b.pos += n
	b.claimed = max(b.claimed, b.pos)
	b.mu.Unlock()
}

// Fail ends the stream with an error: Next returns it from now on.
func (b *Blocks) Fail(err error) { b.err = err }

// AddRows counts rows for Progress.
func (b *Blocks) AddRows(n int64) {
	b.mu.Lock()
	b.rows += n
	b.mu.Unlock()
}

// Progress implements dataflow.Progresser. For a compressed file the fraction is
// of the stored bytes read.
func (b *Blocks) Progress() dataflow.Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := dataflow.Progress{Bytes: max(0, b.pos-b.in.Offset), Rows: b.rows}
	switch {
	case b.in.Codec != Plain:
		p.Bytes = b.pos
		if b.stored != nil && b.in.Length > 0 {
			p.Fraction = min(1, float64(b.stored.read.Load())/float64(b.in.Length))
		}
	case b.end > b.in.Offset:
		p.Fraction = min(1, float64(p.Bytes)/float64(b.end-b.in.Offset))
	}
	return p
}

// Shrink implements Shrinker.
func (b *Blocks) Shrink(keep float64) (int64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	left := b.end - b.claimed
	if b.in.Codec != Plain || b.opt.Cut != nil || left < shrinkMin*int64(b.chunk) {
		return 0, false
	}
	end := max(b.claimed+int64(float64(left)*min(1, max(0, keep))), b.in.Offset+1)
	if b.opt.Record > 0 {
		end = roundUp(end, b.opt.Record)
	}
	if end >= b.end {
		return 0, false
	}
	b.end = end
	return end, true
}

// Close closes the file.
func (b *Blocks) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.err == nil {
		b.err = errClosed
	}
	if b.src != nil {
		b.src.Close()
	}
	if b.held > 0 {
		b.env.Memory.Release(b.held)
		b.held = 0
	}
	b.carry = nil
	if b.spare != nil {
		b.spare.Release()
		b.spare = nil
	}
	b.mu.Lock()
	if b.end != math.MaxInt64 {
		b.end = b.claimed // nothing to give away any more
	}
	b.mu.Unlock()
	return b.in.Close()
}

var errClosed = errors.New("stream is closed")
