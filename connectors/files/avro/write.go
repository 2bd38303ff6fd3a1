package avro

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

type writeOptions struct {
	Compression string `json:"compression"` // deflate (default), none, snappy, zstd, bzip2
	// BlockBytes of values are a block, 64,000 by default.
	BlockBytes int `json:"block_bytes"`
}

var codecNames = map[string]string{"deflate": "deflate", "none": "null", "snappy": "snappy", "zstd": "zstandard", "bzip2": "bzip2"}

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	opt := writeOptions{Compression: "deflate", BlockBytes: 64_000}
	if err := files.DecodeOptions("avro", o.Options, &opt); err != nil {
		return nil, err
	}
	if codecNames[opt.Compression] == "" || opt.BlockBytes <= 0 || opt.BlockBytes > blockMax/4 {
		return nil, &dataflow.Error{Op: "files.avro", Kind: dataflow.User,
			Err: fmt.Errorf("compression is %q (have deflate, none, snappy, zstd, bzip2), block_bytes %d (may be at most %d)", opt.Compression, opt.BlockBytes, blockMax/4)}
	}
	return writer{opt}, nil
}

type writer struct{ opt writeOptions }

func (writer) Suffix() string   { return ".avro" }
func (writer) Compresses() bool { return true }

func (w writer) Open(_ *dataflow.Env, out io.Writer, schema *arrow.Schema) (files.Encoder, error) {
	if schema == nil {
		return nil, &dataflow.Error{Op: "avro.Write", Kind: dataflow.Fatal, Err: errors.New("a file needs a schema")}
	}
	text, err := schemaOf(schema)
	if err != nil {
		return nil, &dataflow.Error{Op: "avro.Write", Kind: dataflow.User, Err: err}
	}
	e := &encoder{opt: w.opt, schema: files.WithoutMetadata(schema), out: out}
	switch w.opt.Compression {
	case "deflate":
		if e.deflate, err = flate.NewWriter(&e.stored, flate.DefaultCompression); err != nil {
			return nil, err
		}
	case "zstd", "bzip2":
		if e.z, err = codec.NewCompressor(codec.Codec(w.opt.Compression)); err != nil {
			return nil, err
		}
	}
	_, _ = rand.Read(e.sync[:])
	b := append([]byte(magic), 4) // two entries
	for _, kv := range []string{"avro.schema", string(text), "avro.codec", codecNames[w.opt.Compression]} {
		b = append(binary.AppendVarint(b, int64(len(kv))), kv...)
	}
	_, err = out.Write(append(append(b, 0), e.sync[:]...))
	return e, err
}

type encoder struct {
	opt     writeOptions
	schema  *arrow.Schema
	rows    int64 // written
	out     io.Writer
	sync    [syncBytes]byte
	buf     []byte // values of the block
	count   int64
	stored  bytes.Buffer
	deflate *flate.Writer
	z       *codec.Compressor
	err     error
}

func (e *encoder) Write(b dataflow.Batch) error {
	if e.err != nil {
		return e.err
	}
	b, err := files.WithSchema(b, e.schema)
	if err != nil {
		return &dataflow.Error{Op: "avro.Write", Kind: dataflow.User, Err: err}
	}
	defer b.Release()
	if e.err = files.CheckText("avro.Write", b, e.rows); e.err != nil {
		return e.err
	}
	e.rows += b.NumRows()
	for row := range int(b.NumRows()) {
		for i, f := range e.schema.Fields() {
			if e.buf, err = appendValue(e.buf, f, b.Column(i), row); err != nil {
				e.err = &dataflow.Error{Op: "avro.Write", Kind: dataflow.User, Err: fmt.Errorf("column %s: %w", f.Name, err)}
				return e.err
			}
		}
		if e.count++; len(e.buf) >= e.opt.BlockBytes {
			if e.err = e.flush(); e.err != nil {
				return e.err
			}
		}
	}
	return nil
}

func (e *encoder) flush() error {
	if len(e.buf) > blockMax {
		return &dataflow.Error{Op: "avro.Write", Kind: dataflow.User, Err: dataflow.ErrRecordTooLarge}
	}
	stored, err := e.compress()
	if err != nil {
		return err
	}
	head := binary.AppendVarint(nil, e.count)
	head = binary.AppendVarint(head, int64(len(stored)))
	for _, p := range [][]byte{head, stored, e.sync[:]} {
		if _, err := e.out.Write(p); err != nil {
			return err
		}
	}
	e.buf, e.count = e.buf[:0], 0
	return nil
}

