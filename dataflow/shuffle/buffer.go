package shuffle

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/block"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A buffer holds batches, and for each row its partition, until they are wanted
// partition by partition. It sorts twice by counting: the rows of each batch as it
// comes, while it is in the processor's cache, and all rows when they are wanted,
// from pieces of batches that by then lie in order. Columns are gathered as a
// whole, so that the cost hardly depends on the number of partitions.
type buffer struct {
	env    *dataflow.Env
	schema *arrow.Schema
	single bool // a frame's rows must come from one batch

	chunks []chunk
	bytes  int64   // reserved
	rows   int64   //
	count  []int64 // rows of each partition
	size   []int64 // bytes of each partition's rows, about

	refs []order.Ref // rows by partition, in order of arrival; made by sort
	ends []int64     // where each partition's refs end
	spare
}

// spare is memory kept from one batch to the next.
type spare struct {
	rowSize []int32
	parts   []int32
	starts  []int32
	frame   []dataflow.Batch
	runs    []block.Run
	local   []order.Ref
}

type chunk struct {
	batch dataflow.Batch // owned
	parts []int32
	bytes int64 // with all that belongs to it
}

// rowBytes is what a buffered row costs beside its data: partition and reference.
// chunkBytes is a guess at a batch's headers, a column.
const (
	rowBytes   = 4 + 8
	chunkBytes = 400
)

func (s *buffer) init(env *dataflow.Env, schema *arrow.Schema, n int) {
	s.env, s.schema, s.single = env, schema, narrowDictionaries(schema)
	s.count, s.size = make([]int64, n), make([]int64, n)
}

// smallBatch is a number of rows for which sorting early does not pay.
const smallBatch = 2048

// chunk finds the partitions of a batch's rows and, where that pays, puts the rows
// in their order. The batch stays the caller's, the chunk is too.
func (s *buffer) chunk(p Partitioner, b dataflow.Batch) (c chunk, err error) {
	n := int(b.NumRows())
	c.parts = make([]int32, n)
	if len(s.count) == 1 || n < smallBatch {
		if err := p.Partition(c.parts, b); err != nil {
			return chunk{}, err
		}
		b.Retain()
		c.batch = b
	} else {
		s.parts = slices.Grow(s.parts[:0], n)[:n]
		if err := p.Partition(s.parts, b); err != nil {
			return chunk{}, err
		}
		if c.batch, err = order.Take(s.env.Alloc, s.schema, []dataflow.Batch{b}, s.clustered(c.parts)); err != nil {
			return chunk{}, err
		}
	}
	c.bytes = order.BatchBytes(c.batch) + int64(rowBytes*n+chunkBytes*int(b.NumCols()+1))
	return c, nil
}

// clustered lists the rows by s.parts, and puts the sorted partitions into sorted.
func (s *buffer) clustered(sorted []int32) []order.Ref {
	s.starts = slices.Grow(s.starts[:0], len(s.count)+1)[:len(s.count)+1]
	clear(s.starts)
	starts := s.starts
	for _, p := range s.parts {
		starts[p+1]++
	}
	for i := 1; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	s.local = slices.Grow(s.local[:0], len(s.parts))[:len(s.parts)]
	refs := s.local
	for row, p := range s.parts {
		at := starts[p]
		starts[p]++
		refs[at] = order.Ref{Row: int32(row)}
		sorted[at] = p
	}
	return refs
}

// add takes a chunk over, for which reserved bytes are reserved.
func (s *buffer) add(c chunk, reserved int64) {
	c.bytes = reserved
	s.chunks = append(s.chunks, c)
	s.bytes += reserved
	s.rows += int64(len(c.parts))
	s.rowSize = rowSizes(s.rowSize, c.batch)
	for i, p := range c.parts {
		s.count[p]++
		s.size[p] += int64(s.rowSize[i])
	}
}

// reset lets go of everything.
func (s *buffer) reset() {
	for i := range s.chunks {
		s.chunks[i].batch.Release()
		s.chunks[i] = chunk{}
	}
	s.env.Memory.Release(s.bytes)
	s.chunks, s.bytes, s.rows = s.chunks[:0], 0, 0
	s.refs, s.ends = nil, s.ends[:0]
	clear(s.count)
	clear(s.size)
}

