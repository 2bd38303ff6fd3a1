package ops

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// rankValues are numbers that follow from where a row is in its partition.
type rankValues struct {
	fn    string
	n     int64
	out   int   // place of the column
	dense int64 // the last row's number
	peer  int64 // its first peer
}

func (r *rankValues) eval(_ context.Context, mem memory.Allocator, w *windowRows, out []arrow.Array) error {
	buf := zeroBytes(mem, 8*w.n)
	defer buf.Release()
	dst := arrow.Int64Traits.CastFromBytes(buf.Bytes())
	for _, p := range w.pieces {
		at := p.from - w.from
		dst := dst[at : p.to-w.from]
		switch r.fn {
		case "row_number":
			for i := range dst {
				dst[i] = p.from + int64(i) - p.begin + 1
			}
		case "rank":
			for i := range dst {
				dst[i] = w.peers[at+int64(i)] - p.begin + 1
			}
		case "dense_rank":
			if p.fresh {
				r.dense, r.peer = 0, -1
			}
			for i := range dst {
				if peer := w.peers[at+int64(i)]; peer != r.peer {
					r.dense, r.peer = r.dense+1, peer
				}
				dst[i] = r.dense
			}
		case "count": // of all rows of the frame
			for i := range dst {
				dst[i] = w.hi[at+int64(i)] - w.lo[at+int64(i)]
			}
		case "ntile":
			size, longer := (p.end-p.begin)/r.n, (p.end-p.begin)%r.n
			for i := range dst {
				row := p.from + int64(i) - p.begin
				if row < longer*(size+1) {
					dst[i] = row/(size+1) + 1
				} else {
					dst[i] = longer + (row-longer*(size+1))/size + 1
				}
			}
		}
	}
	out[r.out] = newArray(arrow.PrimitiveTypes.Int64, w.n, 0, nil, buf)
	return nil
}

func (r *rankValues) close() error { return nil }

// rowValues are values of columns in other rows: those at a distance, or at one end of
// the frame.
type rowValues struct {
	fn   string
	n    int64
	cols []int
	outs []int // places of their columns
	at   *rowCursor

	refs   []order.Ref
	chunks []dataflow.Batch // held for refs
}

func (r *rowValues) eval(ctx context.Context, mem memory.Allocator, w *windowRows, out []arrow.Array) error {
	defer func() {
		releaseBatches(r.chunks)
		r.chunks = r.chunks[:0]
	}()
	r.refs = r.refs[:0]
	if r.at.batch != nil {
		r.hold()
	}
	for _, p := range w.pieces {
		end := p.end
		if end < 0 {
			end = r.at.q.next
		}
		for row := p.from; row < p.to; row++ {
			i, from := row-w.from, int64(-1)
			switch r.fn {
			case "lag":
				if row-p.begin >= r.n {
					from = row - r.n
				}
			case "lead":
				if end-row > r.n {
					from = row + r.n
				}
			case "first":
				if w.lo[i] < w.hi[i] {
					from = w.lo[i]
				}
			case "last":
				if w.lo[i] < w.hi[i] {
					from = w.hi[i] - 1
				}
			}
			if from < 0 {
				r.refs = append(r.refs, order.NullRef)
				continue
			}
			moved, err := r.at.seek(ctx, from)
			if err != nil {
				return err
			}
			if moved {
				r.hold()
			}
			r.refs = append(r.refs, order.Ref{Batch: int32(len(r.chunks) - 1), Row: int32(from - r.at.start)})
		}
	}
	cols := make([]arrow.Array, len(r.chunks))
	for i, c := range r.cols {
		for at, b := range r.chunks {
			cols[at] = b.Column(c)
		}
		var err error
		if out[r.outs[i]], err = order.TakeColumn(mem, r.at.q.schema.Field(c).Type, cols, r.refs); err != nil {
			return err
		}
	}
	return nil
}

// hold keeps the cursor's batch until the values are gathered.
func (r *rowValues) hold() {
	r.at.batch.Retain()
	r.chunks = append(r.chunks, r.at.batch)
}

func (r *rowValues) close() error { return r.at.close() }
