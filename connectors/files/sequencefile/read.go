package sequencefile

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/dataflow"
)

// decoder reads the records behind those sync marks that begin in the range; those
// before the first mark belong to the range that begins the file.
type decoder struct {
	*file
	in    *files.Input
	put   []func(array.Builder, []byte) error
	value []bool // whether column i is the value
	ended bool

	record []byte
	plain  []byte // of a value that was compressed

	block int64 // where it begins
	next  int64 // record of it
	count int64
	parts [4]*part // lengths of keys, keys, lengths of values, values
	key   []byte
}

// columns finds what the schema asks for.
func (d *decoder) columns(schema *arrow.Schema) error {
	for _, f := range schema.Fields() {
		i, err := files.ColumnIndex("sequencefile.Read", d.head.schema(), f.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", d.in.Path, err)
		}
		name := d.head.key
		if i == 1 {
			name = d.head.value
		}
		put, err := appender(name, f)
		if err != nil {
			return &dataflow.Error{Op: "sequencefile.Read", Path: d.in.Path, Kind: dataflow.User, Err: err}
		}
		d.put, d.value = append(d.put, put), append(d.value, i == 1)
	}
	return nil
}

// begin goes to the range's first record.
func (d *decoder) begin() error {
	if d.in.Length <= 0 {
		d.ended = true
		return nil
	}
	if d.in.Offset == 0 {
		return nil // behind the header
	}
	mark := append([]byte{0xff, 0xff, 0xff, 0xff}, d.head.sync[:]...)
	ok, err := d.seq.Find(mark, max(d.in.Offset, d.head.end+1), d.in.End())
	d.ended = !ok
	return err
}

func (d *decoder) At() int64 { return d.seq.Pos() }

func (d *decoder) Close() { d.drop() }

func (d *decoder) Decode(b *array.RecordBuilder) (files.Position, int64, error) {
	var p files.Position
	var key, value []byte
	var err error
	switch {
	case d.ended:
		err = io.EOF
	case d.head.blocks:
		key, value, err = d.fromBlock(&p)
	default:
		key, value, err = d.single(&p)
	}
	if err != nil {
		if err == io.EOF {
			d.ended = true
		}
		return p, 0, err
	}
	for i, put := range d.put {
		raw := key
		if d.value[i] {
			raw = value
		}
		if err := put(b.Field(i), raw); err != nil {
			return p, 0, fmt.Errorf("record at %d: column %s: %w", p.Offset, b.Schema().Field(i).Name, err)
		}
	}
	return p, int64(len(key) + len(value)), nil
}

// escape reads the number that begins a record; at the end of the range or of the file
// it is io.EOF. Sync marks are passed over.
func (d *decoder) escape() (length int64, marked bool, err error) {
	for {
		at := d.seq.Pos()
		if d.seq.Left() == 0 {
			return 0, marked, io.EOF
		}
		n, err := d.number()
		if err != nil || n != -1 {
			return n, marked, err
		}
		if at >= d.in.End() && at > d.head.end {
			return 0, marked, io.EOF
		}
		var mark [syncBytes]byte
		if _, err := io.ReadFull(d.seq, mark[:]); err != nil {
			return 0, marked, noEOF(err)
		}
		if mark != d.head.sync {
			return 0, marked, fmt.Errorf("at %d there is no sync mark where one belongs", at)
		}
		if marked = true; d.head.blocks {
			return 0, marked, nil
		}
	}
}

func (d *decoder) number() (int64, error) {
	var b [4]byte
	_, err := io.ReadFull(d.seq, b[:])
	return int64(int32(binary.BigEndian.Uint32(b[:]))), noEOF(err)
}

// single reads a record that stands alone.
func (d *decoder) single(p *files.Position) (key, value []byte, err error) {
	n, _, err := d.escape()
	if err != nil {
		return nil, nil, err
	}
	*p = files.Position{Offset: d.seq.Pos() - 4, Record: -1}
	k, err := d.number()
	if err != nil {
		return nil, nil, err
	}
	if n < 0 || k < 0 || k > n || n > d.seq.Left() {
		return nil, nil, fmt.Errorf("the record at %d claims %d bytes, %d of them its key's, of the file's last %d", p.Offset, n, k, d.seq.Left())
	}
	if d.tooLarge(n) {
		return nil, nil, d.in.TooLarge("sequencefile.Read", p.Offset)
	}
	if d.record, err = d.seq.Bytes(d.record, n); err != nil {
		return nil, nil, err
	}
	key, value = d.record[:k], d.record[k:]
	if d.head.compressed {
		value, err = d.decompress(value, p.Offset)
	}
	return key, value, err
}

