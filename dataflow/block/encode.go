package block

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// An Encoder makes frames of the batches of one schema. It is used by one
// goroutine and keeps its working memory from one batch to the next: with a codec,
// about the size of the largest body.
type Encoder struct {
	schema schemaCheck
	print  uint64
	codec  Codec

	words   []uint32 // the body's directory
	pieces  []piece
	size    int    // of the pieces
	scratch []byte // a body on its way to the codec
	comp    compressor

	flat    bool        // EncodeRuns is for this schema
	widths  []int       // of its columns' values
	columns []runColumn // of what EncodeRuns is at
}

// NewEncoder is an encoder for batches of schema. It fails, with an error of kind
// User, on a type that frames cannot carry.
func NewEncoder(schema *arrow.Schema, codec Codec) (*Encoder, error) {
	print, err := Fingerprint(schema)
	if err != nil {
		return nil, err
	}
	if codec > Zstd {
		return nil, &dataflow.Error{Op: "block", Kind: dataflow.User, Err: fmt.Errorf("unknown %s", codec)}
	}
	e := &Encoder{schema: schemaCheck{want: schema}, print: print, codec: codec}
	e.widths, e.flat = flatWidths(schema)
	return e, nil
}

// Encode appends the frame of b to dst and returns the longer slice; the batch
// stays the caller's. Only the rows of b are written, also when its columns are
// slices of something larger. A body over MaxBody is an error that wraps
// dataflow.ErrRecordTooLarge; Writer cuts such batches.
func (e *Encoder) Encode(dst []byte, b dataflow.Batch) ([]byte, error) {
	n, err := e.measure(b)
	if err != nil {
		return dst, err
	}
	if n > MaxBody {
		return dst, &dataflow.Error{Op: "block.Encode", Kind: dataflow.User,
			Err: fmt.Errorf("%w: %d rows take %d bytes, the limit is %d", dataflow.ErrRecordTooLarge, b.NumRows(), n, MaxBody)}
	}
	dst, err = e.frame(dst, n, int(b.NumRows()), e.writeBody)
	clear(e.pieces) // do not keep the batch's memory alive
	return dst, err
}

// frame appends a frame whose body of n bytes write fills.
func (e *Encoder) frame(dst []byte, n, rows int, write func(body []byte)) ([]byte, error) {
	start := len(dst)
	h := Header{Codec: None, Stored: n, Decoded: n, Rows: rows, Schema: e.print}
	if e.codec != None && n > 0 {
		if cap(e.scratch) < n {
			e.scratch = make([]byte, n, n*3/2)
		}
		e.scratch = e.scratch[:n]
		write(e.scratch)
		dst = grow(dst, HeaderSize)
		var smaller bool
		var err error
		if dst, smaller, err = e.comp.compress(dst, e.codec, e.scratch); err != nil {
			return dst[:start], &dataflow.Error{Op: "block.Encode", Kind: dataflow.Fatal, Err: err}
		}
		if smaller {
			h.Codec, h.Stored = e.codec, len(dst)-start-HeaderSize
		} else {
			dst = append(dst, e.scratch...)
		}
	} else {
		dst = grow(dst, HeaderSize+n)
		write(dst[start+HeaderSize:])
	}
	h.CRC = checksum(dst[start+HeaderSize:])
	h.put(dst[start:])
	return dst, nil
}

// Measure is the size in bytes of the body that Encode would make of b, before
// compression: an honest figure for how much data a batch holds.
func (e *Encoder) Measure(b dataflow.Batch) (int, error) {
	n, err := e.measure(b)
	clear(e.pieces)
	return n, err
}

func (e *Encoder) measure(b dataflow.Batch) (int, error) {
	if err := e.schema.check(b.Schema()); err != nil {
		return 0, err
	}
	e.words, e.pieces, e.size = e.words[:0], e.pieces[:0], 0
	for _, c := range b.Columns() {
		d := c.Data()
		if err := e.plan(d.DataType(), d, d.Offset(), d.Len()); err != nil {
			return 0, err
		}
	}
	return pad8(4*len(e.words)) + e.size, nil
}

type pieceOp uint8

const (
	copyBytes pieceOp = iota
	copyBits          // n bits from bit off
	offsets32         // n offsets from off, less base
	offsets64
)

// A piece is one buffer of the body: what to copy from where.
type piece struct {
	op     pieceOp
	src    []byte
	off, n int
	base   int64
	size   int // in the body, before padding
}

func (e *Encoder) add(p piece) {
	e.pieces = append(e.pieces, p)
	e.size += pad8(p.size)
}

