// Package ops is the operators that are known by name and arguments, one file
// each: sort, merge, topn, limit, project, select, aggregate, window, sample, unique,
// hashjoin, explode, expand, process and the assertion checksorted. Whatever grows with the data asks
// env.Memory and spills when told no.
package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// register makes a kind of operator known whose arguments are the JSON of an A.
func register[A any](kind, summary string, build func(A) (dataflow.Operator, error)) {
	dataflow.Register(dataflow.OperatorKind{Kind: kind, Summary: summary, Build: func(args []byte) (dataflow.Operator, error) {
		var a A
		if len(args) > 0 {
			d := json.NewDecoder(bytes.NewReader(args))
			d.DisallowUnknownFields()
			if err := d.Decode(&a); err != nil {
				return nil, userError(kind, fmt.Errorf("arguments %s: %w", args, err))
			}
		}
		op, err := build(a)
		if err != nil {
			return nil, userError(kind, err)
		}
		return op, nil
	}})
}

func userError(kind string, err error) error {
	return &dataflow.Error{Op: "ops." + kind, Kind: dataflow.User, Err: err}
}

// one is the only schema of in.
func one(kind string, in []*arrow.Schema) (*arrow.Schema, error) {
	if len(in) != 1 {
		return nil, userError(kind, fmt.Errorf("takes one input, not %d", len(in)))
	}
	return in[0], nil
}

// checkColumns says whether all columns exist, and that there are some.
func checkColumns(schema *arrow.Schema, cols []int) error {
	if len(cols) == 0 {
		return errors.New("no columns are named")
	}
	for _, c := range cols {
		if c < 0 || c >= schema.NumFields() {
			return fmt.Errorf("no column %d: the rows have %d", c, schema.NumFields())
		}
	}
	return nil
}

// selectFields is the schema of some columns.
func selectFields(schema *arrow.Schema, cols []int) *arrow.Schema {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = schema.Field(c)
	}
	return arrow.NewSchema(fields, nil)
}

// selectColumns is a batch of some columns, which it shares with b. The caller
// owns it.
func selectColumns(schema *arrow.Schema, b dataflow.Batch, cols []int) dataflow.Batch {
	arrs := make([]arrow.Array, len(cols))
	for i, c := range cols {
		arrs[i] = b.Column(c)
	}
	return array.NewRecordBatch(schema, arrs, b.NumRows())
}

var errClosed = errors.New("read from a closed stream")

// final makes an end final: the first error of a stream, io.EOF included, is what
// it answers from then on.
type final struct{ err error }

func (f *final) next(ctx context.Context, next func(context.Context) (dataflow.Batch, error)) (dataflow.Batch, error) {
	if f.err != nil {
		return nil, f.err
	}
	if err := ctx.Err(); err != nil {
		f.err = err
		return nil, err
	}
	b, err := next(ctx)
	if err != nil {
		f.err = err
	}
	return b, err
}

// closed answers reads after Close.
func (f *final) closed() { f.err = errClosed }

// held counts what one stream has reserved, so that Close gives it all back.
type held struct {
	memory *dataflow.Memory
	n      int64
}

func (h *held) try(n int64) bool {
	if n > 0 && !h.memory.TryReserve(n) {
		return false
	}
	h.n += max(n, 0)
	return true
}

func (h *held) must(n int64) error {
	if err := h.memory.Reserve(n); err != nil {
		return err
	}
	h.n += n
	return nil
}

// trySet makes n bytes of what is reserved, which is less than to release it and to try
// anew: another may be faster.
func (h *held) trySet(n int64) bool {
	if n > h.n {
		return h.try(n - h.n)
	}
	h.release(h.n - n)
	return true
}

// set is trySet for what cannot be done without.
func (h *held) set(n int64) error {
	if n > h.n {
		return h.must(n - h.n)
	}
	h.release(h.n - n)
	return nil
}

func (h *held) release(n int64) {
	h.memory.Release(n)
	h.n -= n
}

func (h *held) releaseAll() { h.release(h.n) }

func releaseBatches(bs []dataflow.Batch) {
	for _, b := range bs {
		b.Release()
	}
}
