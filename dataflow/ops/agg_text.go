package ops

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/zeebo/xxh3"

	"github.com/divisi-data/divisi/dataflow"
)

// loadText brings a column of text of a batch into words.
func (g *groupTable) loadText(col keyColumn, a arrow.Array, n int) {
	d := a.Data()
	t := textColumn{offsets: arrow.GetOffsets[int32](d, 1)}
	if b := d.Buffers()[2]; b != nil {
		t.data = b.Bytes()
	}
	dst, w := g.words[col.word:], g.width
	for i := range n {
		from, to := t.offsets[i], t.offsets[i+1]
		text := t.data[from:to]
		lo, hi := uint64(len(text)), uint64(0)
		switch {
		case len(text) <= inlineText && int(from)+inlineText <= len(t.data):
			lo, hi = paddedText(t.data[from:int(from)+inlineText], len(text))
		case len(text) > inlineText:
			t.long = true
			lo |= uint64(text[0])<<32 | uint64(text[1])<<40 | uint64(text[2])<<48 | uint64(text[3])<<56
			hi = xxh3.Hash(text)
		default:
			lo, hi = shortText(text)
		}
		dst[i*w], dst[i*w+1] = lo, hi
	}
	g.texts[col.text] = t
}

// paddedText is shortText of the first n bytes: of all of them it reads as much, and
// forgets what is too much.
func paddedText(b []byte, n int) (lo, hi uint64) {
	_ = b[inlineText-1]
	m := &textMasks[n&15]
	first, rest := uint64(binary.LittleEndian.Uint32(b)), binary.LittleEndian.Uint64(b[4:])
	return uint64(n) | first&m[0]<<32, rest & m[1]
}

// textMasks leave the bytes of a text of so many in its words.
var textMasks = func() (m [16][2]uint64) {
	for n := range m {
		m[n] = [2]uint64{1<<(8*min(n, 4)) - 1, 1<<(8*max(n-4, 0)) - 1}
	}
	return m
}()

// shortText packs at most inlineText bytes: length and the first four, the rest.
func shortText(text []byte) (lo, hi uint64) {
	lo = uint64(len(text))
	for i, c := range text[:min(4, len(text))] {
		lo |= uint64(c) << (32 + 8*i)
	}
	if len(text) > 4 {
		for i, c := range text[4:] {
			hi |= uint64(c) << (8 * i)
		}
	}
	return lo, hi
}

// emitText is emit for text.
func (g *groupTable) emitText(mem memory.Allocator, col keyColumn, from, to int, valid *memory.Buffer, nulls int) (arrow.Array, error) {
	n := to - from
	var size int64
	for i := from; i < to; i++ {
		size += int64(uint32(g.keys[i*g.width+col.word]))
	}
	if size > math.MaxInt32 {
		return nil, fmt.Errorf("a column of %d bytes of text is too long for a batch", size)
	}
	ends, text := dataflow.NewBuffer(mem, 4*(n+1)), dataflow.NewBuffer(mem, int(size))
	defer ends.Release()
	defer text.Release()
	off, dst, at := arrow.Int32Traits.CastFromBytes(ends.Bytes()), text.Bytes(), 0
	off[0] = 0
	for i := range n {
		k := g.keys[(from+i)*g.width+col.word:]
		size := int(uint32(k[0]))
		if size > inlineText {
			place := g.places[col.text][from+i]
			copy(dst[at:], g.arena[place:place+int64(size)])
		} else {
			for b := range size {
				if b < 4 {
					dst[at+b] = byte(k[0] >> (32 + 8*b))
				} else {
					dst[at+b] = byte(k[1] >> (8 * (b - 4)))
				}
			}
		}
		at += size
		off[i+1] = int32(at)
	}
	return newArray(col.field.Type, n, nulls, valid, ends, text), nil
}
