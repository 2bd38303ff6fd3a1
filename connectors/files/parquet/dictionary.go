package parquet

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/bitutil"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
)

// dictionaries are the leaves of text columns whose pages all hold numbers into a
// dictionary: they are read as such and spelled out by expand, which is much faster
// than value by value.
func (f *openFile) dictionaries() ([]int, error) {
	var leaves []int
	m := f.pq.MetaData()
	for i, field := range f.schema.Fields() {
		leaf := f.arrow.Manifest.Fields[i].ColIndex
		if leaf < 0 || field.Type.ID() != arrow.STRING || m.NumRowGroups() == 0 {
			continue
		}
		all := true
		for g := 0; g < m.NumRowGroups() && all; g++ {
			chunk, err := m.RowGroup(g).ColumnChunk(leaf)
			if err != nil {
				return nil, err
			}
			pages := chunk.EncodingStats()
			all = len(pages) > 0
			for _, p := range pages {
				const dictionaryPage = 2
				all = all && (p.PageType == dictionaryPage || p.Encoding == parquet.Encodings.RLEDict || p.Encoding == parquet.Encodings.PlainDict)
			}
		}
		if all {
			leaves = append(leaves, leaf)
		}
	}
	return leaves, nil
}

// expand spells out a column of numbers into a dictionary. Files can lie: every
// number is compared with the dictionary's size.
func expand(mem memory.Allocator, d *array.Dictionary) (arrow.Array, error) {
	codes, ok := d.Indices().(*array.Int32)
	words, text := d.Dictionary().(*array.String)
	if !ok || !text {
		return nil, fmt.Errorf("a dictionary of %s by %s", d.Dictionary().DataType(), d.Indices().DataType())
	}
	n := d.Len()
	at, offsets := codes.Int32Values(), words.ValueOffsets()
	ends := memory.NewResizableBuffer(mem)
	defer ends.Release()
	ends.Resize(4 * (n + 1))
	to := arrow.Int32Traits.CastFromBytes(ends.Bytes())
	to[0] = 0
	size, longest := int64(0), int32(0)
	entries := uint32(words.Len())
	for i, c := range at {
		if d.NullN() > 0 && d.IsNull(i) {
			to[i+1] = int32(size)
			continue
		}
		if uint32(c) >= entries {
			return nil, fmt.Errorf("value %d of a dictionary of %d", c, entries)
		}
		width := offsets[c+1] - offsets[c]
		longest = max(longest, width)
		if size += int64(width); size > math.MaxInt32 {
			return nil, fmt.Errorf("a column of more than 2 GiB of text")
		}
		to[i+1] = int32(size)
	}
	buf := memory.NewResizableBuffer(mem)
	defer buf.Release()
	const slack = 16
	buf.Resize(int(size) + slack)
	dst := buf.Bytes()
	src := words.ValueBytes()
	base := offsets[0]
	if longest <= slack {
		copyShort(dst, to, at, offsets, base, append(append(make([]byte, 0, len(src)+slack), src...), make([]byte, slack)...), d)
	} else {
		for i, c := range at {
			if to[i+1] > to[i] {
				copy(dst[to[i]:to[i+1]], src[offsets[c]-base:offsets[c+1]-base])
			}
		}
	}
	buf.ResizeNoShrink(int(size))
	nulls := d.NullN()
	var valid *memory.Buffer
	if nulls > 0 {
		valid = memory.NewResizableBuffer(mem)
		defer valid.Release()
		valid.Resize(int(bitutil.BytesForBits(int64(n))))
		bitutil.CopyBitmap(d.Data().Buffers()[0].Bytes(), d.Data().Offset(), n, valid.Bytes(), 0)
	}
	data := array.NewData(arrow.BinaryTypes.String, n, []*memory.Buffer{valid, ends, buf}, nil, nulls, 0)
	defer data.Release()
	return array.MakeFromData(data), nil
}

// copyShort copies 16 bytes for each value whatever its length: what is too much is
// written over by the next. words has room for that behind its end, and so has dst.
func copyShort(dst []byte, to, codes, offsets []int32, base int32, words []byte, d *array.Dictionary) {
	for i, c := range codes {
		if d.NullN() > 0 && to[i+1] == to[i] {
			continue
		}
		from := words[offsets[c]-base:]
		out := dst[to[i]:]
		lo, hi := binary.LittleEndian.Uint64(from), binary.LittleEndian.Uint64(from[8:])
		binary.LittleEndian.PutUint64(out, lo)
		binary.LittleEndian.PutUint64(out[8:], hi)
	}
}
