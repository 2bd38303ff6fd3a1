package order

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// Text whose values are all of one length, as keys and records often are, can be taken
// without a look at where each value begins: of what a row out of many costs, waiting for
// memory, that is half.

// widths are the lengths of the values of chunks of text: each the one that all values of
// a chunk have, or -1 where they differ. Nil: not known.
type widths []int32

// widthsOf looks at all values. It is nil where it would not help: for other types and
// where values differ.
func widthsOf(chunks []arrow.Array) widths {
	all := make(widths, len(chunks))
	for i, c := range chunks {
		if all[i] = widthOf(c); all[i] < 0 || all[i] != all[0] {
			return nil
		}
	}
	return all
}

// widthOf is the length of all values of an array of strings or bytes with small offsets,
// or -1.
func widthOf(a arrow.Array) int32 {
	if id := a.DataType().ID(); id != arrow.STRING && id != arrow.BINARY || a.Len() == 0 {
		return -1
	}
	offsets := arrow.GetOffsets[int32](a.Data(), 1)
	width, at := offsets[1]-offsets[0], offsets[0]
	for _, o := range offsets[:a.Len()+1] {
		if o != at {
			return -1
		}
		at += width
	}
	return width
}

// same is the length of all values of all chunks, if there is one and so many rows of it
// fit an array.
func (w widths) same(rows int) (int, bool) {
	if len(w) == 0 || w[0] < 0 || int64(w[0])*int64(rows) > math.MaxInt32 {
		return 0, false
	}
	for _, v := range w {
		if v != w[0] {
			return 0, false
		}
	}
	return int(w[0]), true
}

// takeAligned is takeText32 where all values are so wide and no row is one of nulls.
func takeAligned(mem memory.Allocator, chunks []arrow.Array, refs []Ref, width int) (off, vals *memory.Buffer) {
	src := make([][]byte, len(chunks))
	size := 0
	for i, c := range chunks {
		t := textOf(c)
		src[i] = t.data[t.off32[0]:t.off32[c.Len()]]
		size += len(src[i])
	}
	off, vals = dataflow.NewBuffer(mem, 4*(len(refs)+1)), dataflow.NewBuffer(mem, width*len(refs))
	for i, offs := 0, arrow.GetData[int32](off.Bytes()); i <= len(refs); i++ {
		offs[i] = int32(i * width)
	}
	data := vals.Bytes()
	for i, asked := 0, 0; i < len(refs); {
		if i >= asked && size > askBytes {
			asked = min(i+askRows, len(refs))
			ask(src, refs[i:asked], width)
		}
		r, next := refs[i], runEnd(refs, i)
		copyText(data, src[r.Batch], i*width, int(r.Row)*width, (next-i)*width)
		i = next
	}
	return off, vals
}

const (
	askRows  = 64      // are read a little of at once before the first of them is copied
	askBytes = 2 << 20 // of text that is likely to be in a cache still
)

// ask reads a byte of each line of the processor's cache that rows lie in, and nothing
// else: so it waits for many at the same time, where copying, which is more work a row,
// would wait for a few. Rows that follow each other the processor fetches by itself.
// What it returns says nothing; it is there so that the reads are not left out.
//
//go:noinline
func ask(src [][]byte, refs []Ref, width int) (b byte) {
	const line = 64
	last := NullRef
	for _, r := range refs {
		last.Row++
		if r == last || width == 0 {
			continue
		}
		last = r
		row := src[r.Batch][int(r.Row)*width:][:width]
		for at := 0; at < len(row); at += line {
			b |= row[at]
		}
		b |= row[len(row)-1]
	}
	return b
}

// A Taker is Take out of batches from which rows are taken again and again: what helps is
// found out once. The zero value is ready; the batches stay the caller's.
type Taker struct {
	batches []dataflow.Batch
	widths  []widths // of each column
}

// Add adds a batch, of the schema that all have.
func (t *Taker) Add(b dataflow.Batch) {
	if t.widths == nil {
		t.widths = make([]widths, b.NumCols())
	}
	t.batches = append(t.batches, b)
	for c, w := range t.widths {
		t.widths[c] = append(w, widthOf(b.Column(c)))
	}
}

// Take is like the function of that name.
func (t *Taker) Take(mem memory.Allocator, schema *arrow.Schema, refs []Ref) (dataflow.Batch, error) {
	return take(mem, schema, t.batches, refs, func(c int, _ []arrow.Array) widths { return t.widths[c] })
}

// Reset forgets all batches.
func (t *Taker) Reset() {
	clear(t.batches)
	t.batches = t.batches[:0]
	for c := range t.widths {
		t.widths[c] = t.widths[c][:0]
	}
}
