package text

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(fixed{}) }

// FixedSchema is that of format "fixed": two binary columns.
var FixedSchema = arrow.NewSchema([]arrow.Field{
	{Name: "key", Type: arrow.BinaryTypes.Binary}, {Name: "value", Type: arrow.BinaryTypes.Binary},
}, nil)

// fixed is records of one length without anything between them, as in TeraSort: a
// key of key_bytes and a value of the rest.
type fixed struct{}

type fixedOptions struct {
	RecordBytes int `json:"record_bytes"`
	KeyBytes    int `json:"key_bytes"`
}

// fixedRecordMax bounds a record; the buffers are as large.
const fixedRecordMax = 16 << 20

func (fixed) Name() string    { return "fixed" }
func (fixed) Summary() string { return "binary records of a fixed length, key and value" }

func parseFixed(raw []byte) (o fixedOptions, err error) {
	o = fixedOptions{RecordBytes: 100, KeyBytes: 10}
	if err = files.DecodeOptions("fixed", raw, &o); err == nil && (o.RecordBytes <= 0 || o.RecordBytes > fixedRecordMax || o.KeyBytes < 0 || o.KeyBytes > o.RecordBytes) {
		err = &dataflow.Error{Op: "files.fixed", Kind: dataflow.User, Err: fmt.Errorf("record_bytes is %d and key_bytes %d: want 0 <= key_bytes <= record_bytes <= %d", o.RecordBytes, o.KeyBytes, fixedRecordMax)}
	}
	return o, err
}

func (fixed) Reader(o files.ReadOptions) (files.Reader, error) {
	opt, err := parseFixed(o.Options)
	if err != nil {
		return nil, err
	}
	out, err := files.Project("files.fixed", FixedSchema, o.Columns)
	return fixedReader{opt, out}, err
}

type fixedReader struct {
	fixedOptions
	out *arrow.Schema
}

func (r fixedReader) Schema(context.Context, func() (*files.Input, error)) (*arrow.Schema, error) {
	return r.out, nil
}

func (fixedReader) Splittable() bool { return true }

func (r fixedReader) Open(env *dataflow.Env, in *files.Input, _ *arrow.Schema) (dataflow.Stream, error) {
	blocks, err := files.NewBlocks(env, in, files.BlockOptions{Op: "fixed.Read", Record: int64(r.RecordBytes)})
	if err != nil {
		return nil, err
	}
	return &fixedStream{Blocks: blocks, fixedReader: r, in: in, env: env}, nil
}

type fixedStream struct {
	*files.Blocks
	fixedReader
	in  *files.Input
	env *dataflow.Env

	block  files.Block
	at     int // of the next record in block
	offset int64
}

func (s *fixedStream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.block.Buffer == nil {
		b, err := s.Blocks.Next(ctx)
		if err != nil {
			return nil, err
		}
		s.block, s.at = b, 0
	}
	data := s.block.Buffer.Bytes()[s.at:]
	s.offset = s.block.Offset + int64(s.at)
	rows := min(len(data)/s.RecordBytes, max(1, s.env.BatchRows))
	if rows == 0 {
		s.drop()
		if err := s.in.Bad("fixed.Read", s.offset, data, fmt.Errorf("the file ends inside a record: %d of %d bytes", len(data), s.RecordBytes)); err != nil {
			s.Fail(err)
			return nil, err
		}
		return s.Next(ctx)
	}
	data = data[:rows*s.RecordBytes]
	cols := s.columns(data, rows)
	if s.at += len(data); s.at == s.block.Buffer.Len() {
		s.Reuse(s.block.Buffer) // what was in it was copied
		s.block.Buffer = nil
	}
	batch := array.NewRecordBatch(s.out, cols, int64(rows))
	for _, c := range cols {
		c.Release()
	}
	s.AddRows(int64(rows))
	return batch, nil
}

// A slot is a column that is filled: the bytes from..to of each record.
type slot struct {
	from, to        int
	values, offsets *memory.Buffer
}

// tileRows are copied into one column, then into the next, while they are in the
// processor's first cache.
const tileRows = 128

