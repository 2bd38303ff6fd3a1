package ops

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A frame is the rows of a partition around a row, from From to To. Without Unit it is
// the rows up to the last peer, or the whole partition where there is no order.
type frame struct {
	Unit string `json:"unit,omitempty"` // rows or range
	From bound  `json:"from,omitzero"`
	To   bound  `json:"to,omitzero"`
	// Key is, for a range, the column that the columns of bounds compare with: what
	// the rows are ordered by.
	Key        int  `json:"key,omitempty"`
	Descending bool `json:"descending,omitempty"`
}

// A bound is one end of a frame.
type bound struct {
	At string `json:"at,omitempty"` // start, current, end or by
	// By is for "by": of rows, how many after the row at hand; of a range, the column
	// that says at which key the frame of that row begins or ends.
	By int64 `json:"by,omitempty"`
}

// orDefault is f, or what it is without Unit.
func (f frame) orDefault(ordered bool) frame {
	switch {
	case f.Unit != "":
		return f
	case ordered:
		return frame{Unit: "range", From: bound{At: "start"}, To: bound{At: "current"}}
	}
	return frame{Unit: "rows", From: bound{At: "start"}, To: bound{At: "end"}}
}

func (f frame) check(orders int) error {
	switch f.Unit {
	case "rows", "range":
	default:
		return fmt.Errorf("a frame is of rows or of a range, not of %q", f.Unit)
	}
	for _, b := range []bound{f.From, f.To} {
		switch b.At {
		case "start", "current", "end":
		case "by":
			if f.Unit == "range" && orders != 1 {
				return errors.New("a frame by distance needs an order of exactly one column")
			}
		default:
			return fmt.Errorf("a frame cannot end at %q", b.At)
		}
	}
	from, to := f.place(f.From), f.place(f.To)
	if f.From.At == "end" || f.To.At == "start" || f.Unit == "rows" && f.From.At != "start" && f.To.At != "end" && from > to {
		return errors.New("the frame ends before it begins")
	}
	return nil
}

// place is where a bound of rows is, as a number of rows after the one at hand.
func (frame) place(b bound) int64 {
	if b.At == "by" {
		return b.By
	}
	return 0
}

func (f frame) bind(in *arrow.Schema) error {
	if f.Unit != "range" {
		return nil
	}
	for _, b := range []bound{f.From, f.To} {
		if b.At != "by" {
			continue
		}
		for _, c := range []int64{b.By, int64(f.Key)} {
			if c < 0 || c >= int64(in.NumFields()) {
				return fmt.Errorf("no column %d for the frame: the rows have %d", c, in.NumFields())
			}
		}
		if k, o := in.Field(f.Key).Type, in.Field(int(b.By)).Type; !arrow.TypeEqual(k, o) {
			return fmt.Errorf("the frame compares %s with %s", k, o)
		}
	}
	return nil
}

// hasRow reports whether the row at hand is always in its frame.
func (f frame) hasRow() bool {
	if f.Unit == "range" {
		return f.From.At != "by" && f.To.At != "by"
	}
	return f.place(f.From) <= 0 && f.place(f.To) >= 0
}

// toPeers reports whether the last peer must be known.
func (f frame) toPeers() bool {
	return f.Unit == "range" && (f.From.At == "current" || f.To.At == "current")
}

// toEnd reports whether the partition's end must be known.
func (f frame) toEnd() bool {
	return f.To.At == "end" || f.Unit == "range" && (f.To.At == "by" || f.From.At == "by")
}

func (f frame) ahead() int64 {
	if f.Unit == "rows" {
		return max(0, f.place(f.To), f.place(f.From))
	}
	return 0
}

// slides reports whether a frame may begin behind its partition's first row.
func (f frame) slides() bool { return f.From.At != "start" }

// frames works out the frames of rows in their order.
type frames struct {
	frame
	peer   int // column of peers
	lo, hi frameEnd
	// low is the first row that may still be looked at.
	low int64
}

// A frameEnd is one bound on its way through the rows.
type frameEnd struct {
	row    int64
	at     *rowCursor
	peers  []int64        // of the cursor's batch
	enc    *order.Encoder // of keys at the cursor
	keys   order.Keys     // of its batch
	mine   *order.Encoder // of the bounds of the rows at hand
	bounds order.Keys
}

