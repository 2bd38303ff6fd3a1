package sequencefile

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

type writeOptions struct {
	Compression string `json:"compression"` // none (default), deflate, gzip, bzip2, snappy, lz4, zstd
	// Type says what is compressed: block (default), or record: each value.
	Type string `json:"type"`
	// KeyClass and ValueClass are Hadoop's, with or without org.apache.hadoop.io; by
	// the columns' types unless they are given.
	KeyClass   string            `json:"key_class"`
	ValueClass string            `json:"value_class"`
	Metadata   map[string]string `json:"metadata"`
	// BlockBytes of keys and values are a block, 1,000,000 by default; SyncInterval is
	// how many bytes may lie between two sync marks in a file without blocks, 102,400
	// by default.
	BlockBytes   int `json:"block_bytes"`
	SyncInterval int `json:"sync_interval"`
}

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	opt := writeOptions{BlockBytes: 1_000_000, SyncInterval: 100 << 10} // as Hadoop has them
	if err := files.DecodeOptions("sequencefile", o.Options, &opt); err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) (files.Writer, error) {
		return nil, &dataflow.Error{Op: "files.sequencefile", Kind: dataflow.User, Err: fmt.Errorf(format, args...)}
	}
	if opt.BlockBytes <= 0 || opt.BlockBytes > 256<<20 || opt.SyncInterval <= 0 {
		return fail("block_bytes and sync_interval must be positive, the former at most 256 MiB")
	}
	w := writer{header: header{key: opt.KeyClass, value: opt.ValueClass}, opt: opt}
	for _, c := range []*string{&w.key, &w.value} {
		if *c != "" && !strings.Contains(*c, ".") {
			*c = classPrefix + *c
		}
		if _, ok := classes[*c]; !ok && *c != "" {
			return fail("no class %s is known (have %s)", *c, classNames())
		}
	}
	switch opt.Type {
	case "", "block", "record":
	default:
		return fail("type is %q (have block, record)", opt.Type)
	}
	if opt.Compression != "" && opt.Compression != "none" {
		w.compressed, w.blocks, w.codec = true, opt.Type != "record", codec.Codec(opt.Compression)
		if !slices.ContainsFunc(codecs, func(c struct {
			class string
			codec codec.Codec
		}) bool {
			return c.codec == w.codec
		}) {
			return fail("compression %q is unknown (have none, %s)", opt.Compression, codecNames())
		}
	}
	for k, v := range opt.Metadata {
		w.metadata = append(w.metadata, [2]string{k, v})
	}
	slices.SortFunc(w.metadata, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return w, nil
}

type writer struct {
	header
	opt writeOptions
}

func (writer) Suffix() string   { return ".seq" }
func (writer) Compresses() bool { return true }

func (w writer) Open(_ *dataflow.Env, out io.Writer, schema *arrow.Schema) (files.Encoder, error) {
	fail := func(kind dataflow.Kind, err error) (files.Encoder, error) {
		return nil, &dataflow.Error{Op: "sequencefile.Write", Kind: kind, Err: err}
	}
	if schema == nil {
		return fail(dataflow.Fatal, errors.New("a file needs a schema"))
	}
	if schema.NumFields() != 2 {
		return fail(dataflow.User, fmt.Errorf("rows have %d columns, a SequenceFile holds a key and a value", schema.NumFields()))
	}
	e := &encoder{head: w.header, opt: w.opt, out: out}
	for i, c := range []*string{&e.head.key, &e.head.value} {
		f := schema.Field(i)
		if *c == "" {
			var ok bool
			if *c, ok = classFor(f.Type); !ok {
				return fail(dataflow.User, fmt.Errorf("column %s: no class of Hadoop's is like %s (have %s)", f.Name, f.Type, classNames()))
			}
		}
		// Text and bytes are one to write, and an integer fits a wider class.
		if own := classes[*c]; !widens(f.Type, own.typ) && !(own.kind == bytesKind && (f.Type.ID() == arrow.STRING || f.Type.ID() == arrow.BINARY)) {
			return fail(dataflow.User, fmt.Errorf("column %s is %s, which cannot be written as %s", f.Name, f.Type, *c))
		}
	}
	if e.head.compressed {
		var err error
		if e.z, err = codec.NewCompressor(e.head.codec); err != nil {
			return fail(dataflow.Fatal, err)
		}
	}
	_, _ = rand.Read(e.head.sync[:])
	head := e.head.write()
	_, err := out.Write(head)
	return e, err
}

type encoder struct {
	head  header
	opt   writeOptions
	out   io.Writer
	z     *codec.Compressor
	buf   []byte
	since int // bytes behind the last sync mark

	count      int64
	keys, vals []byte // of the block
	klen, vlen []byte // lengths
	key, val   []byte
	err        error
}

