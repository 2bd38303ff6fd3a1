package ops

import (
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A final aggregate that has more groups than a cache of the processor holds would wait
// for memory with nearly every row: for a slot, a key, and each aggregate. Instead rows
// are kept, each batch of them in the order of parts of the hashes, and then grouped
// part by part. The groups of a part have slots next to each other, and, made one after
// the other, numbers too. The table has to have its size by then, or all the slots of the
// first part were taken; so the groups of some parts are counted before. That saves its
// growth step by step, too.

const (
	// laterGroups is how many groups there are before rows are kept.
	laterGroups = 1 << 15
	laterBits   = 6
	laterParts  = 1 << laterBits
	// laterBytes is how much is kept before it is grouped.
	laterBytes = 128 << 20
	// laterGuess is the number of parts whose groups are counted.
	laterGuess = 2
)

// later are the rows that are kept. Memory is held for them and for the groups that they
// may make, so that grouping them does not fail for the room that they take.
type later struct {
	mem    held
	chunks []laterChunk
	bytes  int64 // of chunks
	groups int64 // bytes held for groups
	refs   []order.Ref
}

// A laterChunk is a batch in the order of parts, and where each part ends.
type laterChunk struct {
	batch dataflow.Batch
	ends  [laterParts]int
}

// keep keeps n rows, or those of them that sel names, for later. It says false where
// they have to be grouped at once.
func (s *aggStream) keep(cols []arrow.Array, n int, sel []int32) (bool, error) {
	l, g := &s.later, &s.groups
	if s.Mode != "final" || g.n <= laterGroups || s.grown.merging || len(s.grown.watched) > 0 {
		return false, nil
	}
	b := array.NewRecordBatch(s.inner, cols, int64(n))
	defer b.Release()
	rows := order.BatchBytes(b)
	groups := int64(n) * int64(g.n) / s.rows * s.bytesEach() // as many as of the rows so far
	if !l.mem.try(rows + groups) {
		return false, s.settle()
	}
	c := laterChunk{}
	g.load(cols[:len(s.Keys)], n)
	var err error
	if c.batch, err = order.Take(s.env.Alloc, s.inner, []dataflow.Batch{b}, l.sort(&c, g.hashes, s.sel(n, sel))); err != nil {
		l.mem.release(rows + groups)
		return false, err
	}
	l.chunks = append(l.chunks, c)
	l.bytes += rows
	l.groups += groups
	if l.bytes >= laterBytes {
		err = s.settle()
	}
	return true, err
}

// sort lists rows by part.
func (l *later) sort(c *laterChunk, hashes []uint64, rows []int32) []order.Ref {
	for _, i := range rows {
		c.ends[laterPart(hashes[i])]++
	}
	pos := 0
	for p, n := range c.ends {
		c.ends[p] = pos // the start, which the loop below moves to the end
		pos += n
	}
	if cap(l.refs) < pos {
		l.refs = make([]order.Ref, pos)
	}
	refs := l.refs[:pos]
	for _, i := range rows {
		at := &c.ends[laterPart(hashes[i])]
		refs[*at] = order.Ref{Row: i}
		*at++
	}
	return refs
}

// laterPart is by the bits that say where in the table a probe begins.
func laterPart(hash uint64) uint32 { return uint32(hash) >> (32 - laterBits) }

// settle groups what was kept.
func (s *aggStream) settle() error {
	l := &s.later
	if len(l.chunks) == 0 {
		return nil
	}
	defer l.drop()
	l.mem.release(l.groups)
	l.groups = 0
	if groups := s.fresh(); groups > 0 && s.groups.expect(groups) {
		for _, acc := range s.accs {
			acc.reserve(s.groups.n + groups)
		}
	}
	for p := range laterParts {
		for i := range l.chunks {
			if err := s.settlePart(&l.chunks[i], p); err != nil {
				return err
			}
		}
	}
	return nil
}

// fresh guesses how many groups the rows that are kept will add.
func (s *aggStream) fresh() int {
	rows := 0
	for i := range s.later.chunks {
		rows += s.later.chunks[i].ends[laterGuess-1]
	}
	seen, n := make(hashSet, 1<<bits.Len(uint(2*rows))), 0
	for i := range s.later.chunks {
		c := &s.later.chunks[i]
		b := c.batch.NewSlice(0, int64(c.ends[laterGuess-1]))
		s.groups.load(b.Columns()[:len(s.Keys)], int(b.NumRows()))
		b.Release()
		for _, h := range s.groups.hashes {
			if !s.groups.may(h) && seen.add(h) {
				n++
			}
		}
	}
	return (n + n/32) * (laterParts / laterGuess)
}

// A hashSet has a power of two as its length, twice as many as there will be hashes or
// more. 0 is free: it may be counted twice.
type hashSet []uint64

// add says whether a hash is new.
func (s hashSet) add(h uint64) bool {
	mask := uint64(len(s) - 1)
	at := h >> 32 & mask
	for ; s[at] != 0; at = (at + 1) & mask {
		if s[at] == h {
			return false
		}
	}
	s[at] = h
	return true
}

func (s *aggStream) settlePart(c *laterChunk, p int) error {
	from, to := 0, c.ends[p]
	if p > 0 {
		from = c.ends[p-1]
	}
	if from == to {
		return nil
	}
	b := c.batch.NewSlice(int64(from), int64(to))
	defer b.Release()
	return s.group(b.Columns(), to-from, nil)
}

// drop lets go of what is kept.
func (l *later) drop() {
	for _, c := range l.chunks {
		c.batch.Release()
	}
	clear(l.chunks)
	l.chunks, l.bytes, l.groups = l.chunks[:0], 0, 0
	l.mem.releaseAll()
}
