package parquet

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// A flat reads a column of numbers from its pages: of 4 or 8 bytes, plain or by a
// dictionary, null or not. Of rows that nobody asks for the values are not looked at.
type flat struct {
	pages    file.PageReader
	typ      arrow.DataType
	width    int // bytes as stored
	optional bool
	mem      memory.Allocator

	dict []byte // of values

	// The page at hand: rows of it that were read, and all.
	at, rows int
	coded    bool
	codes    runs
	plain    []byte
	levels   runs
	places   []int32 // by row, of its value, of a null ^ one near by; nil where none is null

	scratch []uint32
	want    []int32
}

// flatColumn says whether a column can be read by a flat: how wide its values are.
func flatColumn(d *schema.Column, chunk *metadata.ColumnChunkMetaData, t arrow.DataType) (width int, ok bool) {
	if d.MaxRepetitionLevel() > 0 || d.MaxDefinitionLevel() > 1 || len(d.ColumnPath()) != 1 || chunk.CryptoMetadata() != nil {
		return 0, false
	}
	switch d.PhysicalType() {
	case parquet.Types.Int32, parquet.Types.Float:
		width = 4
	case parquet.Types.Int64, parquet.Types.Double:
		width = 8
	default:
		return 0, false
	}
	f, fixed := t.(arrow.FixedWidthDataType)
	if !fixed || f.BitWidth() != 8*width && t.ID() != arrow.DECIMAL128 {
		return 0, false
	}
	for _, e := range chunk.Encodings() {
		switch e {
		case parquet.Encodings.Plain, parquet.Encodings.PlainDict, parquet.Encodings.RLEDict, parquet.Encodings.RLE:
		case parquet.Encodings.BitPacked: // an old way to write levels; many claim it that have none
			if d.MaxDefinitionLevel() > 0 {
				return 0, false
			}
		default:
			return 0, false
		}
	}
	return width, true
}

// next gives n rows, or those of them that sel names where it is not nil.
func (f *flat) next(n int, sel []int32) (arrow.Array, error) {
	m := n
	if sel != nil {
		m = len(sel)
	}
	buf := newBuffer(f.mem, m*f.width)
	defer buf.Release()
	var valid *memory.Buffer
	defer func() {
		if valid != nil {
			valid.Release()
		}
	}()
	nulls, out := 0, 0
	for done := 0; done < n; {
		if f.at == f.rows {
			if err := f.turn(); err != nil {
				return nil, err
			}
		}
		k := min(n-done, f.rows-f.at)
		want, all := f.wanted(done, k, sel)
		if sel != nil {
			sel = sel[len(want):]
		}
		if f.places != nil {
			if valid == nil {
				valid = newBuffer(f.mem, (m+7)/8)
				for i := range valid.Bytes() {
					valid.Bytes()[i] = 0xff
				}
			}
			nulls += f.dropNulls(want, valid.Bytes(), out)
		}
		size := len(want)
		if all {
			size = k
		}
		if err := f.values(buf.Bytes()[out*f.width:(out+size)*f.width], want, all); err != nil {
			return nil, err
		}
		out += size
		done += k
		f.at += k
	}
	if nulls == 0 && valid != nil {
		valid.Release()
		valid = nil
	}
	vals := buf
	if f.typ.ID() == arrow.DECIMAL128 {
		vals = newBuffer(f.mem, 16*m)
		defer vals.Release()
		widen(vals.Bytes(), buf.Bytes(), f.width)
	}
	d := array.NewData(f.typ, m, []*memory.Buffer{valid, vals}, nil, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d), nil
}

func newBuffer(mem memory.Allocator, n int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize(n)
	return b
}

// widen makes decimals of 16 bytes.
func widen(dst, src []byte, width int) {
	if width == 4 {
		for i := 0; 4*i+4 <= len(src); i++ {
			v := int64(int32(binary.LittleEndian.Uint32(src[4*i:])))
			binary.LittleEndian.PutUint64(dst[16*i:], uint64(v))
			binary.LittleEndian.PutUint64(dst[16*i+8:], uint64(v>>63))
		}
		return
	}
	for i := 0; 8*i+8 <= len(src); i++ {
		v := int64(binary.LittleEndian.Uint64(src[8*i:]))
		d := dst[16*i : 16*i+16]
		binary.LittleEndian.PutUint64(d, uint64(v))
		binary.LittleEndian.PutUint64(d[8:], uint64(v>>63))
	}
}

// wanted is the page's rows that are asked for of the next k, or that it is all of them
// and none is null; done rows of the batch came before, which sel counts.
func (f *flat) wanted(done, k int, sel []int32) (rows []int32, all bool) {
	if sel == nil && f.places == nil {
		return nil, true
	}
	f.want = f.want[:0]
	if sel == nil {
		for i := range k {
			f.want = append(f.want, int32(f.at+i))
		}
		return f.want, false
	}
	shift := int32(f.at - done)
	for _, s := range sel {
		if int(s) >= done+k {
			break
		}
		f.want = append(f.want, s+shift)
	}
	return f.want, false
}

// dropNulls makes rows places of values and notes which are null. Null gets the place
// of a value near by, so that places stay in order.
func (f *flat) dropNulls(rows []int32, valid []byte, at int) (nulls int) {
	for i, r := range rows {
		p := f.places[r]
		if p < 0 {
			nulls++
			valid[(at+i)/8] &^= 1 << ((at + i) % 8)
			p = ^p
		}
		rows[i] = p
	}
	return nulls
}

