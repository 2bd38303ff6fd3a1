package order

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/divisi-data/divisi/dataflow"
)

// ErrNotSorted is wrapped by the error of a stream that breaks its promised order.
var ErrNotSorted = errors.New("rows are out of order")

// Check passes a stream through and fails, with an error of kind Fatal that wraps
// ErrNotSorted, at the first row that comes before the one ahead of it. It owns
// in.
func Check(keys []dataflow.SortKey, in dataflow.Stream) dataflow.Stream {
	return &checker{Stream: in, keys: keys}
}

type checker struct {
	dataflow.Stream
	keys      []dataflow.SortKey
	enc       *Encoder // made from the first batch
	last, cur Keys
	rows      int64
	err       error
}

// Next implements dataflow.Stream.
func (c *checker) Next(ctx context.Context) (dataflow.Batch, error) {
	if c.err != nil {
		return nil, c.err
	}
	b, err := c.Stream.Next(ctx)
	if err == nil {
		err = c.check(b)
		if err != nil {
			b.Release()
			b = nil
		}
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return b, err
}

func (c *checker) check(b dataflow.Batch) error {
	if c.enc == nil {
		var err error
		if c.enc, err = NewEncoder(b.Schema(), c.keys); err != nil {
			return err
		}
	}
	c.cur.Reset()
	if err := c.enc.Append(&c.cur, b); err != nil {
		return err
	}
	prev, at := &c.last, c.last.Len()-1
	for i := range c.cur.Len() {
		if at >= 0 && prev.Compare(at, &c.cur, i) > 0 {
			return &dataflow.Error{Op: "order.Check", Kind: dataflow.Fatal, Err: fmt.Errorf("%w: row %d", ErrNotSorted, c.rows+int64(i))}
		}
		prev, at = &c.cur, i
	}
	c.rows += b.NumRows()
	c.last, c.cur = c.cur, c.last
	return nil
}
