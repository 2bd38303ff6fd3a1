package dataflow

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A column takes values one after the other and becomes an Arrow array. The
// arrays of the Arrow library's builders are the same; these append without a
// function call in the common case, which is what a record costs.
type column interface {
	rows() int
	// zero appends an empty value, null one that is absent.
	zero()
	null()
	// take is all that was appended; the column is empty again.
	take() *array.Data
	// drop frees what the column holds; it may be used again.
	drop()
}

// columns is what the columns of one writer share.
type columns struct {
	mem memory.Allocator
	// bytes counts what has no fixed width, so that a batch can be closed in time.
	bytes int
}

// base is what all columns have: a count and the nulls.
type base struct {
	w     *columns
	typ   arrow.DataType
	n     int
	nulls int
	valid *memory.Buffer // nil until the first null; a set bit is a value
}

func (b *base) rows() int { return b.n }

// markNull says that the row to be appended next is null.
func (b *base) markNull() {
	if b.valid == nil {
		b.valid = memory.NewResizableBuffer(b.w.mem)
	}
	b.cover(b.n + 1)
	b.valid.Bytes()[b.n>>3] &^= 1 << (b.n & 7)
	b.nulls++
}

// cover makes the bitmap long enough for n rows; what is new is not null.
func (b *base) cover(n int) {
	have, need := b.valid.Len(), (n+7)>>3
	if need <= have {
		return
	}
	if need > b.valid.Cap() {
		b.valid.Reserve(max(64, 2*need))
	}
	b.valid.ResizeNoShrink(need)
	fresh := b.valid.Bytes()[have:]
	for i := range fresh {
		fresh[i] = 0xff
	}
}

// finish makes the array of the buffers and children given, takes over the
// references to the buffers, and empties the base.
func (b *base) finish(buffers []*memory.Buffer, children []arrow.ArrayData) *array.Data {
	if b.valid != nil {
		b.cover(b.n)
	}
	all := append([]*memory.Buffer{b.valid}, buffers...)
	d := array.NewData(b.typ, b.n, all, children, b.nulls, 0)
	for _, buf := range all {
		if buf != nil {
			buf.Release()
		}
	}
	for _, c := range children {
		c.Release()
	}
	b.n, b.nulls, b.valid = 0, 0, nil
	return d
}

func (b *base) drop() {
	if b.valid != nil {
		b.valid.Release()
	}
	b.n, b.nulls, b.valid = 0, 0, nil
}

// fixedColumn holds values of one size that lie in Arrow as in Go.
type fixedColumn[E any] struct {
	base
	buf  *memory.Buffer
	vals []E
	hint int // rows of the batch before
}

func (c *fixedColumn[E]) append(v E) {
	if c.n == len(c.vals) {
		c.grow()
	}
	c.vals[c.n] = v
	c.n++
}

func (c *fixedColumn[E]) grow() {
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	var e E
	size := int(unsafe.Sizeof(e))
	n := max(32, 2*len(c.vals), c.hint)
	c.hint = 0
	c.buf.Resize(n * size)
	c.vals = unsafe.Slice((*E)(unsafe.Pointer(unsafe.SliceData(c.buf.Bytes()))), n)
}

func (c *fixedColumn[E]) zero() { var e E; c.append(e) }
func (c *fixedColumn[E]) null() { c.markNull(); c.zero() }

func (c *fixedColumn[E]) take() *array.Data {
	var e E
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	c.buf.ResizeNoShrink(c.n * int(unsafe.Sizeof(e)))
	buf := c.buf
	c.hint = c.n
	c.buf, c.vals = nil, nil
	return c.finish([]*memory.Buffer{buf}, nil)
}

func (c *fixedColumn[E]) drop() {
	if c.buf != nil {
		c.buf.Release()
	}
	c.buf, c.vals = nil, nil
	c.base.drop()
}

// bitColumn holds booleans.
type bitColumn struct {
	base
	buf *memory.Buffer
}

func (c *bitColumn) append(v bool) {
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	if at := c.n >> 3; at >= c.buf.Len() {
		if at >= c.buf.Cap() {
			c.buf.Reserve(max(64, 2*at))
		}
		c.buf.ResizeNoShrink(at + 1)
		c.buf.Bytes()[at] = 0
	}
	if v {
		c.buf.Bytes()[c.n>>3] |= 1 << (c.n & 7)
	}
	c.n++
}

func (c *bitColumn) zero() { c.append(false) }
func (c *bitColumn) null() { c.markNull(); c.zero() }

func (c *bitColumn) take() *array.Data {
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	buf := c.buf
	c.buf = nil
	return c.finish([]*memory.Buffer{buf}, nil)
}

func (c *bitColumn) drop() {
	if c.buf != nil {
		c.buf.Release()
	}
	c.buf = nil
	c.base.drop()
}

// bytesColumn holds strings or byte slices.
type bytesColumn struct {
	base
	ends fixedColumn[int32] // where each value ends, after a leading 0
	buf  *memory.Buffer
	data []byte // all of buf
	used int
	hint int
}

