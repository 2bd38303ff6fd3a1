package avro

import (
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/hamba/avro/v2"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/snappy"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

const (
	magic     = "Obj\x01"
	syncBytes = 16
	// headerMax bounds the metadata, of which the schema is a part.
	headerMax = 16 << 20
	// blockMax bounds a block, which is decompressed as a whole.
	blockMax = 256 << 20
)

// file is a file whose header is read.
type file struct {
	random *files.RandomReader
	seq    *files.Sequential
	record *avro.RecordSchema
	schema *arrow.Schema
	unread []unread
	codec  string
	sync   [syncBytes]byte
	mark   int64 // where the header's sync mark begins
}

func open(in *files.Input) (*file, error) {
	random, err := files.NewRandomReader("avro.Read", in)
	if err != nil {
		return nil, err
	}
	f := &file{random: random, seq: files.NewSequential(random, 0)}
	return f, random.Guard("avro.Read", func() error { return noEOF(f.readHeader()) })
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (f *file) readHeader() error {
	var head [len(magic)]byte
	if _, err := io.ReadFull(f.seq, head[:]); err != nil {
		return err
	}
	if string(head[:]) != magic {
		return fmt.Errorf("it begins with %q instead of %q", head, magic)
	}
	meta, err := f.readMetadata()
	if err != nil {
		return err
	}
	f.mark = f.seq.Pos()
	if _, err := io.ReadFull(f.seq, f.sync[:]); err != nil {
		return err
	}
	switch f.codec = string(meta["avro.codec"]); f.codec {
	case "":
		f.codec = "null"
	case "null", "deflate", "snappy", "zstandard", "bzip2":
	default:
		return f.random.Unsupported("avro.Read", fmt.Errorf("blocks compressed with %q are not read", f.codec), "write the file with null, deflate, snappy, zstandard or bzip2")
	}
	s, err := avro.ParseWithCache(string(meta["avro.schema"]), "", &avro.SchemaCache{})
	if err != nil {
		return fmt.Errorf("its schema: %w", err)
	}
	record, ok := s.(*avro.RecordSchema)
	if !ok {
		return fmt.Errorf("its values are of type %s, only records make columns", s.Type())
	}
	f.record = record
	var fields []arrow.Field
	for _, field := range record.Fields() {
		af, err := fieldOf(field.Name(), field.Type(), []string{record.FullName()})
		if err != nil {
			f.unread = append(f.unread, unread{field.Name(), fmt.Errorf("field %s of its schema: %w", field.Name(), err)})
			continue
		}
		fields = append(fields, af)
	}
	f.schema = arrow.NewSchema(fields, nil)
	return nil
}

// unread is a field that no column can hold, and why. It matters to those who ask for it.
type unread struct {
	name string
	err  error
}

// ask checks that columns, all for none, can be read.
func (f *file) ask(path string, columns []string) error {
	for _, u := range f.unread {
		if len(columns) == 0 || slices.Contains(columns, u.name) {
			return &dataflow.Error{Op: "avro.Read", Path: path, Kind: dataflow.User, Err: u.err, Try: "name the columns that are wanted"}
		}
	}
	return nil
}

func (f *file) readMetadata() (map[string][]byte, error) {
	meta := map[string][]byte{}
	left := int64(headerMax)
	text := func() ([]byte, error) {
		n, err := binary.ReadVarint(f.seq)
		if err != nil {
			return nil, err
		}
		if left -= n; n < 0 || left < 0 {
			return nil, fmt.Errorf("its header claims a text of %d bytes", n)
		}
		return f.seq.Bytes(nil, n)
	}
	for {
		n, err := binary.ReadVarint(f.seq)
		if err != nil || n == 0 {
			return meta, err
		}
		if n < 0 { // then the block's size follows
			if n = -n; n < 0 {
				return nil, errors.New("its header is broken")
			}
			if _, err := binary.ReadVarint(f.seq); err != nil {
				return nil, err
			}
		}
		for range n {
			k, err := text()
			if err != nil {
				return nil, err
			}
			if meta[string(k)], err = text(); err != nil {
				return nil, err
			}
		}
	}
}

// decoder reads the records of a range.
type decoder struct {
	*file
	in      *files.Input
	env     *dataflow.Env
	fields  []decode // of the file's record, in its order
	column  []int    // where each goes; -1: it is passed over
	lacking []int    // columns that the file lacks, and that are null

	ended   bool
	at      int64 // the block that is read
	next    int64 // record of it
	count   int64
	stored  []byte
	plain   []byte
	values  input
	inflate io.ReadCloser // kept from block to block
}

func (d *decoder) columns(schema *arrow.Schema) error {
	for _, f := range schema.Fields() {
		if err := d.ask(d.in.Path, []string{f.Name}); err != nil {
			return err
		}
		own := d.schema.FieldIndices(f.Name)
		if len(own) == 0 && f.Nullable {
			d.lacking = append(d.lacking, schema.FieldIndices(f.Name)[0])
			continue
		}
		if _, err := files.ColumnIndex("avro.Read", d.schema, f.Name); err != nil {
			return fmt.Errorf("%s: %w", d.in.Path, err)
		}
	}
	if n := len(d.lacking); n > 0 && n == schema.NumFields() { // another's file
		_, err := files.ColumnIndex("avro.Read", d.schema, schema.Field(0).Name)
		return fmt.Errorf("%s: %w", d.in.Path, err)
	}
	for _, f := range d.record.Fields() {
		i, fn, err := -1, decode(nil), error(nil)
		if at := schema.FieldIndices(f.Name()); len(at) > 0 {
			i = at[0]
			fn, err = compile(f.Type(), schema.Field(i))
		} else {
			fn, err = skip(f.Type(), nil)
		}
		if err != nil {
			return &dataflow.Error{Op: "avro.Read", Path: d.in.Path, Kind: dataflow.User, Err: err}
		}
		d.fields, d.column = append(d.fields, fn), append(d.column, i)
	}
	return nil
}

// begin goes to the range's first block.
func (d *decoder) begin() error {
	from := max(d.in.Offset, d.mark)
	if d.ended = from >= d.in.End(); d.ended {
		return nil
	}
	ok, err := d.seq.Find(d.sync[:], from, d.in.End())
	if d.ended = !ok; ok {
		d.seq.Goto(d.seq.Pos() + syncBytes)
	}
	return err
}

func (d *decoder) At() int64 { return d.seq.Pos() }
func (d *decoder) Close()    {}

func (d *decoder) Decode(b *array.RecordBuilder) (files.Position, int64, error) {
	for d.next == d.count {
		if len(d.values.b) > 0 {
			return files.Position{}, 0, fmt.Errorf("block at %d: %d bytes follow its records", d.at, len(d.values.b))
		}
		if d.ended || d.seq.Left() == 0 {
			d.ended = true
			return files.Position{}, 0, io.EOF
		}
		d.at = d.seq.Pos()
		if err := d.block(); err != nil {
			return files.Position{}, 0, fmt.Errorf("block at %d: %w", d.at, noEOF(err))
		}
	}
	p := files.Position{Offset: d.at, Record: d.next}
	before := len(d.values.b)
	for i, f := range d.fields {
		var col array.Builder
		if c := d.column[i]; c >= 0 {
			col = b.Field(c)
		}
		if err := f(&d.values, col); err != nil {
			return p, 0, fmt.Errorf("block at %d, record %d, field %s: %w", d.at, d.next, d.record.Fields()[i].Name(), err)
		}
	}
	for _, c := range d.lacking {
		b.Field(c).AppendNull()
	}
	n := int64(before - len(d.values.b))
	if d.in.MaxRecordBytes > 0 && n > d.in.MaxRecordBytes {
		return p, 0, d.in.TooLarge("avro.Read", d.at)
	}
	d.next++
	return p, n, nil
}

// block reads a block and the mark behind it.
func (d *decoder) block() error {
	n, err := binary.ReadVarint(d.seq)
	if err != nil {
		return err
	}
	size, err := binary.ReadVarint(d.seq)
	if err != nil {
		return err
	}
	if n < 0 || size < 0 || size > d.seq.Left() || size > d.most() {
		return fmt.Errorf("it claims %d records in %d bytes", n, size)
	}
	if d.stored, err = d.seq.Bytes(d.stored, size); err != nil {
		return err
	}
	mark := d.seq.Pos()
	var sync [syncBytes]byte
	if _, err := io.ReadFull(d.seq, sync[:]); err != nil {
		return err
	}
	if sync != d.sync {
		return errors.New("no sync mark follows it")
	}
	d.ended = mark >= d.in.End() // the next block is another range's
	if d.values.b, err = d.decompress(); err != nil {
		return err
	}
	d.next, d.count = 0, n
	return nil
}

func (d *decoder) decompress() ([]byte, error) {
	var r io.Reader
	switch d.codec {
	case "null":
		return d.stored, nil
	case "snappy": // a checksum of the values follows
		end := len(d.stored) - 4
		if end < 0 {
			return nil, io.ErrUnexpectedEOF
		}
		n, err := snappy.DecodedLen(d.stored[:end])
		if err == nil && int64(n) > d.most() {
			err = files.TooMuch(d.env, int64(n), blockMax)
		}
		if err != nil {
			return nil, err
		}
		if d.plain, err = snappy.Decode(d.plain[:cap(d.plain)], d.stored[:end]); err != nil {
			return nil, err
		}
		if crc32.ChecksumIEEE(d.plain) != binary.BigEndian.Uint32(d.stored[end:]) {
			return nil, codec.ErrChecksum
		}
		return d.plain, nil
	case "deflate":
		if d.inflate == nil {
			d.inflate = flate.NewReader(bytes.NewReader(d.stored))
		} else if err := d.inflate.(flate.Resetter).Reset(bytes.NewReader(d.stored), nil); err != nil {
			return nil, err
		}
		r = d.inflate
	case "bzip2":
		r = bzip2.NewReader(bytes.NewReader(d.stored))
	case "zstandard":
		z, err := codec.NewReader(codec.Zstd, bytes.NewReader(d.stored))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	}
	out := bytes.NewBuffer(d.plain[:0])
	most := d.most()
	n, err := out.ReadFrom(io.LimitReader(r, most+1))
	d.plain = out.Bytes()
	if n > most {
		err = files.TooMuch(d.env, n, blockMax)
	}
	return d.plain, err
}

// most is how many bytes a block may have.
func (d *decoder) most() int64 { return files.PieceMax(d.env, blockMax) }
