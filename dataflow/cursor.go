package dataflow

import "unsafe"

// A cursor stands on one row of an input of a run.
type cursor[T any] struct {
	r     *run
	input int
	codec *codec[T]
	skip  int // columns before those of T

	b   Batch
	row int
	get func(i int, p unsafe.Pointer)
	cur T    // the row
	ok  bool // there is one
}

func newCursor[T any](r *run, input int, c *codec[T], skip int) *cursor[T] {
	k := &cursor[T]{r: r, input: input, codec: c, skip: skip}
	r.atEnd(k.drop)
	return k
}

func (c *cursor[T]) drop() {
	if c.b != nil {
		c.b.Release()
		c.b = nil
	}
}

// advance goes to the next row.
func (c *cursor[T]) advance() {
	c.row++
	if c.b == nil || c.row == int(c.b.NumRows()) {
		c.drop()
		c.r.batch = nil
		if c.b = c.r.next(c.input); c.b == nil {
			c.ok = false
			return
		}
		c.row, c.ok = 0, true
		c.get = c.codec.readerFrom(c.b, c.skip)
	}
	c.get(c.row, unsafe.Pointer(&c.cur))
	c.r.src, c.r.batch, c.r.row, c.r.show = c.input, c.b, c.row, c.show
}

func (c *cursor[T]) show(b Batch, row int) string { return c.codec.describeFrom(b, row, c.skip) }
