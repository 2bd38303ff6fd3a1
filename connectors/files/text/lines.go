package text

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// lineStream turns blocks into batches of lines.
type lineStream struct {
	*files.Blocks
	in  *files.Input
	env *dataflow.Env

	all  *lines // of one block
	next int64  // the first that Next has not returned yet

	first int64 // row of all that the last batch began with
}

func (s *lineStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.all != nil && s.next == s.all.NumRows() {
		s.drop()
	}
	if s.all == nil {
		b, err := s.Blocks.Next(ctx)
		if err != nil {
			return nil, err
		}
		s.all, s.next = newLines(s.env, b), 0
		s.AddRows(s.all.NumRows())
	}
	s.first = s.next
	s.next = min(s.all.NumRows(), s.first+int64(max(1, s.env.BatchRows)))
	if s.first == 0 && s.next == s.all.NumRows() {
		s.all.Retain()
		return s.all, nil
	}
	return s.all.NewSlice(s.first, s.next), nil
}

// Locate implements dataflow.Locator.
func (s *lineStream) Locate(row int) string {
	if s.all == nil {
		return s.in.Path
	}
	return s.in.Place(s.all.offset + s.all.at(int(s.first)+row))
}

func (s *lineStream) drop() {
	if s.all != nil {
		s.all.Release()
	}
	s.all = nil
}

func (s *lineStream) Close() error {
	s.drop()
	return s.Blocks.Close()
}

// rawStream hands the blocks on, one a row.
type rawStream struct {
	*files.Blocks
	in     *files.Input
	offset int64
}

func (s *rawStream) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := s.Blocks.Next(ctx)
	if err != nil {
		return nil, err
	}
	s.offset = b.Offset
	s.AddRows(1)
	offsets := memory.NewBufferBytes(arrow.Int32Traits.CastToBytes([]int32{0, int32(b.Buffer.Len())}))
	d := array.NewData(arrow.BinaryTypes.Binary, 1, []*memory.Buffer{nil, offsets, b.Buffer}, nil, 0, 0)
	b.Buffer.Release()
	col := array.NewBinaryData(d)
	d.Release()
	batch := array.NewRecordBatch(RawSchema, []arrow.Array{col}, 1)
	col.Release()
	return batch, nil
}

// Locate implements dataflow.Locator: where the block begins.
func (s *rawStream) Locate(int) string { return s.in.Place(s.offset) }