// sort lists the rows by partition.
func (s *buffer) sort() {
	if len(s.count) == 1 || s.rows == 0 {
		return
	}
	s.refs = make([]order.Ref, s.rows)
	s.ends = s.ends[:0]
	pos := int64(0)
	for _, n := range s.count {
		s.ends = append(s.ends, pos) // the start, which the loop below moves to the end
		pos += n
	}
	refs, ends := s.refs, s.ends
	for i := range s.chunks {
		for row, p := range s.chunks[i].parts {
			refs[ends[p]] = order.Ref{Batch: int32(i), Row: int32(row)}
			ends[p]++
		}
	}
}

// frames hands partition p's rows, in their order and about size bytes at a time, to a
// framer, which does not keep them.
func (s *buffer) frames(p, size int, to framer) error {
	n := s.count[p]
	if n == 0 {
		return nil
	}
	rows := max(1, int64(size)*n/max(1, s.size[p]))
	if most, _ := order.BatchLimits(s.env); rows > int64(most) {
		rows = int64(most)
	}
	if len(s.count) == 1 {
		return s.whole(int(rows), to)
	}
	refs := s.refs[s.ends[p]-n : s.ends[p]]
	// Equal shares: no tiny frame at the end.
	for parts := (n + rows - 1) / rows; parts > 0; parts-- {
		share := (int64(len(refs)) + parts - 1) / parts
		if err := s.gather(refs[:share], to); err != nil {
			return err
		}
		refs = refs[share:]
	}
	return nil
}

// whole is frames where there is one partition: batches are cut and joined, and
// passed on as they are where their size is right.
func (s *buffer) whole(rows int, to framer) error {
	var pending []order.Ref
	flush := func() error {
		refs := pending
		pending = pending[:0]
		if len(refs) == 0 {
			return nil
		}
		return s.gather(refs, to)
	}
	for i := range s.chunks {
		b := s.chunks[i].batch
		n := int(b.NumRows())
		if len(s.chunks) > 1 && n < rows/2 {
			if len(pending)+n > rows {
				if err := flush(); err != nil {
					return err
				}
			}
			for row := range n {
				pending = append(pending, order.Ref{Batch: int32(i), Row: int32(row)})
			}
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		for parts := (n + rows - 1) / rows; parts > 0; parts-- {
			from := int(b.NumRows()) - n
			share := (n + parts - 1) / parts
			n -= share
			piece := b.NewSlice(int64(from), int64(from+share))
			err := to.batch(piece)
			piece.Release()
			if err != nil {
				return err
			}
		}
	}
	return flush()
}

// gather makes one frame of the rows, or one for each chunk they come from.
func (s *buffer) gather(refs []order.Ref, to framer) error {
	for len(refs) > 0 {
		n := s.cut(refs)
		done, err := to.runs(s.frame, s.runs)
		if !done && err == nil {
			err = s.gathered(to)
		}
		clear(s.frame)
		if err != nil {
			return err
		}
		refs = refs[n:]
	}
	return nil
}

// cut notes the chunks and runs of the first of the rows, and returns how many these are:
// all, where they need not come from one chunk.
func (s *buffer) cut(refs []order.Ref) int {
	// Only the batches that have a row here are looked at: with many small ones,
	// looking at all for each frame would be most of the work.
	s.frame, s.runs = s.frame[:0], s.runs[:0]
	last := order.NullRef
	for i, r := range refs {
		switch {
		case r.Batch != last.Batch:
			if s.single && i > 0 {
				return i
			}
			s.frame = append(s.frame, s.chunks[r.Batch].batch)
			fallthrough
		case r.Row != last.Row+1:
			s.runs = append(s.runs, block.Run{Batch: int32(len(s.frame) - 1), From: r.Row, To: r.Row})
		}
		s.runs[len(s.runs)-1].To++
		last = r
	}
	return len(refs)
}

// gathered makes one batch of the runs and a frame of that.
func (s *buffer) gathered(to framer) error {
	s.local = s.local[:0]
	for _, r := range s.runs {
		for row := r.From; row < r.To; row++ {
			s.local = append(s.local, order.Ref{Batch: r.Batch, Row: row})
		}
	}
	b, err := order.Take(s.env.Alloc, s.schema, s.frame, s.local)
	if err != nil {
		return err
	}
	if b, err = compact(s.env.Alloc, b); err != nil {
		return err
	}
	defer b.Release()
	return to.batch(b)
}