// columns copies the records' parts apart.
func (s *fixedStream) columns(data []byte, rows int) []arrow.Array {
	slots := make([]slot, s.out.NumFields())
	for i, f := range s.out.Fields() {
		c := slot{from: s.KeyBytes, to: s.RecordBytes}
		if f.Name == "key" {
			c = slot{to: s.KeyBytes}
		}
		c.values = dataflow.NewBuffer(s.env.Alloc, rows*(c.to-c.from))
		c.offsets = dataflow.NewBuffer(s.env.Alloc, arrow.Int32Traits.BytesRequired(rows+1))
		slots[i] = c
	}
	for from := 0; from < rows; from += tileRows {
		to := min(rows, from+tileRows)
		for i := range slots {
			slots[i].copy(data[from*s.RecordBytes:to*s.RecordBytes], s.RecordBytes, from)
		}
	}
	cols := make([]arrow.Array, len(slots))
	for i := range slots {
		cols[i] = slots[i].array(rows)
	}
	return cols
}

// copy adds the records in data, of which the first is row number row.
func (c *slot) copy(data []byte, record, row int) {
	width := c.to - c.from
	values := c.values.Bytes()[row*width:]
	for len(data) > 0 {
		copy(values[:width], data[c.from:c.to])
		values, data = values[width:], data[record:]
	}
}

// array makes the column, whose buffers it takes.
func (c *slot) array(rows int) arrow.Array {
	width := int32(c.to - c.from)
	for i, offsets := 0, arrow.Int32Traits.CastFromBytes(c.offsets.Bytes()); i <= rows; i++ {
		offsets[i] = int32(i) * width
	}
	d := array.NewData(arrow.BinaryTypes.Binary, rows, []*memory.Buffer{nil, c.offsets, c.values}, nil, 0, 0)
	defer d.Release()
	c.offsets.Release()
	c.values.Release()
	return array.NewBinaryData(d)
}

func (s *fixedStream) drop() {
	if s.block.Buffer != nil {
		s.block.Buffer.Release()
		s.block.Buffer = nil
	}
}

// Locate implements dataflow.Locator.
func (s *fixedStream) Locate(row int) string {
	return s.in.Place(s.offset + int64(row)*int64(s.RecordBytes))
}

func (s *fixedStream) Close() error {
	s.drop()
	return s.Blocks.Close()
}

func (fixed) Writer(o files.WriteOptions) (files.Writer, error) {
	opt, err := parseFixed(o.Options)
	return fixedWriter{opt}, err
}

// fixedWriter writes the columns of a row one after the other, whatever their
// number; a row that is not of the record's length is an error.
type fixedWriter struct{ fixedOptions }

func (fixedWriter) Suffix() string   { return "" }
func (fixedWriter) Compresses() bool { return false }

func (w fixedWriter) Open(_ *dataflow.Env, out io.Writer, _ *arrow.Schema) (files.Encoder, error) {
	return &fixedEncoder{fixedOptions: w.fixedOptions, encoder: encoder{out: out}}, nil
}

type fixedEncoder struct {
	fixedOptions
	encoder
}

func (e *fixedEncoder) Write(b dataflow.Batch) error {
	cols := make([]fixedColumn, b.NumCols())
	for c := range cols {
		var err error
		if cols[c], err = fixedColumnOf(b.Column(c)); err != nil {
			return &dataflow.Error{Op: "fixed.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: err}
		}
	}
	for row := range int(b.NumRows()) {
		from := len(e.buf)
		for c := range cols {
			col := &cols[c]
			if col.value != nil {
				e.buf = append(e.buf, col.value(row)...)
			} else {
				e.buf = append(e.buf, col.data[col.offsets[row]:col.offsets[row+1]]...)
			}
		}
		if n := len(e.buf) - from; n != e.RecordBytes {
			return &dataflow.Error{Op: "fixed.Write", Kind: dataflow.User, Err: fmt.Errorf("a row of %d bytes: want %d", n, e.RecordBytes)}
		}
		if len(e.buf) >= flushBytes {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// A fixedColumn is the bytes of an array of binary, or what gives those of another.
type fixedColumn struct {
	offsets []int32
	data    []byte
	value   func(row int) []byte
}

func fixedColumnOf(a arrow.Array) (fixedColumn, error) {
	if a.NullN() > 0 {
		row := 0
		for a.IsValid(row) {
			row++
		}
		return fixedColumn{}, fmt.Errorf("row %d is null", row)
	}
	switch a := a.(type) {
	case *array.Binary:
		if a.Len() == 0 {
			return fixedColumn{}, nil // it may have no offsets
		}
		d := a.Data()
		c := fixedColumn{offsets: arrow.GetOffsets[int32](d, 1)}
		if values := d.Buffers()[2]; values != nil {
			c.data = values.Bytes()
		}
		return c, nil
	case interface{ Value(int) []byte }:
		return fixedColumn{value: a.Value}, nil
	}
	return fixedColumn{}, fmt.Errorf("a column of type %s: want binary", a.DataType())
}