// values puts the values at places of the page, or the next ones, into dst.
func (f *flat) values(dst []byte, places []int32, next bool) error {
	if !f.coded {
		return f.plainValues(dst, places, next)
	}
	n := len(dst) / f.width
	if n == 0 {
		return nil
	}
	if len(f.codes.list) == 0 { // all of the page is null
		clear(dst)
		return nil
	}
	if cap(f.scratch) < n {
		f.scratch = make([]uint32, n)
	}
	codes := f.scratch[:n]
	if next {
		f.codes.read(codes, f.at)
	} else {
		f.codes.pick(codes, places)
	}
	if f.width == 4 {
		return look(arrow.Uint32Traits.CastFromBytes(dst), arrow.Uint32Traits.CastFromBytes(f.dict), codes)
	}
	return look(arrow.Uint64Traits.CastFromBytes(dst), arrow.Uint64Traits.CastFromBytes(f.dict), codes)
}

// look looks codes up. Files can lie: each is compared with the dictionary's size.
func look[T uint32 | uint64](dst, dict []T, codes []uint32) error {
	dst = dst[:len(codes)]
	for i, c := range codes {
		if uint(c) >= uint(len(dict)) {
			return fmt.Errorf("value %d of a dictionary of %d", c, len(dict))
		}
		dst[i] = dict[c]
	}
	return nil
}

func (f *flat) plainValues(dst []byte, places []int32, next bool) error {
	if next {
		copy(dst, f.plain[f.at*f.width:])
		return nil
	}
	if len(f.plain) == 0 { // all of the page is null
		clear(dst)
		return nil
	}
	w := f.width
	for i, p := range places {
		copy(dst[i*w:i*w+w], f.plain[int(p)*w:])
	}
	return nil
}

// turn goes to the next page.
func (f *flat) turn() error {
	for f.at == f.rows {
		if !f.pages.Next() {
			if err := f.pages.Err(); err != nil {
				return err
			}
			return io.ErrUnexpectedEOF
		}
		if err := f.page(f.pages.Page()); err != nil {
			return err
		}
	}
	return nil
}

func (f *flat) page(p file.Page) error {
	n := int(p.NumValues())
	if n < 0 || n > pageValuesMax {
		return fmt.Errorf("a page claims %d values", n)
	}
	switch p := p.(type) {
	case *file.DictionaryPage:
		if n > len(p.Data())/f.width {
			return fmt.Errorf("a dictionary claims %d values in %d bytes", n, len(p.Data()))
		}
		f.dict = append(make([]byte, 0, n*f.width), p.Data()[:n*f.width]...)
		return nil
	case *file.DataPageV1:
		data := p.Data()
		var levels []byte
		if f.optional {
			if len(data) < 4 {
				return errRuns
			}
			size := int(binary.LittleEndian.Uint32(data))
			if size < 0 || size > len(data)-4 {
				return errRuns
			}
			levels, data = data[4:4+size], data[4+size:]
		}
		return f.begin(parquet.Encoding(p.Encoding()), n, levels, data)
	case *file.DataPageV2:
		data, reps, defs := p.Data(), int(p.RepetitionLevelByteLen()), int(p.DefinitionLevelByteLen())
		if reps < 0 || defs < 0 || reps+defs > len(data) {
			return errRuns
		}
		return f.begin(parquet.Encoding(p.Encoding()), n, data[reps:reps+defs], data[reps+defs:])
	}
	return nil // an index page
}

// begin stands before the first of a page's n rows.
func (f *flat) begin(encoding parquet.Encoding, n int, levels, data []byte) error {
	f.at, f.rows, f.places = 0, n, nil
	values := n
	if f.optional && n > 0 {
		if err := f.levels.parse(levels, 1, n); err != nil {
			return err
		}
		if !f.levels.all(1) {
			values = f.place(n)
		}
	}
	switch encoding {
	case parquet.Encodings.Plain:
		f.coded = false
		if values > len(data)/f.width {
			return fmt.Errorf("a page claims %d values in %d bytes", values, len(data))
		}
		f.plain = data[:values*f.width]
		return nil
	case parquet.Encodings.RLEDict, parquet.Encodings.PlainDict:
		f.coded = true
		f.codes.list = f.codes.list[:0]
		if values == 0 {
			return nil
		}
		if len(data) == 0 {
			return errRuns
		}
		return f.codes.parse(data[1:], uint(data[0]), values)
	}
	return fmt.Errorf("a page is encoded as %s, and its column said that none is", encoding)
}

// place says for each row where its value is, and how many values there are.
func (f *flat) place(n int) int {
	if cap(f.scratch) < n {
		f.scratch = make([]uint32, n)
	}
	defs := f.scratch[:n]
	f.levels.read(defs, 0)
	f.places = make([]int32, n)
	at := int32(0)
	for i, d := range defs {
		if f.places[i] = at; d == 0 {
			f.places[i] = ^at
			continue
		}
		at++
	}
	for i := n - 1; i >= 0 && defs[i] == 0 && at > 0; i-- { // no value is behind these
		f.places[i] = ^(at - 1)
	}
	return int(at)
}

func (f *flat) release() { f.pages.Close() }
