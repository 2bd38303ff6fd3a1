package ops

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A rowQueue keeps rows, counted from 0, between the one that is put in last and the
// first that is still asked for. Cursors read them, each from front to back at its
// own pace. What does not fit in memory is spilled; one batch always fits.
type rowQueue struct {
	env    *dataflow.Env
	name   string // of the operator, for errors
	schema *arrow.Schema
	mem    held

	segs []*rowSegment // in order; those in memory come last
	next int64         // the row that is put in next
	over dataflow.SpillWriter
}

// A rowSegment is the rows from start to end: a batch, or a run of many, or what is
// written to a run that is not finished (neither).
type rowSegment struct {
	start, end int64
	batch      dataflow.Batch
	run        dataflow.SpillRun
	bytes      int64 // of batch, as far as they are reserved
}

// add takes over a batch.
func (q *rowQueue) add(b dataflow.Batch) error {
	q.schema = b.Schema()
	s := &rowSegment{start: q.next, end: q.next + b.NumRows(), batch: b}
	q.next = s.end
	if q.over != nil {
		defer b.Release()
		q.segs[len(q.segs)-1].end = q.next
		return q.write(b)
	}
	size := order.BatchBytes(b)
	fits := q.mem.try(size)
	if fits {
		s.bytes = size
	}
	q.segs = append(q.segs, s)
	if fits || len(q.segs) == 1 || q.segs[len(q.segs)-2].batch == nil {
		return nil
	}
	return q.spill()
}

// spill writes what is in memory to a run, which stays open for what comes next.
func (q *rowQueue) spill() error {
	var err error
	if q.over, err = spillTo(q.env, q.name, q.schema); err != nil {
		return err
	}
	first := len(q.segs)
	for first > 0 && q.segs[first-1].batch != nil {
		first--
	}
	kept := q.segs[first:]
	for _, s := range kept {
		if err := q.write(s.batch); err != nil {
			return err
		}
	}
	run := &rowSegment{start: kept[0].start, end: q.next}
	for _, s := range kept {
		q.free(s)
	}
	q.segs = append(q.segs[:first], run)
	return nil
}

// write puts a batch into the open run, in pieces of the size that runs have.
func (q *rowQueue) write(b dataflow.Batch) error {
	n := int64(rowsPerBatch(q.env, runBytes(q.env), b.NumRows(), order.BatchBytes(b)))
	for at := int64(0); at < b.NumRows(); at += n {
		part := b.NewSlice(at, min(at+n, b.NumRows()))
		err := q.over.Write(part)
		part.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// finish ends the open run, because it is to be read.
func (q *rowQueue) finish() error {
	if q.over == nil {
		return nil
	}
	run, err := q.over.Finish()
	q.over = nil
	q.segs[len(q.segs)-1].run = run
	return err
}

func (q *rowQueue) free(s *rowSegment) {
	s.batch.Release()
	s.batch = nil
	q.mem.release(s.bytes)
	s.bytes = 0
}

// drop forgets what lies before a row. A batch that a cursor stands in stays with it.
func (q *rowQueue) drop(before int64) error {
	n := 0
	for _, s := range q.segs {
		if s.end > before || s.batch == nil && s.run == nil {
			break
		}
		n++
		if s.batch != nil {
			q.free(s)
		} else if err := s.run.Remove(); err != nil {
			return err
		}
	}
	q.segs = q.segs[n:]
	return nil
}

// segment is where a row lies.
func (q *rowQueue) segment(row int64) (*rowSegment, error) {
	at := sort.Search(len(q.segs), func(i int) bool { return row < q.segs[i].end })
	if at < len(q.segs) && row >= q.segs[at].start {
		s := q.segs[at]
		if s.batch == nil && s.run == nil {
			return s, q.finish()
		}
		return s, nil
	}
	return nil, &dataflow.Error{Op: "ops." + q.name, Kind: dataflow.Fatal, Err: fmt.Errorf("row %d is not kept any more", row)}
}

// close forgets all rows, after the cursors are closed.
func (q *rowQueue) close() error {
	if q.over != nil {
		q.over.Abort()
		q.over = nil
		if last := len(q.segs) - 1; q.segs[last].batch == nil { // it was what is written
			q.segs = q.segs[:last]
		}
	}
	err := q.drop(math.MaxInt64)
	q.mem.releaseAll()
	return err
}

// A rowCursor goes through a queue. Its batch is of the rows from start to end.
type rowCursor struct {
	q          *rowQueue
	batch      dataflow.Batch
	start, end int64

	run  *rowSegment // that stream reads
	in   dataflow.Stream
	next int64 // the row that in gives next
}

// seek makes the cursor's batch the one that has a row, and says whether it changed.
// Rows are asked for in their order.
func (c *rowCursor) seek(ctx context.Context, row int64) (moved bool, err error) {
	if c.batch != nil && row < c.end {
		return false, nil
	}
	s, err := c.q.segment(row)
	if err != nil {
		return false, err
	}
	if s.batch != nil {
		if err := c.leaveRun(); err != nil {
			return false, err
		}
		s.batch.Retain()
		c.stand(s.batch, s.start)
		return true, nil
	}
	if c.run != s {
		if err := c.leaveRun(); err != nil {
			return false, err
		}
		if c.in, err = s.run.Open(); err != nil {
			return false, err
		}
		c.run, c.next = s, s.start
	}
	for {
		b, err := c.in.Next(ctx)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return false, fmt.Errorf("ops.%s: rows that were spilled: %w", c.q.name, err)
		}
		c.next += b.NumRows()
		if row < c.next {
			c.stand(b, c.next-b.NumRows())
			return true, nil
		}
		b.Release()
	}
}

func (c *rowCursor) stand(b dataflow.Batch, start int64) {
	if c.batch != nil {
		c.batch.Release()
	}
	c.batch, c.start, c.end = b, start, start+b.NumRows()
}

func (c *rowCursor) leaveRun() error {
	if c.in == nil {
		return nil
	}
	in := c.in
	c.in, c.run = nil, nil
	return in.Close()
}

func (c *rowCursor) close() error {
	if c.batch != nil {
		c.batch.Release()
		c.batch = nil
	}
	return c.leaveRun()
}

func closeCursors(cs ...*rowCursor) error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}
