package shuffle

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
)

// Read is the stream of partitions lo to hi-1 of a sealed output on this machine.
// Batches take their memory from alloc.
func Read(output string, lo, hi int, schema *arrow.Schema, alloc memory.Allocator) (dataflow.Stream, error) {
	body, err := Local{}.Fetch(context.Background(), Location{Path: output}, lo, hi)
	if err != nil {
		return nil, err
	}
	r, err := newRange(body, output, lo, hi, schema, alloc)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return r, nil
}

// A rangeStream reads the frames of a range and, at its end, compares bytes and
// rows with what the range's header promised.
type rangeStream struct {
	*block.Reader
	name string
	info rangeInfo
	rows int64
}

// newRange reads the header from body, which the stream closes in the end; when it
// fails, body is the caller's.
func newRange(body io.ReadCloser, name string, lo, hi int, schema *arrow.Schema, alloc memory.Allocator) (*rangeStream, error) {
	print, err := block.Fingerprint(schema)
	if err != nil {
		return nil, err
	}
	damaged := func(err error) error {
		return &dataflow.Error{Op: "shuffle.Read", Path: name, Kind: dataflow.Corrupt, Err: err}
	}
	var head [rangeHeader]byte
	switch n, err := io.ReadFull(body, head[:]); err {
	case nil:
	case io.EOF, io.ErrUnexpectedEOF:
		return nil, damaged(fmt.Errorf("the range's header is cut short: %d of %d bytes", n, rangeHeader))
	default:
		return nil, &dataflow.Error{Op: "shuffle.Read", Path: name, Err: err}
	}
	info, err := decodeRange(head[:], rangeInfo{lo: lo, hi: hi, schema: print})
	if err != nil {
		return nil, damaged(err)
	}
	r, err := block.NewReader(body, DataPath(name), info.offset, schema, alloc)
	if err != nil {
		return nil, err
	}
	return &rangeStream{Reader: r, name: name, info: info}, nil
}

// Next implements dataflow.Stream.
func (r *rangeStream) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := r.Reader.Next(ctx)
	if err == nil {
		r.rows += b.NumRows()
	}
	if err == io.EOF {
		if got := r.Offset() - r.info.offset; got != r.info.bytes || r.rows != r.info.rows {
			return nil, &dataflow.Error{Op: "shuffle.Read", Path: fmt.Sprintf("%s@%d", DataPath(r.name), r.Offset()), Kind: dataflow.Corrupt,
				Err: fmt.Errorf("partitions %d to %d end after %d rows in %d bytes, promised were %d in %d",
					r.info.lo, r.info.hi, r.rows, got, r.info.rows, r.info.bytes)}
		}
	}
	return b, err
}
