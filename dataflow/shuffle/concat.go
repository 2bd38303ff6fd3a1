package shuffle

import (
	"context"
	"errors"
	"io"

	"github.com/divisi-data/divisi/dataflow"
)

// Concat is the rows of all streams, one stream after the other. It owns them.
func Concat(in ...dataflow.Stream) dataflow.Stream { return &concat{in: in} }

type concat struct {
	in  []dataflow.Stream
	err error // final
}

// Next implements dataflow.Stream.
func (c *concat) Next(ctx context.Context) (dataflow.Batch, error) {
	for c.err == nil && len(c.in) > 0 {
		b, err := c.in[0].Next(ctx)
		if err == nil {
			return b, nil
		}
		if err != io.EOF {
			c.err = err
			break
		}
		c.err = c.in[0].Close()
		c.in = c.in[1:]
	}
	if c.err != nil {
		return nil, c.err
	}
	return nil, io.EOF
}

// Close implements dataflow.Stream.
func (c *concat) Close() error {
	var errs []error
	for _, s := range c.in {
		errs = append(errs, s.Close())
	}
	c.in = nil
	return errors.Join(errs...)
}