func (e *encoder) compress() ([]byte, error) {
	switch {
	case e.z != nil:
		return e.z.Compress(e.buf)
	case e.deflate != nil:
		e.stored.Reset()
		e.deflate.Reset(&e.stored)
		if _, err := e.deflate.Write(e.buf); err != nil {
			return nil, err
		}
		err := e.deflate.Close()
		return e.stored.Bytes(), err
	case e.opt.Compression == "snappy":
		return binary.BigEndian.AppendUint32(snappy.Encode(nil, e.buf), crc32.ChecksumIEEE(e.buf)), nil
	}
	return e.buf, nil
}

func (e *encoder) Close() error {
	if e.err == nil && e.count > 0 {
		e.err = e.flush()
	}
	return e.err
}

// appendValue appends a value as typeFor has its type.
func appendValue(b []byte, f arrow.Field, col arrow.Array, row int) ([]byte, error) {
	if f.Type.ID() == arrow.NULL {
		return b, nil
	}
	switch null := col.IsNull(row); {
	case null && !f.Nullable:
		return b, errors.New("a value is null, and the schema says that none is")
	case null:
		return append(b, 0), nil
	case f.Nullable:
		b = append(b, 2)
	}
	number := func(v int64) ([]byte, error) { return binary.AppendVarint(b, v), nil }
	text := func(s string) ([]byte, error) {
		return append(binary.AppendVarint(b, int64(len(s))), s...), nil
	}
	switch a := col.(type) {
	case *array.Boolean:
		if a.Value(row) {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case *array.Int8:
		return number(int64(a.Value(row)))
	case *array.Int16:
		return number(int64(a.Value(row)))
	case *array.Int32:
		return number(int64(a.Value(row)))
	case *array.Int64:
		return number(a.Value(row))
	case *array.Uint8:
		return number(int64(a.Value(row)))
	case *array.Uint16:
		return number(int64(a.Value(row)))
	case *array.Uint32:
		return number(int64(a.Value(row)))
	case *array.Uint64:
		if a.Value(row) > math.MaxInt64 {
			return b, fmt.Errorf("Avro's longs end at %d, a value is %d", int64(math.MaxInt64), a.Value(row))
		}
		return number(int64(a.Value(row)))
	case *array.Float32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(a.Value(row))), nil
	case *array.Float64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(a.Value(row))), nil
	case *array.String:
		return text(a.Value(row))
	case *array.Binary:
		return text(a.ValueString(row))
	case *array.FixedSizeBinary:
		return append(b, a.Value(row)...), nil
	case *array.Date32:
		return number(int64(a.Value(row)))
	case *array.Time32:
		return number(int64(a.Value(row)))
	case *array.Time64:
		return number(int64(a.Value(row)))
	case *array.Timestamp:
		return number(int64(a.Value(row)))
	case *array.Decimal128:
		v := a.Value(row)
		wide := binary.BigEndian.AppendUint64(nil, uint64(v.HighBits()))
		wide = binary.BigEndian.AppendUint64(wide, v.LowBits())
		for len(wide) > 1 && (wide[0] == 0 && wide[1] < 0x80 || wide[0] == 0xff && wide[1] >= 0x80) {
			wide = wide[1:]
		}
		return text(string(wide))
	case *array.Map:
		from, to := a.ValueOffsets(row)
		return appendItems(b, from, to, func(b []byte, i int) ([]byte, error) {
			k := a.Keys().(*array.String).Value(i)
			b = append(binary.AppendVarint(b, int64(len(k))), k...)
			return appendValue(b, f.Type.(*arrow.MapType).ItemField(), a.Items(), i)
		})
	case *array.List:
		from, to := a.ValueOffsets(row)
		return appendItems(b, from, to, func(b []byte, i int) ([]byte, error) {
			return appendValue(b, f.Type.(*arrow.ListType).ElemField(), a.ListValues(), i)
		})
	case *array.Struct:
		var err error
		for i, inner := range f.Type.(*arrow.StructType).Fields() {
			if b, err = appendValue(b, inner, a.Field(i), row); err != nil {
				return b, fmt.Errorf("field %s: %w", inner.Name, err)
			}
		}
		return b, nil
	}
	return b, fmt.Errorf("values of type %s are not written", col.DataType())
}

func appendItems(b []byte, from, to int64, item func(b []byte, i int) ([]byte, error)) ([]byte, error) {
	if to > from {
		b = binary.AppendVarint(b, to-from)
		var err error
		for i := from; i < to; i++ {
			if b, err = item(b, int(i)); err != nil {
				return b, err
			}
		}
	}
	return append(b, 0), nil
}
