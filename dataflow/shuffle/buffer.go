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
// comes, while it is in the processor's cache, and those of small batches when they are
// wanted; by then most partitions are pieces of batches that lie in order. Columns are gathered as a
// whole, so that the cost hardly depends on the number of partitions.
type buffer struct {
	env    *dataflow.Env
	schema *arrow.Schema
	single bool // a frame's rows must come from one batch

	chunks  []chunk
	ordered []int32 // those with their rows in order
	bytes   int64   // reserved
	rows    int64   //
	count   []int64 // rows of each partition
	size    []int64 // bytes of each partition's rows, about

	refs []order.Ref // rows of chunks that are not in order, by partition, in order of arrival; made by sort
	ends []int64     // where each partition's refs end
	spare
}

// spare is memory kept from one batch to the next.
type spare struct {
	rowSize []int32
	parts   []int32
	share   []block.Run // rows for a frame, by chunks
	frame   []dataflow.Batch
	runs    []block.Run // the same by the frame's batches
	local   []order.Ref
}

// A chunk is a batch. Where its rows lie in the order of their partitions, ends says up to
// where each partition's rows go, else parts has the partition of each row.
type chunk struct {
	batch dataflow.Batch // owned
	parts []int32
	ends  []int32
	bytes int64 // with all that belongs to it
}

// rowBytes is what a buffered row costs beside its data where it is not in order:
// partition and reference; partBytes is what a partition costs where it is.
// chunkBytes is a guess at a batch's headers, a column.
const (
	rowBytes   = 4 + 8
	partBytes  = 4
	chunkBytes = 400
)

func (s *buffer) init(env *dataflow.Env, schema *arrow.Schema, n int) {
	s.env, s.schema, s.single = env, schema, narrowDictionaries(schema)
	s.count, s.size = make([]int64, n), make([]int64, n)
}

// smallBatch is a number of rows, and of rows for a partition, for which sorting early does
// not pay.
const (
	smallBatch = 2048
	smallShare = 4
)

// chunk finds the partitions of a batch's rows and, where that pays, puts the rows
// in their order. The batch stays the caller's, the chunk is too.
func (s *buffer) chunk(p Partitioner, b dataflow.Batch) (c chunk, err error) {
	n := int(b.NumRows())
	cost := rowBytes * n
	if len(s.count) == 1 || n < max(smallBatch, smallShare*len(s.count)) {
		c.parts = make([]int32, n)
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
		var refs []order.Ref
		refs, c.ends = s.clustered()
		if c.batch, err = order.Take(s.env.Alloc, s.schema, []dataflow.Batch{b}, refs); err != nil {
			return chunk{}, err
		}
		cost = partBytes * len(c.ends)
	}
	c.bytes = order.BatchBytes(c.batch) + int64(cost+chunkBytes*int(b.NumCols()+1))
	return c, nil
}

// clustered lists the rows by s.parts, and where those of each partition end.
func (s *buffer) clustered() ([]order.Ref, []int32) {
	ends := make([]int32, len(s.count))
	for _, p := range s.parts {
		ends[p]++
	}
	pos := int32(0)
	for p, n := range ends {
		ends[p] = pos // the start, which the loop below moves to the end
		pos += n
	}
	s.local = slices.Grow(s.local[:0], len(s.parts))[:len(s.parts)]
	refs := s.local
	for row, p := range s.parts {
		refs[ends[p]] = order.Ref{Row: int32(row)}
		ends[p]++
	}
	return refs, ends
}

// add takes a chunk over, for which reserved bytes are reserved.
func (s *buffer) add(c chunk, reserved int64) {
	c.bytes = reserved
	if c.ends != nil {
		s.ordered = append(s.ordered, int32(len(s.chunks)))
	}
	s.chunks = append(s.chunks, c)
	s.bytes += reserved
	s.rows += c.batch.NumRows()
	s.rowSize = rowSizes(s.rowSize, c.batch)
	from := int32(0)
	for p, to := range c.ends {
		s.count[p] += int64(to - from)
		for _, n := range s.rowSize[from:to] {
			s.size[p] += int64(n)
		}
		from = to
	}
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
	s.chunks, s.ordered, s.bytes, s.rows = s.chunks[:0], s.ordered[:0], 0, 0
	s.refs, s.ends = nil, s.ends[:0]
	clear(s.count)
	clear(s.size)
}

