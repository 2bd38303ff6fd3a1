package ops

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A finder finds rows of the build side by their keys: by a direct index where the keys
// are whole numbers that lie close together, by a table of their hashes otherwise. Nothing
// of it changes once it is made, so that many may read it at the same time; what changes
// while one does is in a lookup.
type finder struct {
	schema  *arrow.Schema // nil of no rows
	places  order.Locator // of the rows
	bytes   int64         // of the rows
	columns []builtColumn

	direct *direct
	table  table
	keys   *order.Keys // of the rows in the table
	next   []int32     // the next row with the same key, or -1; nil where all keys differ
	filter bloom       // of the table's rows, also where they are few
	set    *dense      // of the keys, where they are whole numbers that lie close together
}

// tableBytes is the most that finding n rows takes beside them and their keys: hashes,
// chains, marks, slots and the filter.
func tableBytes(n int) int64 { return 14*int64(n) + slotBytes(n) + bloomBytes(n) }

// index makes what finds the rows by some of their columns, of which some come out. The
// rows go over to it; t.mem has what is reserved for it. Rows with one key are chained in
// their order.
func (t *built) index(mem memory.Allocator, cols, out []int) (*finder, error) {
	f := &finder{places: t.rows, bytes: t.bytes, keys: t.keys}
	if len(t.batches) > 0 {
		f.schema = t.batches[0].Schema()
		f.columns = make([]builtColumn, f.schema.NumFields())
	}
	for _, b := range t.batches {
		for c, a := range b.Columns() {
			a.Retain()
			f.columns[c].arrs = append(f.columns[c].arrs, a)
		}
	}
	err := f.index(t.batches, cols, &t.mem)
	for _, c := range out {
		if err == nil && f.schema != nil {
			err = f.together(mem, c, &t.mem)
		}
	}
	t.forget()
	if err != nil {
		f.close()
		t.mem.releaseAll()
	}
	return f, err
}

func (f *finder) index(batches []dataflow.Batch, cols []int, mem *held) error {
	n := f.places.Rows()
	if n == 0 {
		return nil
	}
	if wholeKey(f.schema, cols) {
		numbers, others := f.columns[cols[0]].arrs, f.bytes
		if f.set = denseOf(numbers, n, mem); f.set != nil {
			others += 8 * int64(len(f.set.words))
		}
		if f.direct = directOf(numbers, n, mem, others); f.direct != nil {
			f.next = f.direct.index(numbers, n)
			return nil
		}
	}
	if f.keys == nil {
		var err error
		if f.keys, err = encodeAll(batches, cols); err != nil {
			return err
		}
	}
	f.table.reset(n)
	f.filter.make(max(n, 64))
	chains := make([]int32, n)
	var hashes []uint64
	for i, r := len(batches)-1, n-1; i >= 0; i-- {
		var err error
		if hashes, err = hashInto(hashes, batches[i], cols); err != nil {
			return err
		}
		nulls := nullKeys(batches[i], cols)
		for at := len(hashes) - 1; at >= 0; at, r = at-1, r-1 {
			if nulls != nil && nulls[at] {
				continue
			}
			h := hashes[at]
			first, slot := f.table.find(h, f.keys, r, f.keys)
			if chains[r] = first; first >= 0 {
				f.next = chains
			}
			f.table.put(slot, h, int32(r))
			f.filter.add(h)
		}
	}
	return nil
}

func encodeAll(batches []dataflow.Batch, cols []int) (*order.Keys, error) {
	enc, err := order.NewEncoder(batches[0].Schema(), orderBy(cols))
	if err != nil {
		return nil, err
	}
	keys := &order.Keys{}
	for _, b := range batches {
		if err := enc.Append(keys, b); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// together makes a column of numbers that comes out narrow, or puts its arrays together as
// one: it is gathered from faster then. Where there is no room it stays as it is.
func (f *finder) together(alloc memory.Allocator, col int, mem *held) error {
	c, t, n := &f.columns[col], f.schema.Field(col).Type, f.places.Rows()
	if c.narrow = narrowOf(t, c.arrs, n, mem); c.narrow != nil {
		return nil
	}
	width := plainBytes(t)
	size := int64(width+1) * int64(n)
	if width == 0 || len(c.arrs) < 2 || !mem.try(size) {
		return nil
	}
	one, err := array.Concatenate(c.arrs, alloc)
	mem.release(size) // the others go
	if err != nil {
		return err
	}
	for _, a := range c.arrs {
		a.Release()
	}
	c.arrs = []arrow.Array{one}
	return nil
}

// close frees the rows, but not what is reserved for them.
func (f *finder) close() {
	for _, c := range f.columns {
		for _, a := range c.arrs {
			a.Release()
		}
	}
	f.columns = nil
}

// after is the next row with the key of row r, or -1.
func (f *finder) after(r int32) int32 {
	if f.next == nil {
		return -1
	}
	return f.next[r]
}

// A lookup finds the rows of one reader's batches.
type lookup struct {
	enc    *order.Encoder
	keys   order.Keys
	hashes []uint64
	heads  []int32
	filter bloom // f's, with what this reader has seen of it
	of     *finder
}

// find gives, of each row of b, the first row of f with the same key in some columns, or
// -1. It is valid until the next call.
func (l *lookup) find(f *finder, b dataflow.Batch, cols []int) ([]int32, error) {
	n := int(b.NumRows())
	if cap(l.heads) < n {
		l.heads = make([]int32, n)
	}
	heads := l.heads[:n]
	switch {
	case f.places.Rows() == 0:
		for i := range heads {
			heads[i] = -1
		}
		return heads, nil
	case f.direct != nil:
		f.direct.find(heads, b.Column(cols[0]))
		return heads, nil
	}
	var err error
	if l.enc == nil {
		if l.enc, err = order.NewEncoder(b.Schema(), orderBy(cols)); err != nil {
			return nil, err
		}
	}
	if l.of != f {
		l.of, l.filter = f, bloom{sel: l.filter.sel}
		if f.places.Rows() >= bloomRows {
			l.filter.words, l.filter.shift = f.filter.words, f.filter.shift
		}
	}
	l.keys.Reset()
	if err := l.enc.Append(&l.keys, b); err != nil {
		return nil, err
	}
	if l.hashes, err = hashInto(l.hashes, b, cols); err != nil {
		return nil, err
	}
	f.table.findAll(heads, l.filter.pass(heads, l.hashes), l.hashes, &l.keys, f.keys)
	for i, null := range nullKeys(b, cols) {
		if null {
			heads[i] = -1
		}
	}
	return heads, nil
}
