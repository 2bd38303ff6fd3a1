package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"github.com/divisi-data/divisi/dataflow"
)

// Name is what an attempt's output is called inside its job's folder. It is unique
// because attempts are never re-used.
func Name(t dataflow.TaskID) string { return fmt.Sprintf("%d-%d.%d", t.Stage, t.Index, t.Attempt) }

// DataPath and IndexPath are the two files of an output.
func DataPath(output string) string  { return output + ".data" }
func IndexPath(output string) string { return output + ".index" }

// Remove deletes both files of an output, or forgets it. One that is not there is fine.
func Remove(output string) error {
	if kept.remove(output) {
		return nil
	}
	var errs []error
	for _, name := range []string{IndexPath(output), DataPath(output)} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

const (
	indexMagic   = 0x58485344 // "DSHX"
	rangeMagic   = 0x52485344 // "DSHR"
	fileVersion  = 1
	indexHeader  = 32
	indexEntry   = 24
	rangeHeader  = 52
	partitionMax = 1 << 20 // of one output
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// An Index says where the partitions lie in a data file: one after the other.
type Index struct {
	Schema  uint64 // fingerprint, as package block makes it
	Entries []Entry
}

// An Entry is one partition's place.
type Entry struct {
	Offset, Bytes, Rows int64
}

// Bytes is the size of the data file.
func (x *Index) Bytes() int64 {
	last := x.Entries[len(x.Entries)-1]
	return last.Offset + last.Bytes
}

// Range is the place of partitions lo to hi-1 together. It fails, with an error of
// kind Fatal, where there are not so many.
func (x *Index) Range(lo, hi int) (Entry, error) {
	if lo < 0 || lo > hi || hi > len(x.Entries) {
		return Entry{}, &dataflow.Error{Op: "shuffle.Read", Kind: dataflow.Fatal,
			Err: fmt.Errorf("partitions %d to %d were asked for, there are %d", lo, hi, len(x.Entries))}
	}
	var e Entry
	if lo < hi {
		e.Offset = x.Entries[lo].Offset
	}
	for _, p := range x.Entries[lo:hi] {
		e.Bytes += p.Bytes
		e.Rows += p.Rows
	}
	return e, nil
}

// encode is the index file.
func (x *Index) encode() []byte {
	le := binary.LittleEndian
	b := make([]byte, indexHeader, indexHeader+indexEntry*len(x.Entries)+4)
	le.PutUint32(b, indexMagic)
	le.PutUint32(b[4:], fileVersion)
	le.PutUint32(b[8:], uint32(len(x.Entries)))
	le.PutUint64(b[16:], x.Schema)
	le.PutUint64(b[24:], uint64(x.Bytes()))
	for _, e := range x.Entries {
		b = le.AppendUint64(b, uint64(e.Offset))
		b = le.AppendUint64(b, uint64(e.Bytes))
		b = le.AppendUint64(b, uint64(e.Rows))
	}
	return appendCRC(b)
}

func appendCRC(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeIndex believes nothing before the checksum is right.
func decodeIndex(b []byte) (*Index, error) {
	le := binary.LittleEndian
	if len(b) < indexHeader+indexEntry+4 {
		return nil, fmt.Errorf("an index of %d bytes is cut short", len(b))
	}
	if m := le.Uint32(b); m != indexMagic {
		return nil, fmt.Errorf("no index: it begins with %08x, want %08x", m, uint32(indexMagic))
	}
	if v := le.Uint32(b[4:]); v != fileVersion {
		return nil, fmt.Errorf("index of version %d, this program reads %d", v, fileVersion)
	}
	body, want := b[:len(b)-4], le.Uint32(b[len(b)-4:])
	if got := crc32.Checksum(body, castagnoli); got != want {
		return nil, fmt.Errorf("index: %w: computed %08x, stored %08x", dataflow.ErrChecksum, got, want)
	}
	n := int(le.Uint32(b[8:]))
	if n < 1 || n > partitionMax || len(b) != indexHeader+indexEntry*n+4 {
		return nil, fmt.Errorf("index of %d bytes claims %d partitions", len(b), n)
	}
	x := &Index{Schema: le.Uint64(b[16:]), Entries: make([]Entry, n)}
	pos := int64(0)
	for i := range x.Entries {
		p := b[indexHeader+indexEntry*i:]
		e := Entry{int64(le.Uint64(p)), int64(le.Uint64(p[8:])), int64(le.Uint64(p[16:]))}
		if e.Offset != pos || e.Bytes < 0 || e.Rows < 0 || pos+e.Bytes < pos {
			return nil, fmt.Errorf("index: partition %d lies at %d with %d bytes, the one before ends at %d", i, e.Offset, e.Bytes, pos)
		}
		pos += e.Bytes
		x.Entries[i] = e
	}
	if size := int64(le.Uint64(b[24:])); size != pos {
		return nil, fmt.Errorf("index: partitions end at %d of %d bytes", pos, size)
	}
	return x, nil
}

// A File is a sealed output, open for reading. Its methods may be called from many
// goroutines.
type File struct {
	Index *Index
	info  fs.FileInfo // of data; nil: it is in memory
	data  interface {
		io.ReaderAt
		io.Closer
	}
}

// OpenFile opens an output by the path that Writer sealed it under. A missing file
// is an error of kind InputLost, a damaged one of kind Corrupt.
func OpenFile(output string) (*File, error) {
	if o, ok := kept.get(output); ok {
		return &File{Index: o.index, data: memoryFile{bytes.NewReader(o.data)}}, nil
	}
	x, err := ReadIndex(output)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(DataPath(output))
	if err != nil {
		return nil, lost(DataPath(output), err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != x.Bytes() {
		err = &dataflow.Error{Op: "shuffle.Read", Path: f.Name(), Kind: dataflow.Corrupt,
			Err: fmt.Errorf("the file has %d bytes, its index says %d", info.Size(), x.Bytes())}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{Index: x, info: info, data: f}, nil
}

// ReadIndex reads an output's index alone.
func ReadIndex(output string) (*Index, error) {
	if o, ok := kept.get(output); ok {
		return o.index, nil
	}
	b, err := os.ReadFile(IndexPath(output))
	if err != nil {
		return nil, lost(IndexPath(output), err)
	}
	x, err := decodeIndex(b)
	if err != nil {
		return nil, &dataflow.Error{Op: "shuffle.Read", Path: IndexPath(output), Kind: dataflow.Corrupt, Err: err}
	}
	return x, nil
}

// lost is what it means for a reader that a file cannot be opened: where the
// caller would read "not found" as the user's mistake, it is the producer that has
// to run again.
func lost(name string, err error) error {
	return &dataflow.Error{Op: "shuffle.Read", Path: name, Kind: dataflow.InputLost, Err: err}
}

// Range is the bytes of partitions lo to hi-1 as they travel: a header that says
// what follows, and the frames, one contiguous read. It serves until the file is
// closed.
func (f *File) Range(lo, hi int) (io.Reader, int64, error) {
	e, err := f.Index.Range(lo, hi)
	if err != nil {
		return nil, 0, err
	}
	head := encodeRange(rangeInfo{lo: lo, hi: hi, schema: f.Index.Schema, offset: e.Offset, bytes: e.Bytes, rows: e.Rows})
	return &rangeReader{head: head, body: io.NewSectionReader(f.data, e.Offset, e.Bytes)}, rangeHeader + e.Bytes, nil
}

// Stored is what the output's two files hold: the index, and the data until the file is
// closed.
func (f *File) Stored() (index []byte, data io.Reader) {
	return f.Index.encode(), io.NewSectionReader(f.data, 0, f.Index.Bytes())
}

// Close closes the data file.
func (f *File) Close() error { return f.data.Close() }

type rangeReader struct {
	head []byte
	body io.Reader
}

func (r *rangeReader) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.body.Read(p)
}

// A rangeInfo is the header of a range: what was asked for and what is coming, so
// that a stream that ends early is never taken for one that is complete.
type rangeInfo struct {
	lo, hi              int
	schema              uint64
	offset, bytes, rows int64
}

func encodeRange(i rangeInfo) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, rangeHeader)
	b = le.AppendUint32(b, rangeMagic)
	b = le.AppendUint32(b, fileVersion)
	b = le.AppendUint32(b, uint32(i.lo))
	b = le.AppendUint32(b, uint32(i.hi))
	b = le.AppendUint64(b, i.schema)
	b = le.AppendUint64(b, uint64(i.offset))
	b = le.AppendUint64(b, uint64(i.bytes))
	b = le.AppendUint64(b, uint64(i.rows))
	return appendCRC(b)
}

// decodeRange checks the header against what was asked for.
func decodeRange(b []byte, want rangeInfo) (rangeInfo, error) {
	le := binary.LittleEndian
	if m, v := le.Uint32(b), le.Uint32(b[4:]); m != rangeMagic || v != fileVersion {
		return rangeInfo{}, fmt.Errorf("no range: it begins with %08x, version %d", m, v)
	}
	end := rangeHeader - 4
	if got, stored := crc32.Checksum(b[:end], castagnoli), le.Uint32(b[end:]); got != stored {
		return rangeInfo{}, fmt.Errorf("range header: %w: computed %08x, stored %08x", dataflow.ErrChecksum, got, stored)
	}
	i := rangeInfo{
		lo: int(le.Uint32(b[8:])), hi: int(le.Uint32(b[12:])), schema: le.Uint64(b[16:]),
		offset: int64(le.Uint64(b[24:])), bytes: int64(le.Uint64(b[32:])), rows: int64(le.Uint64(b[40:])),
	}
	if i.lo != want.lo || i.hi != want.hi {
		return i, fmt.Errorf("partitions %d to %d came where %d to %d were asked for", i.lo, i.hi, want.lo, want.hi)
	}
	if i.schema != want.schema {
		return i, fmt.Errorf("rows of schema %016x came where %016x was expected", i.schema, want.schema)
	}
	return i, nil
}