func (e *encoder) Write(b dataflow.Batch) error {
	if e.err != nil {
		return e.err
	}
	if b.NumCols() != 2 {
		return &dataflow.Error{Op: "sequencefile.Write", Kind: dataflow.User, Err: fmt.Errorf("rows have %d columns", b.NumCols())}
	}
	for row := range int(b.NumRows()) {
		for i, p := range []struct {
			class string
			out   *[]byte
		}{{e.head.key, &e.key}, {e.head.value, &e.val}} {
			var err error
			if *p.out, err = encode((*p.out)[:0], p.class, b.Column(i), row); err != nil {
				return &dataflow.Error{Op: "sequencefile.Write", Kind: dataflow.User, Err: fmt.Errorf("column %s: %w", b.ColumnName(i), err)}
			}
		}
		if e.err = e.add(); e.err != nil {
			return e.err
		}
	}
	return nil
}

func (e *encoder) add() error {
	if e.head.blocks {
		e.count++
		e.klen, e.vlen = appendVLong(e.klen, int64(len(e.key))), appendVLong(e.vlen, int64(len(e.val)))
		e.keys, e.vals = append(e.keys, e.key...), append(e.vals, e.val...)
		if len(e.keys)+len(e.vals) >= e.opt.BlockBytes {
			return e.flush()
		}
		return nil
	}
	val := e.val
	if e.head.compressed {
		var err error
		if val, err = e.z.Compress(val); err != nil {
			return err
		}
	}
	if len(e.key)+len(val) > math.MaxInt32 {
		return &dataflow.Error{Op: "sequencefile.Write", Kind: dataflow.User, Err: dataflow.ErrRecordTooLarge}
	}
	e.buf = e.buf[:0]
	if e.since >= e.opt.SyncInterval {
		e.buf = append(append(e.buf, 0xff, 0xff, 0xff, 0xff), e.head.sync[:]...)
		e.since = 0
	}
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(e.key)+len(val)))
	e.buf = binary.BigEndian.AppendUint32(e.buf, uint32(len(e.key)))
	e.buf = append(append(e.buf, e.key...), val...)
	e.since += len(e.buf)
	_, err := e.out.Write(e.buf)
	return err
}

// flush writes a block.
func (e *encoder) flush() error {
	e.buf = append(append(e.buf[:0], 0xff, 0xff, 0xff, 0xff), e.head.sync[:]...)
	e.buf = appendVLong(e.buf, e.count)
	for _, part := range []*[]byte{&e.klen, &e.keys, &e.vlen, &e.vals} {
		stored, err := e.z.Compress(*part)
		if err != nil {
			return err
		}
		e.buf = append(appendVLong(e.buf, int64(len(stored))), stored...)
		*part = (*part)[:0]
	}
	e.count = 0
	_, err := e.out.Write(e.buf)
	return err
}

func (e *encoder) Close() error {
	if e.err == nil && e.count > 0 {
		e.err = e.flush()
	}
	return e.err
}

// encode appends a value as a class has it.
func encode(b []byte, name string, col arrow.Array, row int) ([]byte, error) {
	c := classes[name]
	if c.kind == nullKind {
		return b, nil
	}
	if col.IsNull(row) {
		return b, errors.New("a SequenceFile has no nulls")
	}
	var n int64
	var f float64
	switch a := col.(type) {
	case *array.String:
		return appendBytes(b, name, a.Value(row))
	case *array.Binary:
		return appendBytes(b, name, a.ValueString(row))
	case *array.Boolean:
		if a.Value(row) {
			return append(b, 1), nil
		}
		return append(b, 0), nil
	case *array.Int8:
		n = int64(a.Value(row))
	case *array.Int16:
		n = int64(a.Value(row))
	case *array.Int32:
		n = int64(a.Value(row))
	case *array.Int64:
		n = a.Value(row)
	case *array.Float32:
		f = float64(a.Value(row))
	case *array.Float64:
		f = a.Value(row)
	default:
		return b, fmt.Errorf("values of type %s are not written", col.DataType())
	}
	switch {
	case c.kind == floatKind && c.width == 4:
		return binary.BigEndian.AppendUint32(b, math.Float32bits(float32(f))), nil
	case c.kind == floatKind:
		return binary.BigEndian.AppendUint64(b, math.Float64bits(f)), nil
	case c.width == 0:
		return appendVLong(b, n), nil
	}
	for i := c.width - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b, nil
}

func appendBytes(b []byte, name, s string) ([]byte, error) {
	if len(s) > math.MaxInt32-16 {
		return b, dataflow.ErrRecordTooLarge
	}
	if name == classPrefix+"Text" {
		b = appendVLong(b, int64(len(s)))
	} else {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	}
	return append(b, s...), nil
}
