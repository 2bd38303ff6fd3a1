package parquet

import (
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/divisi-data/divisi/dataflow"
)

// A flat reads a column of numbers from its pages: of 4 or 8 bytes, plain or by a
// dictionary, null or not. Of rows that nobody asks for the values are not looked at.
type flat struct {
	pager
	typ   arrow.DataType
	width int // bytes of a value as it is given: a decimal's are more than its stored ones
	mem   memory.Allocator

	dict    []byte // of values
	scratch []uint32
}

// setDictionary takes the dictionary's page.
func (f *flat) setDictionary(n int, data []byte) error {
	if n > len(data)/f.stored {
		return fmt.Errorf("a dictionary claims %d values in %d bytes", n, len(data))
	}
	f.dict = make([]byte, n*f.width)
	f.put(f.dict, data[:n*f.stored])
	return nil
}

// put puts stored values into dst as they are given.
func (f *flat) put(dst, src []byte) {
	if f.width == f.stored {
		copy(dst, src)
		return
	}
	widen(dst, src, f.stored)
}

// flatColumn says whether a column can be read by a flat: how wide its values are.
func flatColumn(d *schema.Column, chunk *metadata.ColumnChunkMetaData, t arrow.DataType) (width int, ok bool) {
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
	return width, plainLevels(d, chunk)
}

// next gives n rows, or those of them that sel names where it is not nil.
func (f *flat) next(n int, sel []int32) (arrow.Array, error) {
	m := n
	if sel != nil {
		m = len(sel)
	}
	buf := dataflow.NewBuffer(f.mem, m*f.width)
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
				valid = dataflow.NewBuffer(f.mem, (m+7)/8)
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
	d := array.NewData(f.typ, m, []*memory.Buffer{valid, buf}, nil, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d), nil
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
	return lookUp(dst, f.dict, codes, f.width, false)
}

// lookUp puts the values of codes, of so many bytes each, into dst; where there can be
// nulls, theirs is any.
func lookUp(dst, dict []byte, codes []uint32, width int, nulls bool) error {
	switch width {
	case 4:
		return look(arrow.Uint32Traits.CastFromBytes(dst), arrow.Uint32Traits.CastFromBytes(dict), codes, nulls)
	case 8:
		return look(arrow.Uint64Traits.CastFromBytes(dst), arrow.Uint64Traits.CastFromBytes(dict), codes, nulls)
	}
	return look(arrow.Decimal128Traits.CastFromBytes(dst), arrow.Decimal128Traits.CastFromBytes(dict), codes, nulls)
}

// look looks codes up. Files can lie: each is compared with the dictionary's size.
func look[T any](dst, dict []T, codes []uint32, nulls bool) error {
	dst = dst[:len(codes)]
	var zero T
	for i, c := range codes {
		if uint(c) >= uint(len(dict)) {
			if !nulls || c != nullCode {
				return outside(c, len(dict))
			}
			dst[i] = zero
			continue
		}
		dst[i] = dict[c]
	}
	return nil
}

func (f *flat) plainValues(dst []byte, places []int32, next bool) error {
	if next {
		f.put(dst, f.plain[f.at*f.stored:][:len(dst)/f.width*f.stored])
		return nil
	}
	if len(f.plain) == 0 { // all of the page is null
		clear(dst)
		return nil
	}
	w, stored := f.width, f.stored
	if w == stored {
		for i, p := range places {
			copy(dst[i*w:i*w+w], f.plain[int(p)*w:])
		}
		return nil
	}
	for i, p := range places {
		widen(dst[i*w:i*w+w], f.plain[int(p)*stored:][:stored], stored)
	}
	return nil
}
