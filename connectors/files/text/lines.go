package text

import (
	"bytes"
	"context"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// lineStream turns blocks into a column of lines. The block's own buffer becomes
// the column's data: lines move together over the line ends between them, so each
// byte is moved once and nothing is allocated per line.
type lineStream struct {
	*files.Blocks
	in  *files.Input
	env *dataflow.Env

	all  dataflow.Batch // the lines of one block
	next int64          // the first that Next has not returned yet

	offset  int64   // of the block in the file
	first   int64   // row of all that the last batch began with
	offsets []int32 // of all's lines in its data
	returns []int32 // rows of all that ended in CR LF, ascending
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
		s.lines(b)
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

// lines makes a batch of a block.
func (s *lineStream) lines(b files.Block) {
	data := b.Buffer.Bytes()
	rows := bytes.Count(data, newline)
	if data[len(data)-1] != '\n' {
		rows++
	}
	obuf := memory.NewResizableBuffer(s.env.Alloc)
	obuf.Resize(arrow.Int32Traits.BytesRequired(rows + 1))
	offsets := arrow.Int32Traits.CastFromBytes(obuf.Bytes())
	s.returns = s.returns[:0]
	offsets[0] = 0
	r, w := 0, 0
	for row := range rows {
		n := bytes.IndexByte(data[r:], '\n')
		next := r + n + 1
		if n < 0 { // the file ends without a line feed
			n = len(data) - r
			next = len(data)
		} else if n > 0 && data[r+n-1] == '\r' {
			n--
			s.returns = append(s.returns, int32(row))
		}
		copy(data[w:w+n], data[r:r+n])
		w += n
		r = next
		offsets[row+1] = int32(w)
	}
	b.Buffer.ResizeNoShrink(w)
	d := array.NewData(arrow.BinaryTypes.String, rows, []*memory.Buffer{nil, obuf, b.Buffer}, nil, 0, 0)
	obuf.Release()
	b.Buffer.Release()
	col := array.NewStringData(d)
	d.Release()
	s.all = array.NewRecordBatch(Schema, []arrow.Array{col}, int64(rows))
	col.Release()
	s.offset, s.next, s.offsets = b.Offset, 0, offsets
}

var newline = []byte{'\n'}

// Locate implements dataflow.Locator: the line's place in the file is where it lies
// in the column plus the line ends that were before it.
func (s *lineStream) Locate(row int) string {
	if s.all == nil {
		return s.in.Path
	}
	i := int(s.first) + row
	if i < 0 || i >= len(s.offsets) {
		return s.in.Path
	}
	crs := sort.Search(len(s.returns), func(k int) bool { return int(s.returns[k]) >= i })
	return s.in.Place(s.offset + int64(s.offsets[i]) + int64(i) + int64(crs))
}

func (s *lineStream) drop() {
	if s.all != nil {
		s.all.Release()
	}
	s.all, s.offsets = nil, nil
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