// plan notes the pieces of n elements from off, an absolute position in d's
// buffers. d is nil for the missing parts of an empty array.
func (e *Encoder) plan(dt arrow.DataType, d arrow.ArrayData, off, n int) error {
	if n > MaxRows {
		return &dataflow.Error{Op: "block.Encode", Kind: dataflow.User,
			Err: fmt.Errorf("%w: an array of %d elements, the limit is %d", dataflow.ErrRecordTooLarge, n, MaxRows)}
	}
	if dt.ID() == arrow.NULL {
		e.words = append(e.words, uint32(n))
		return nil
	}
	nulls := nullCount(d, off, n)
	e.words = append(e.words, uint32(nulls))
	if nulls > 0 {
		e.add(piece{op: copyBits, src: bufferOf(d, 0), off: off, n: n, size: int(bitutil.BytesForBits(int64(n)))})
	}
	switch t := dt.(type) {
	case *arrow.BooleanType:
		e.add(piece{op: copyBits, src: bufferOf(d, 1), off: off, n: n, size: int(bitutil.BytesForBits(int64(n)))})
	case *arrow.StringType, *arrow.BinaryType:
		first, last := e.offsets(d, off, n, false)
		e.bytes(bufferOf(d, 2), first, last)
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		first, last := e.offsets(d, off, n, true)
		e.bytes(bufferOf(d, 2), first, last)
	case *arrow.ListType:
		first, last := e.offsets(d, off, n, false)
		return e.child(t.Elem(), d, 0, first, last-first)
	case *arrow.MapType:
		first, last := e.offsets(d, off, n, false)
		return e.child(t.Elem(), d, 0, first, last-first)
	case *arrow.LargeListType:
		first, last := e.offsets(d, off, n, true)
		return e.child(t.Elem(), d, 0, first, last-first)
	case *arrow.FixedSizeListType:
		return e.child(t.Elem(), d, 0, off*int(t.Len()), n*int(t.Len()))
	case *arrow.StructType:
		for i, f := range t.Fields() {
			if err := e.child(f.Type, d, i, off, n); err != nil {
				return err
			}
		}
	case *arrow.DictionaryType:
		w := byteWidth(t.IndexType)
		e.bytes(bufferOf(d, 1), off*w, (off+n)*w)
		dict := dictionaryOf(d)
		if n == 0 || dict == nil {
			e.words = append(e.words, 0)
			return e.plan(t.ValueType, nil, 0, 0)
		}
		e.words = append(e.words, uint32(dict.Len()))
		return e.plan(t.ValueType, dict, dict.Offset(), dict.Len())
	default:
		w := byteWidth(dt)
		e.bytes(bufferOf(d, 1), off*w, (off+n)*w)
	}
	return nil
}

func (e *Encoder) child(dt arrow.DataType, d arrow.ArrayData, i, off, n int) error {
	if d == nil || n == 0 {
		return e.plan(dt, nil, 0, 0)
	}
	c := d.Children()[i]
	return e.plan(dt, c, c.Offset()+off, n)
}

func (e *Encoder) bytes(src []byte, from, to int) {
	if from < to { // an empty array may have no buffer at all
		src = src[from:to]
	} else {
		src = nil
	}
	e.add(piece{op: copyBytes, src: src, size: len(src)})
}

// offsets notes the n+1 offsets of n > 0 elements, and none of none, and returns
// the range of the values they point into.
func (e *Encoder) offsets(d arrow.ArrayData, off, n int, large bool) (first, last int) {
	if n == 0 {
		e.add(piece{})
		return 0, 0
	}
	src := bufferOf(d, 1)
	if large {
		o := arrow.Int64Traits.CastFromBytes(src)
		e.add(piece{op: offsets64, src: src, off: off, n: n + 1, base: o[off], size: 8 * (n + 1)})
		return int(o[off]), int(o[off+n])
	}
	o := arrow.Int32Traits.CastFromBytes(src)
	e.add(piece{op: offsets32, src: src, off: off, n: n + 1, base: int64(o[off]), size: 4 * (n + 1)})
	return int(o[off]), int(o[off+n])
}

// writeBody fills dst, which has the measured size.
func (e *Encoder) writeBody(dst []byte) {
	for i, w := range e.words {
		binary.LittleEndian.PutUint32(dst[4*i:], w)
	}
	head := 4 * len(e.words)
	pos := pad8(head)
	clear(dst[head:pos])
	for i := range e.pieces {
		p := &e.pieces[i]
		end := pos + pad8(p.size)
		if p.size > 0 {
			clear(dst[max(pos, end-8):end]) // the padding, and the bits after the last
			p.write(dst[pos : pos+p.size])
		}
		pos = end
	}
}

func (p *piece) write(dst []byte) {
	switch p.op {
	case copyBytes:
		copy(dst, p.src)
	case copyBits:
		if p.off%8 == 0 && p.n%8 == 0 {
			copy(dst, p.src[p.off/8:])
		} else {
			bitutil.CopyBitmap(p.src, p.off, p.n, dst, 0)
		}
	case offsets32:
		src := arrow.Int32Traits.CastFromBytes(p.src)[p.off : p.off+p.n]
		if p.base == 0 {
			copy(dst, arrow.Int32Traits.CastToBytes(src))
			return
		}
		base := int32(p.base)
		for i, o := range src {
			binary.LittleEndian.PutUint32(dst[4*i:], uint32(o-base))
		}
	case offsets64:
		src := arrow.Int64Traits.CastFromBytes(p.src)[p.off : p.off+p.n]
		for i, o := range src {
			binary.LittleEndian.PutUint64(dst[8*i:], uint64(o-p.base))
		}
	}
}

func nullCount(d arrow.ArrayData, off, n int) int {
	bits := bufferOf(d, 0)
	if n == 0 || bits == nil || d.NullN() == 0 {
		return 0
	}
	if d.NullN() > 0 && off == d.Offset() && n == d.Len() {
		return d.NullN()
	}
	return n - bitutil.CountSetBits(bits, off, n)
}

func bufferOf(d arrow.ArrayData, i int) []byte {
	if d == nil {
		return nil
	}
	var b *memory.Buffer
	if bufs := d.Buffers(); i < len(bufs) {
		b = bufs[i]
	}
	if b == nil {
		return nil
	}
	return b.Bytes()
}

func dictionaryOf(d arrow.ArrayData) *array.Data {
	if d == nil {
		return nil
	}
	dict, _ := d.Dictionary().(*array.Data) // a missing one is a nil pointer
	return dict
}

func byteWidth(dt arrow.DataType) int { return dt.(arrow.FixedWidthDataType).BitWidth() / 8 }
