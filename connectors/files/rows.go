package files

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// RowOptions say how records become rows.
type RowOptions struct {
	Op     string // for errors
	Schema *arrow.Schema
	// Next returns the first record of a block without its end, and how many bytes
	// to go on; nil: a line. It is never given an empty block.
	Next func(block []byte) (record []byte, n int)
	// Mark lets a file begin with a byte order mark, which belongs to no record.
	Mark bool
	// Skip says which records are no rows (a header, a blank line), and whether one is the
	// file's first; nil: none.
	Skip func(record []byte, first bool) bool
	// Parser makes what parses records into the columns of b.
	Parser func(b *array.RecordBuilder) (RowParser, error)
}

// A RowParser takes a record apart. A record that fails leaves nothing behind.
type RowParser interface {
	Parse(record []byte) error
	Commit() // appends what was parsed last
}

// Rows reads records one by one into batches, under the policy for bad records.
type Rows struct {
	*Blocks
	in      *Input
	env     *dataflow.Env
	opt     RowOptions
	builder *array.RecordBuilder
	parser  RowParser

	block   Block
	at      int     // of the next record in block
	offsets []int64 // of the rows of the batch that was returned last
}

// NewRows begins to read; the rows own blocks and in, also when it fails.
func NewRows(env *dataflow.Env, in *Input, blocks *Blocks, opt RowOptions) (*Rows, error) {
	r := &Rows{Blocks: blocks, in: in, env: env, opt: opt, builder: array.NewRecordBuilder(env.Alloc, opt.Schema)}
	if r.opt.Next == nil {
		r.opt.Next = NextLine
	}
	var err error
	if r.parser, err = opt.Parser(r.builder); err != nil {
		r.Close()
		return nil, &dataflow.Error{Op: opt.Op, Path: in.Path, Kind: dataflow.User, Err: dataflow.Mark(err, dataflow.ErrColumns)}
	}
	return r, nil
}

// NextLine is a line without LF or CR LF.
func NextLine(block []byte) ([]byte, int) {
	i := bytes.IndexByte(block, '\n')
	if i < 0 {
		return block, len(block)
	}
	if i > 0 && block[i-1] == '\r' {
		return block[:i-1], i + 1
	}
	return block[:i], i + 1
}

// Next implements dataflow.Stream.
func (r *Rows) Next(ctx context.Context) (dataflow.Batch, error) {
	r.offsets = r.offsets[:0]
	for len(r.offsets) == 0 {
		if r.block.Buffer == nil {
			b, err := r.Blocks.Next(ctx)
			if err != nil {
				return nil, err
			}
			r.block, r.at = b, 0
		}
		if err := r.parse(); err != nil {
			r.Fail(err)
			return nil, err
		}
	}
	r.AddRows(int64(len(r.offsets)))
	b := r.builder.NewRecordBatch()
	r.expect(b)
	return b, nil
}

// expect makes room for another batch like the last one, at once: columns that grow
// value by value are copied again and again.
func (r *Rows) expect(b dataflow.Batch) {
	if r.block.Buffer == nil && r.past() {
		return // there is none
	}
	r.builder.Reserve(int(b.NumRows()))
	for i, col := range b.Columns() {
		if t, ok := col.(*array.String); ok {
			r.builder.Field(i).(*array.StringBuilder).ReserveData(len(t.ValueBytes()))
		}
	}
}

// parse reads records until the block ends or the batch is full.
func (r *Rows) parse() error {
	data := r.block.Buffer.Bytes()
	begin := r.block.Offset == 0 && r.at == 0
	if begin && r.opt.Mark {
		r.at = MarkLen(data)
	}
	for r.at < len(data) && len(r.offsets) < max(1, r.env.BatchRows) {
		record, n := r.opt.Next(data[r.at:])
		offset := r.block.Offset + int64(r.at)
		r.at += n
		first := begin
		begin = false
		if r.opt.Skip != nil && r.opt.Skip(record, first) {
			continue
		}
		if r.in.MaxRecordBytes > 0 && int64(len(record)) > r.in.MaxRecordBytes {
			return r.in.TooLarge(r.opt.Op, offset)
		}
		if err := r.parser.Parse(record); err != nil {
			if err := r.in.Bad(r.opt.Op, offset, record, err); err != nil {
				return err
			}
			continue
		}
		r.parser.Commit()
		r.offsets = append(r.offsets, offset)
	}
	if r.at == len(data) {
		r.block.Buffer.Release()
		r.block.Buffer = nil
	}
	return nil
}

// Locate implements dataflow.Locator.
func (r *Rows) Locate(row int) string {
	if row < 0 || row >= len(r.offsets) {
		return r.in.Path
	}
	return r.in.Place(r.offsets[row])
}

// Close implements dataflow.Stream.
func (r *Rows) Close() error {
	if r.builder != nil {
		r.builder.Release()
		r.builder = nil
	}
	if r.block.Buffer != nil {
		r.block.Buffer.Release()
		r.block.Buffer = nil
	}
	return r.Blocks.Close()
}

// Project is the schema of some columns by name, in that order; all for none. A
// name that is not there is an error of kind User.
func Project(op string, s *arrow.Schema, columns []string) (*arrow.Schema, error) {
	if len(columns) == 0 {
		return s, nil
	}
	var fields []arrow.Field
	for _, name := range columns {
		i, err := ColumnIndex(op, s, name)
		if err != nil {
			return nil, err
		}
		fields = append(fields, s.Field(i))
	}
	return arrow.NewSchema(fields, nil), nil
}

// ColumnIndex finds the one column of a name.
func ColumnIndex(op string, s *arrow.Schema, name string) (int, error) {
	idx := s.FieldIndices(name)
	if len(idx) == 1 {
		return idx[0], nil
	}
	var have []string
	for _, f := range s.Fields() {
		have = append(have, f.Name)
	}
	return 0, &dataflow.Error{Op: op, Kind: dataflow.User, Err: noColumn(name, len(idx), have)}
}

func noColumn(name string, times int, have []string) error {
	err := fmt.Errorf("no column is called %q (have %s)", name, strings.Join(have, ", "))
	if times > 1 {
		err = fmt.Errorf("%d columns are called %q", times, name)
	}
	return dataflow.Mark(err, dataflow.ErrColumns)
}