func newFrames(q *rowQueue, w window, peer int) *frames {
	f := &frames{frame: w.Frame, peer: peer}
	f.lo.at, f.hi.at = &rowCursor{q: q}, &rowCursor{q: q}
	return f
}

// bounds sets w.lo and w.hi: the first row of each frame, and the one behind its last.
func (f *frames) bounds(ctx context.Context, w *windowRows, main *rowCursor) error {
	w.lo, w.hi = make([]int64, w.n), make([]int64, w.n)
	for i, e := range []*frameEnd{&f.lo, &f.hi} {
		b := []bound{f.From, f.To}[i]
		if f.Unit != "range" || b.At != "by" {
			continue
		}
		if err := e.load(main.batch, int(b.By), f.Descending); err != nil {
			return err
		}
	}
	for _, p := range w.pieces {
		if p.fresh {
			f.lo.row, f.hi.row = p.begin, p.begin
		}
		end := p.end
		if end < 0 {
			end = f.hi.at.q.next
		}
		for row := p.from; row < p.to; row++ {
			i := row - w.from
			lo, hi, err := f.ends(ctx, row, p.begin, end, w.peers, i, int(row-main.start))
			if err != nil {
				return err
			}
			w.lo[i], w.hi[i] = lo, max(lo, hi)
		}
	}
	f.low = f.hi.row
	if f.slides() {
		f.low = min(f.low, f.lo.row)
	}
	return nil
}

// ends is the frame of a row, which is at place at of the main cursor's batch.
func (f *frames) ends(ctx context.Context, row, begin, end int64, peers []int64, i int64, at int) (lo, hi int64, err error) {
	clamp := func(r int64) int64 { return min(max(r, begin), end) }
	switch f.From.At {
	case "start":
		f.lo.row = begin
	case "current":
		if f.lo.row = row; f.Unit == "range" {
			f.lo.row = peers[i]
		}
	case "by":
		if f.Unit == "rows" {
			f.lo.row = clamp(row + f.From.By)
			break
		}
		if err := f.lo.move(ctx, f, end, at, 0); err != nil {
			return 0, 0, err
		}
	}
	switch f.To.At {
	case "end":
		f.hi.row = end
	case "current":
		if f.Unit == "rows" {
			f.hi.row = row + 1
			break
		}
		// What lies behind the row already was found by one of its peers.
		for f.hi.row = max(f.hi.row, row+1); f.hi.row < end; f.hi.row++ {
			moved, err := f.hi.at.seek(ctx, f.hi.row)
			if err != nil {
				return 0, 0, err
			}
			if moved {
				f.hi.peers = arrow.GetValues[int64](f.hi.at.batch.Column(f.peer).Data(), 1)
			}
			if f.hi.peers[f.hi.row-f.hi.at.start] != peers[i] {
				break
			}
		}
	case "by":
		if f.Unit == "rows" {
			f.hi.row = clamp(row + f.To.By + 1)
			break
		}
		if err := f.hi.move(ctx, f, end, at, 1); err != nil {
			return 0, 0, err
		}
	}
	return f.lo.row, f.hi.row, nil
}

// load reads the bounds of the rows at hand.
func (e *frameEnd) load(b dataflow.Batch, col int, descending bool) error {
	if e.mine == nil {
		var err error
		if e.mine, err = order.NewEncoder(b.Schema(), []dataflow.SortKey{{Column: col, Descending: descending}}); err != nil {
			return err
		}
	}
	e.bounds.Reset()
	return e.mine.Append(&e.bounds, b)
}

// move goes on while keys are before the bound of row at of the main batch, or, with
// limit 1, not behind it.
func (e *frameEnd) move(ctx context.Context, f *frames, end int64, at, limit int) error {
	for ; e.row < end; e.row++ {
		moved, err := e.at.seek(ctx, e.row)
		if err != nil {
			return err
		}
		if moved {
			if e.enc == nil {
				if e.enc, err = order.NewEncoder(e.at.batch.Schema(), []dataflow.SortKey{{Column: f.Key, Descending: f.Descending}}); err != nil {
					return err
				}
			}
			e.keys.Reset()
			if err := e.enc.Append(&e.keys, e.at.batch); err != nil {
				return err
			}
		}
		if e.keys.Compare(int(e.row-e.at.start), &e.bounds, at) >= limit {
			return nil
		}
	}
	return nil
}

func (f *frames) close() error { return closeCursors(f.lo.at, f.hi.at) }