// sort lists the rows of those chunks that are not in order by partition.
func (s *buffer) sort() {
	if len(s.count) == 1 || s.rows == 0 {
		return
	}
	counts := make([]int64, len(s.count))
	n := int64(0)
	for _, c := range s.chunks {
		n += int64(len(c.parts))
		for _, p := range c.parts {
			counts[p]++
		}
	}
	s.refs = make([]order.Ref, n)
	s.ends = s.ends[:0]
	pos := int64(0)
	for _, n := range counts {
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

// A lister goes through the rows of a partition, in their order.
type lister struct {
	p       int
	chunks  []chunk
	ordered []int32     // of the chunks, those to come
	refs    []order.Ref // to come, of the other chunks
	run     block.Run   // what is left of the last one
}

// list begins with partition p, after sort. Only the chunks that have their rows in order
// are looked at for each partition: with many small ones, looking at all would be most of
// the work.
func (s *buffer) list(p int) lister {
	from := int64(0)
	if p > 0 {
		from = s.ends[p-1]
	}
	return lister{p: p, chunks: s.chunks, ordered: s.ordered, refs: s.refs[from:s.ends[p]]}
}

// take appends the runs of the next rows, of which there are so many.
func (l *lister) take(dst []block.Run, rows int64) []block.Run {
	for rows > 0 {
		if l.run.From == l.run.To {
			l.next()
		}
		n := int32(min(rows, int64(l.run.To-l.run.From)))
		if n > 0 { // a chunk need not have any
			dst = append(dst, block.Run{Batch: l.run.Batch, From: l.run.From, To: l.run.From + n})
		}
		l.run.From += n
		rows -= int64(n)
	}
	return dst
}

// next goes to the next rows that follow each other, or to a chunk without any.
func (l *lister) next() {
	if len(l.refs) == 0 || len(l.ordered) > 0 && l.ordered[0] < l.refs[0].Batch {
		c := l.ordered[0]
		ends := l.chunks[c].ends
		l.ordered = l.ordered[1:]
		l.run = block.Run{Batch: c, To: ends[l.p]}
		if l.p > 0 {
			l.run.From = ends[l.p-1]
		}
		return
	}
	first, n := l.refs[0], int32(1)
	for int(n) < len(l.refs) && l.refs[n] == (order.Ref{Batch: first.Batch, Row: first.Row + n}) {
		n++
	}
	l.refs = l.refs[n:]
	l.run = block.Run{Batch: first.Batch, From: first.Row, To: first.Row + n}
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
	l := s.list(p)
	// Equal shares: no tiny frame at the end.
	for parts := (n + rows - 1) / rows; parts > 0; parts-- {
		share := (n + parts - 1) / parts
		s.share = l.take(s.share[:0], share)
		if err := s.gather(s.share, to); err != nil {
			return err
		}
		n -= share
	}
	return nil
}

// whole is frames where there is one partition: batches are cut and joined, and
// passed on as they are where their size is right.
func (s *buffer) whole(rows int, to framer) error {
	pending, waiting := s.share[:0], 0 // runs, and their rows
	flush := func() error {
		runs := pending
		pending, waiting = pending[:0], 0
		return s.gather(runs, to)
	}
	for i := range s.chunks {
		b := s.chunks[i].batch
		n := int(b.NumRows())
		if len(s.chunks) > 1 && n < rows/2 {
			if waiting+n > rows {
				if err := flush(); err != nil {
					return err
				}
			}
			pending, waiting = append(pending, block.Run{Batch: int32(i), To: int32(n)}), waiting+n
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

// gather makes one frame of runs of the chunks, or one for each chunk they come from.
func (s *buffer) gather(rows []block.Run, to framer) error {
	for len(rows) > 0 {
		n := s.cut(rows)
		done, err := to.runs(s.frame, s.runs)
		if !done && err == nil {
			err = s.gathered(to)
		}
		clear(s.frame)
		if err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// cut notes the batches and runs of the first of the rows, and returns of how many runs
// these are: of all, where they need not come from one chunk.
func (s *buffer) cut(rows []block.Run) int {
	s.frame, s.runs = s.frame[:0], s.runs[:0]
	for i, r := range rows {
		if i == 0 || r.Batch != rows[i-1].Batch {
			if s.single && i > 0 {
				return i
			}
			s.frame = append(s.frame, s.chunks[r.Batch].batch)
		}
		s.runs = append(s.runs, block.Run{Batch: int32(len(s.frame) - 1), From: r.From, To: r.To})
	}
	return len(rows)
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
