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
	cols := make([]arrow.Array, s.out.NumFields())
	for i, f := range s.out.Fields() {
		if f.Name == "key" {
			cols[i] = s.column(data, rows, 0, s.KeyBytes)
		} else {
			cols[i] = s.column(data, rows, s.KeyBytes, s.RecordBytes)
		}
	}
	if s.at += len(data); s.at == s.block.Buffer.Len() {
		s.drop()
	}
	batch := array.NewRecordBatch(s.out, cols, int64(rows))
	for _, c := range cols {
		c.Release()
	}
	s.AddRows(int64(rows))
	return batch, nil
}

// column copies the bytes from..to of each record.
func (s *fixedStream) column(data []byte, rows, from, to int) arrow.Array {
	width := to - from
	vbuf, obuf := memory.NewResizableBuffer(s.env.Alloc), memory.NewResizableBuffer(s.env.Alloc)
	vbuf.Resize(rows * width)
	obuf.Resize(arrow.Int32Traits.BytesRequired(rows + 1))
	values, offsets := vbuf.Bytes(), arrow.Int32Traits.CastFromBytes(obuf.Bytes())
	offsets[0] = 0
	for i := range rows {
		r := data[i*s.RecordBytes:]
		copy(values[i*width:(i+1)*width], r[from:to])
		offsets[i+1] = int32((i + 1) * width)
	}
	d := array.NewData(arrow.BinaryTypes.Binary, rows, []*memory.Buffer{nil, obuf, vbuf}, nil, 0, 0)
	defer d.Release()
	obuf.Release()
	vbuf.Release()
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
	cols := make([]interface{ Value(int) []byte }, b.NumCols())
	for c := range cols {
		col, ok := b.Column(c).(interface{ Value(int) []byte })
		if !ok {
			return &dataflow.Error{Op: "fixed.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: fmt.Errorf("a column of type %s: want binary", b.Column(c).DataType())}
		}
		cols[c] = col
	}
	for row := range int(b.NumRows()) {
		from := len(e.buf)
		for c, col := range cols {
			if b.Column(c).IsNull(row) {
				return &dataflow.Error{Op: "fixed.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: fmt.Errorf("row %d is null", row)}
			}
			e.buf = append(e.buf, col.Value(row)...)
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
