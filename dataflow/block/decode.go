package block

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// A Decoder makes batches of the frames of one schema. It is used by one goroutine.
//
// The columns of a batch it makes are slices of one buffer, the decoded body, and
// nothing is copied out of it: the buffer lives until the last reference to any
// part of the batch is released, and then goes back to where it came from. For a
// compressed frame that is the decoder's allocator; for an uncompressed one it is
// whatever the caller's buffer came from, so memory.NewBufferWithAllocator with an
// allocator whose Free puts the bytes into a pool gives re-use.
type Decoder struct {
	schema *arrow.Schema
	print  uint64
	alloc  memory.Allocator
	comp   decompressor
}

// NewDecoder is a decoder of frames of schema; what it allocates comes from alloc.
// It fails, with an error of kind User, on a type that frames cannot carry.
func NewDecoder(schema *arrow.Schema, alloc memory.Allocator) (*Decoder, error) {
	print, err := Fingerprint(schema)
	if err != nil {
		return nil, err
	}
	return &Decoder{schema: schema, print: print, alloc: alloc}, nil
}

// Close frees the decoder's working memory; batches it made live on.
func (d *Decoder) Close() { d.comp.close() }

// Decode makes the batch of the frame at the start of frame, and says how many
// bytes the frame takes. The batch may hold references to frame; the caller keeps
// its own. All that is wrong with the bytes is an error of kind Corrupt.
func (d *Decoder) Decode(frame *memory.Buffer) (dataflow.Batch, int, error) {
	b := frame.Bytes()
	h, err := d.header(b)
	if err != nil {
		return nil, 0, err
	}
	if len(b) < h.Size() {
		return nil, 0, corrupt("frame is cut short: %d of %d bytes", len(b), h.Size())
	}
	body := memory.SliceBuffer(frame, HeaderSize, h.Stored)
	defer body.Release()
	batch, err := d.body(h, body)
	return batch, h.Size(), err
}

func (d *Decoder) header(b []byte) (Header, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return h, err
	}
	if h.Schema != d.print {
		return h, corrupt("frame of schema %016x where %016x was expected: another stage's data", h.Schema, d.print)
	}
	return h, nil
}

// body checks, decompresses and decodes a stored body.
func (d *Decoder) body(h Header, stored *memory.Buffer) (dataflow.Batch, error) {
	if err := h.Check(stored.Bytes()); err != nil {
		return nil, err
	}
	body := stored
	if h.Codec != None {
		body = dataflow.NewBuffer(d.alloc, h.Decoded)
		defer body.Release()
		if err := d.comp.decompress(body.Bytes(), h.Codec, stored.Bytes()); err != nil {
			return nil, err
		}
	} else if h.Stored > 0 && uintptr(unsafe.Pointer(&stored.Bytes()[0]))%8 != 0 {
		// The frame follows a compressed one in the caller's buffer.
		body = dataflow.NewBuffer(d.alloc, h.Decoded)
		defer body.Release()
		copy(body.Bytes(), stored.Bytes())
	}
	return d.arrays(body, h.Rows)
}

// arrays lays a schema's columns over a body.
func (d *Decoder) arrays(body *memory.Buffer, rows int) (batch dataflow.Batch, err error) {
	c := cursor{body: body, data: body.Bytes()}
	if err := c.directory(d.schema); err != nil {
		return nil, err
	}
	cols := make([]arrow.Array, 0, d.schema.NumFields())
	defer func() {
		// Everything was checked, so Arrow has nothing left to object to; should it
		// still, the bytes are to blame and not the process.
		if p := recover(); p != nil {
			err = corrupt("arrow refuses the arrays: %v", p)
		}
		for _, col := range cols {
			col.Release()
		}
	}()
	for _, f := range d.schema.Fields() {
		data, err := c.array(f.Type, rows)
		if err != nil {
			return nil, inColumn(f.Name, err)
		}
		col := array.MakeFromData(data)
		data.Release()
		cols = append(cols, col)
	}
	if c.pos != len(c.data) || c.word != c.words {
		return nil, corrupt("%d bytes left after the last column", len(c.data)-c.pos)
	}
	return array.NewRecordBatch(d.schema, cols, int64(rows)), nil
}