func (d *decoder) tooLarge(n int64) bool { return d.in.MaxRecordBytes > 0 && n > d.in.MaxRecordBytes }

func (d *decoder) decompress(stored []byte, at int64) ([]byte, error) {
	z, err := codec.NewReader(d.head.codec, bytes.NewReader(stored))
	if err != nil {
		return nil, noEOF(err)
	}
	defer z.Close()
	most := d.in.MaxRecordBytes
	if most <= 0 {
		most = files.DefaultMaxRecordBytes
	}
	out := bytes.NewBuffer(d.plain[:0])
	_, err = out.ReadFrom(io.LimitReader(z, most+1))
	d.plain = out.Bytes()
	if err == nil && int64(len(d.plain)) > most {
		err = d.in.TooLarge("sequencefile.Read", at)
	}
	return d.plain, err
}

// part is one of the four compressed parts of a block.
type part struct {
	*bufio.Reader
	z io.ReadCloser // nil: a part without bytes
}

// fromBlock reads the next record of a block, or of the one after it.
func (d *decoder) fromBlock(p *files.Position) (key, value []byte, err error) {
	for d.next == d.count {
		if err := d.finish(); err != nil {
			return nil, nil, err
		}
		d.block = d.seq.Pos()
		n, marked, err := d.escape()
		if err != nil {
			return nil, nil, err
		}
		if !marked {
			return nil, nil, fmt.Errorf("the block at %d begins with %d and not with a sync mark", d.block, n)
		}
		if err := d.openBlock(); err != nil {
			return nil, nil, fmt.Errorf("block at %d: %w", d.block, noEOF(err))
		}
	}
	*p = files.Position{Offset: d.block, Record: d.next}
	d.next++
	if d.key, err = d.piece(0, d.key, p); err != nil {
		return nil, nil, err
	}
	d.record, err = d.piece(2, d.record, p)
	return d.key, d.record, err
}

// piece reads a length from one part and as many bytes from the next.
func (d *decoder) piece(i int, buf []byte, p *files.Position) ([]byte, error) {
	n, err := readVLong(d.parts[i])
	if err == nil && n < 0 {
		err = fmt.Errorf("a length of %d", n)
	}
	if err != nil {
		return buf, fmt.Errorf("block at %d, record %d: %w", p.Offset, p.Record, noEOF(err))
	}
	if d.tooLarge(n) {
		return buf, d.in.TooLarge("sequencefile.Read", p.Offset)
	}
	if buf, err = files.ReadBytes(d.parts[i+1], buf, n); err != nil {
		err = fmt.Errorf("block at %d, record %d: %w", p.Offset, p.Record, err)
	}
	return buf, err
}

// openBlock finds the parts of a block, which are decompressed as they are read.
func (d *decoder) openBlock() error {
	n, err := readVLong(d.seq)
	if err != nil {
		return err
	}
	if n < 0 {
		return fmt.Errorf("it claims %d records", n)
	}
	d.count, d.next = n, 0
	for i := range d.parts {
		size, err := readVLong(d.seq)
		if err != nil {
			return err
		}
		if size < 0 || size > d.seq.Left() {
			return fmt.Errorf("it claims %d bytes of the file's last %d", size, d.seq.Left())
		}
		at := d.seq.Pos()
		src := bufio.NewReaderSize(io.NewSectionReader(d.random, at, size), int(min(max(size, 16), 256<<10)))
		d.seq.Goto(at + size)
		d.parts[i] = &part{Reader: bufio.NewReaderSize(&lazy{codec: d.head.codec, src: src, part: i, d: d}, 4<<10)}
	}
	return nil
}

// lazy begins to decompress when the first byte is wanted: parts without values are
// never read, whatever stands in them.
type lazy struct {
	codec codec.Codec
	src   io.Reader
	part  int
	d     *decoder
}

func (l *lazy) Read(p []byte) (int, error) {
	own := l.d.parts[l.part]
	if own.z == nil {
		var err error
		if own.z, err = codec.NewReader(l.codec, l.src); err != nil {
			return 0, noEOF(err)
		}
	}
	return own.z.Read(p)
}

// finish checks that a block's parts end where its records do, which also compares
// their checksums, and forgets it.
func (d *decoder) finish() error {
	for i, p := range d.parts {
		if p == nil || p.z == nil {
			continue
		}
		if _, err := p.ReadByte(); err == nil {
			return fmt.Errorf("block at %d: part %d is longer than its records", d.block, i)
		} else if err != io.EOF {
			return fmt.Errorf("block at %d: %w", d.block, err)
		}
	}
	d.drop()
	return nil
}

func (d *decoder) drop() {
	for i, p := range d.parts {
		if p != nil && p.z != nil {
			p.z.Close()
		}
		d.parts[i] = nil
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