func (c *bytesColumn) append(v string) {
	if c.n == 0 {
		c.ends.append(0)
	}
	if len(v) > len(c.data)-c.used {
		c.grow(len(v))
	}
	c.used += copy(c.data[c.used:], v)
	c.ends.append(int32(c.used))
	c.w.bytes += len(v)
	c.n++
}

// appendShort appends a key, both words and then its length: what lies behind its end
// is written again by the next.
func (c *bytesColumn) appendShort(k *shortKey) {
	if c.n == 0 {
		c.ends.append(0)
	}
	if len(c.data)-c.used < shortMax {
		c.grow(shortMax)
	}
	binary.LittleEndian.PutUint64(c.data[c.used:], k.lo)
	binary.LittleEndian.PutUint64(c.data[c.used+8:], k.hi)
	n := k.len()
	c.used += n
	c.ends.append(int32(c.used))
	c.w.bytes += n
	c.n++
}

func (c *bytesColumn) grow(n int) {
	if c.used+n > math.MaxInt32 {
		panic(&Error{Op: "encode", Kind: User, Err: ErrRecordTooLarge,
			Try: "a column of one batch holds 2 GiB at most: split the record"})
	}
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	c.buf.Resize(max(256, c.hint, min(2*len(c.data), math.MaxInt32), c.used+n))
	c.hint = 0
	c.data = c.buf.Bytes()
}

func (c *bytesColumn) zero() { c.append("") }
func (c *bytesColumn) null() { c.markNull(); c.zero() }

func (c *bytesColumn) take() *array.Data {
	if c.n == 0 {
		c.ends.append(0)
	}
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	c.buf.ResizeNoShrink(c.used)
	ends := c.ends.takeBuffer()
	buf := c.buf
	c.hint = c.used + c.used/8
	c.buf, c.data, c.used = nil, nil, 0
	return c.finish([]*memory.Buffer{ends, buf}, nil)
}

// takeBuffer is the values alone, without an array around them.
func (c *fixedColumn[E]) takeBuffer() *memory.Buffer {
	var e E
	c.buf.ResizeNoShrink(c.n * int(unsafe.Sizeof(e)))
	buf := c.buf
	c.hint = c.n
	c.buf, c.vals, c.n = nil, nil, 0
	return buf
}

func (c *bytesColumn) drop() {
	if c.buf != nil {
		c.buf.Release()
	}
	c.buf, c.data, c.used = nil, nil, 0
	c.ends.drop()
	c.base.drop()
}

// widthColumn holds byte arrays of one length.
type widthColumn struct {
	base
	width int
	buf   *memory.Buffer
}

func (c *widthColumn) append(v []byte) {
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	at := c.n * c.width
	if at+c.width > c.buf.Cap() {
		c.buf.Reserve(max(256, 2*(at+c.width)))
	}
	c.buf.ResizeNoShrink(at + c.width)
	clear(c.buf.Bytes()[at+copy(c.buf.Bytes()[at:], v):])
	c.w.bytes += c.width
	c.n++
}

func (c *widthColumn) zero() { c.append(nil) }
func (c *widthColumn) null() { c.markNull(); c.zero() }

func (c *widthColumn) take() *array.Data {
	if c.buf == nil {
		c.buf = memory.NewResizableBuffer(c.w.mem)
	}
	buf := c.buf
	c.buf = nil
	return c.finish([]*memory.Buffer{buf}, nil)
}

func (c *widthColumn) drop() {
	if c.buf != nil {
		c.buf.Release()
	}
	c.buf = nil
	c.base.drop()
}

// structColumn holds its fields' columns.
type structColumn struct {
	base
	fields []column
}

func (c *structColumn) zero() {
	for _, f := range c.fields {
		f.zero()
	}
	c.n++
}

func (c *structColumn) null() { c.markNull(); c.zero() }

func (c *structColumn) take() *array.Data {
	kids := make([]arrow.ArrayData, len(c.fields))
	for i, f := range c.fields {
		kids[i] = f.take()
	}
	return c.finish(nil, kids)
}

func (c *structColumn) drop() {
	for _, f := range c.fields {
		f.drop()
	}
	c.base.drop()
}

// listColumn holds lists, and maps as lists of entries.
type listColumn struct {
	base
	ends fixedColumn[int32]
	elem column
	each int // bytes to count for an element
}

// open begins a value, close ends it after its elements went into elem.
func (c *listColumn) open() {
	if c.n == 0 {
		c.ends.append(0)
	}
}

func (c *listColumn) close() {
	n := c.elem.rows()
	if n > math.MaxInt32 {
		panic(&Error{Op: "encode", Kind: User, Err: ErrRecordTooLarge, Try: "a batch holds 2 Gi elements at most: split the list"})
	}
	c.w.bytes += (n - int(c.ends.vals[c.n])) * c.each
	c.ends.append(int32(n))
	c.n++
}

func (c *listColumn) zero() { c.open(); c.close() }
func (c *listColumn) null() { c.markNull(); c.zero() }

func (c *listColumn) take() *array.Data {
	c.open()
	return c.finish([]*memory.Buffer{c.ends.takeBuffer()}, []arrow.ArrayData{c.elem.take()})
}

func (c *listColumn) drop() {
	c.ends.drop()
	c.elem.drop()
	c.base.drop()
}