func inColumn(name string, err error) error {
	return &dataflow.Error{Path: "column " + name, Kind: dataflow.Corrupt, Err: err}
}

// A cursor walks over a body: the directory's words and the buffers, in step.
type cursor struct {
	body        *memory.Buffer
	data        []byte
	word, words int // next, and how many
	pos         int
}

// directory finds the buffers' start: the schema says how many words there are.
func (c *cursor) directory(s *arrow.Schema) error {
	for _, f := range s.Fields() {
		c.words += wordsOf(f.Type)
	}
	c.pos = pad8(4 * c.words)
	if c.pos > len(c.data) {
		return corrupt("body of %d bytes has no room for its directory of %d", len(c.data), c.pos)
	}
	return nil
}

func wordsOf(dt arrow.DataType) int {
	n := 1
	switch t := dt.(type) {
	case *arrow.DictionaryType:
		n += 1 + wordsOf(t.ValueType)
	case arrow.NestedType:
		for _, f := range t.Fields() {
			n += wordsOf(f.Type)
		}
	}
	return n
}

func (c *cursor) nextWord() int {
	w := binary.LittleEndian.Uint32(c.data[4*c.word:])
	c.word++
	return int(w)
}

// take cuts the next buffer of n bytes off the body. The caller owns it.
func (c *cursor) take(n int) (*memory.Buffer, error) {
	if n < 0 || n > len(c.data) || c.pos+pad8(n) > len(c.data) {
		return nil, corrupt("a buffer of %d bytes at %d does not fit a body of %d", n, c.pos, len(c.data))
	}
	b := memory.SliceBuffer(c.body, c.pos, n)
	c.pos += pad8(n)
	return b, nil
}

// array reads one array of n elements. The caller owns it.
func (c *cursor) array(dt arrow.DataType, n int) (*array.Data, error) {
	if n > MaxRows {
		return nil, corrupt("an array of %d elements; the limit is %d", n, MaxRows)
	}
	nulls := c.nextWord()
	if dt.ID() == arrow.NULL {
		if nulls != n {
			return nil, corrupt("%d nulls in %d elements of type null", nulls, n)
		}
		return array.NewData(dt, n, []*memory.Buffer{nil}, nil, n, 0), nil
	}
	p := parts{c: c, dt: dt, n: n, nulls: nulls}
	defer p.release()
	if err := p.read(); err != nil {
		return nil, err
	}
	if p.dict != nil {
		return array.NewDataWithDictionary(dt, n, p.buffers, nulls, 0, p.dict), nil
	}
	return array.NewData(dt, n, p.buffers, p.children, nulls, 0), nil
}

// parts collects what an array is made of; array.NewData takes references of its
// own, so parts gives its away in any case.
type parts struct {
	c        *cursor
	dt       arrow.DataType
	n, nulls int
	buffers  []*memory.Buffer
	children []arrow.ArrayData
	dict     *array.Data
}

func (p *parts) release() {
	for _, b := range p.buffers {
		if b != nil {
			b.Release()
		}
	}
	for _, c := range p.children {
		c.Release()
	}
	if p.dict != nil {
		p.dict.Release()
	}
}

func (p *parts) buffer(n int) ([]byte, error) {
	b, err := p.c.take(n)
	if err != nil {
		return nil, err
	}
	p.buffers = append(p.buffers, b)
	return b.Bytes(), nil
}

func (p *parts) child(dt arrow.DataType, n int) error {
	d, err := p.c.array(dt, n)
	if err != nil {
		return err
	}
	p.children = append(p.children, d)
	return nil
}

func (p *parts) read() error {
	if err := p.validity(); err != nil {
		return err
	}
	switch t := p.dt.(type) {
	case *arrow.BooleanType:
		_, err := p.buffer(int(bitutil.BytesForBits(int64(p.n))))
		return err
	case *arrow.StringType, *arrow.BinaryType:
		return p.values(offsets[int32](p))
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		return p.values(offsets[int64](p))
	case *arrow.ListType:
		return p.elements(t.Elem())(offsets[int32](p))
	case *arrow.LargeListType:
		return p.elements(t.Elem())(offsets[int64](p))
	case *arrow.MapType:
		if err := p.elements(t.Elem())(offsets[int32](p)); err != nil {
			return err
		}
		entries := p.children[0]
		if entries.NullN() != 0 || entries.Children()[0].NullN() != 0 {
			return corrupt("a map with null entries or keys")
		}
		return nil
	case *arrow.FixedSizeListType:
		return p.child(t.Elem(), p.n*int(t.Len()))
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if err := p.child(f.Type, p.n); err != nil {
				return err
			}
		}
		return nil
	case *arrow.DictionaryType:
		return p.dictionary(t)
	default:
		_, err := p.buffer(p.n * byteWidth(p.dt))
		return err
	}
}

func (p *parts) validity() error {
	if p.nulls == 0 {
		p.buffers = append(p.buffers, nil)
		return nil
	}
	if p.nulls > p.n {
		return corrupt("%d nulls in %d elements", p.nulls, p.n)
	}
	bits, err := p.buffer(int(bitutil.BytesForBits(int64(p.n))))
	if err != nil {
		return err
	}
	if got := p.n - bitutil.CountSetBits(bits, 0, p.n); got != p.nulls {
		return corrupt("%d nulls where %d are claimed", got, p.nulls)
	}
	return nil
}

// offsets reads the offsets of a variable-length array and returns where the last
// points: they begin at 0 and never fall.
func offsets[T int32 | int64](p *parts) (int, error) {
	if p.n == 0 {
		_, err := p.buffer(0)
		return 0, err
	}
	var zero T
	w := int(unsafe.Sizeof(zero))
	b, err := p.buffer((p.n + 1) * w)
	if err != nil {
		return 0, err
	}
	o := unsafe.Slice((*T)(unsafe.Pointer(&b[0])), p.n+1)
	if o[0] != 0 {
		return 0, corrupt("offsets begin at %d, not 0", o[0])
	}
	falls, last := false, T(0)
	for _, next := range o {
		falls = falls || next < last
		last = next
	}
	if falls || int64(last) > MaxRows {
		return 0, corrupt("offsets fall, or end at %d", last)
	}
	return int(last), nil
}

func (p *parts) values(n int, err error) error {
	if err != nil {
		return err
	}
	_, err = p.buffer(n)
	return err
}

func (p *parts) elements(dt arrow.DataType) func(n int, err error) error {
	return func(n int, err error) error {
		if err != nil {
			return err
		}
		return p.child(dt, n)
	}
}

func (p *parts) dictionary(t *arrow.DictionaryType) error {
	idx, err := p.buffer(p.n * byteWidth(t.IndexType))
	if err != nil {
		return err
	}
	size := p.c.nextWord()
	if p.dict, err = p.c.array(t.ValueType, size); err != nil {
		return err
	}
	var valid []byte
	if p.buffers[0] != nil {
		valid = p.buffers[0].Bytes()
	}
	ok := false
	switch t.IndexType.ID() {
	case arrow.INT8:
		ok = inside[int8](idx, valid, size)
	case arrow.UINT8:
		ok = inside[uint8](idx, valid, size)
	case arrow.INT16:
		ok = inside[int16](idx, valid, size)
	case arrow.UINT16:
		ok = inside[uint16](idx, valid, size)
	case arrow.INT32:
		ok = inside[int32](idx, valid, size)
	case arrow.UINT32:
		ok = inside[uint32](idx, valid, size)
	case arrow.INT64:
		ok = inside[int64](idx, valid, size)
	case arrow.UINT64:
		ok = inside[uint64](idx, valid, size)
	default:
		return fmt.Errorf("a dictionary with indices of type %s", t.IndexType)
	}
	if !ok {
		return corrupt("a dictionary index is outside the dictionary of %d", size)
	}
	return nil
}

// inside reports whether all valid indices are in [0, size).
func inside[T int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64](b, valid []byte, size int) bool {
	if len(b) == 0 {
		return true
	}
	var zero T
	idx := unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(zero)))
	for i, v := range idx {
		if uint64(v) >= uint64(size) && (valid == nil || bitutil.BitIsSet(valid, i)) { // a negative one is huge
			return false
		}
	}
	return true
}
