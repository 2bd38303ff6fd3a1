package ops

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("window", "columns worked out of the rows around a row", func(a window) (dataflow.Operator, error) {
		if len(a.Functions) == 0 {
			return nil, errors.New("no functions are named")
		}
		a.Frame = a.Frame.orDefault(len(a.Order) > 0)
		return a, a.Frame.check(len(a.Order))
	})
}

// window adds a column per function to rows that come in the order of Partition (in
// any direction) and then Order. Rows alike in Partition are a partition; rows alike
// in Order too are peers. A function sees the rows of its row's partition, or those
// of Frame.
//
// It keeps rows from the first that a function still looks at to the last that it
// has to have seen: a few where frames are near, a whole partition where its end
// counts. They are spilled when memory is full, whatever their number.
type window struct {
	Partition []int              `json:"partition,omitempty"`
	Order     []dataflow.SortKey `json:"order,omitempty"`
	Frame     frame              `json:"frame,omitzero"`
	Functions []windowFunc       `json:"functions"`
}

// A windowFunc is one of
//
//	row_number         1, 2, ... in the partition
//	rank               row_number of the first peer
//	dense_rank         1, 2, ... by peers
//	ntile              1 to N, in parts whose sizes differ by one at most, larger ones first
//	lag, lead          Column, N rows before or after; null outside the partition
//	first, last        Column in the first or last row of the frame
//	count              rows of the frame whose Column is not null; without Column all
//	sum, min, max      of Column in the frame, as by aggregate; null of nothing
type windowFunc struct {
	Name   string `json:"name"`
	Fn     string `json:"fn"`
	Column int    `json:"column"` // -1: none
	N      int64  `json:"n,omitempty"`
}

// framed reports whether a function looks at the frame.
func (f windowFunc) framed() bool {
	switch f.Fn {
	case "first", "last", "count", "sum", "wide_sum", "min", "max":
		return true
	}
	return false
}

// field is the column that a function makes, and why it cannot.
func (f windowFunc) field(in *arrow.Schema, fr frame) (arrow.Field, error) {
	out := arrow.Field{Name: f.Name, Type: arrow.PrimitiveTypes.Int64}
	switch f.Fn {
	case "row_number", "rank", "dense_rank":
		return out, nil
	case "ntile":
		if f.N < 1 {
			return out, fmt.Errorf("%s: %d parts make no sense", f.Name, f.N)
		}
		return out, nil
	case "count":
		if f.Column < 0 {
			return out, nil
		}
	}
	if f.Column < 0 || f.Column >= in.NumFields() {
		return out, fmt.Errorf("%s: no column %d to look at: the rows have %d", f.Name, f.Column, in.NumFields())
	}
	arg := in.Field(f.Column)
	switch f.Fn {
	case "count":
	case "lag", "lead":
		if f.N < 0 {
			return out, fmt.Errorf("%s: %d rows make no sense: use the other of Lag and Lead", f.Name, f.N)
		}
		out.Type, out.Nullable = arg.Type, true
	case "first", "last":
		out.Type, out.Nullable = arg.Type, arg.Nullable || !fr.hasRow()
	case "sum", "wide_sum", "min", "max":
		a, err := newSlide(f.Fn, arg.Type)
		if err != nil {
			return out, fmt.Errorf("%s: %w", f.Name, err)
		}
		out.Type, out.Nullable = a.typ(), arg.Nullable || !fr.hasRow()
	default:
		return out, fmt.Errorf("%s: there is no window function %q", f.Name, f.Fn)
	}
	return out, nil
}

// sortedBy is an order in which rows may come.
func (w window) sortedBy() []dataflow.SortKey { return append(orderBy(w.Partition), w.Order...) }

// Schema implements dataflow.Operator.
func (w window) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	first, err := one("window", in)
	if err != nil {
		return nil, err
	}
	if by := w.sortedBy(); len(by) > 0 {
		if _, err := order.NewEncoder(first, by); err != nil {
			return nil, userError("window", err)
		}
	}
	if err := w.Frame.bind(first); err != nil {
		return nil, userError("window", err)
	}
	fields := first.Fields()
	for _, f := range w.Functions {
		out, err := f.field(first, w.Frame)
		if err != nil {
			return nil, userError("window", err)
		}
		fields = append(fields, out)
	}
	return arrow.NewSchema(fields, nil), nil
}

// Open implements dataflow.Operator.
func (w window) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	q := &rowQueue{env: env, name: "window", mem: held{memory: env.Memory}}
	s := &windowStream{window: w, env: env, in: in[0], q: q, main: &rowCursor{q: q}, marks: windowMarks{by: w.sortedBy(), parted: len(w.Partition)}}
	for _, f := range w.Functions {
		switch f.Fn {
		case "rank", "dense_rank":
			s.marks.peers = true
		case "ntile":
			s.toEnd = true
		case "lead":
			s.ahead = max(s.ahead, f.N)
		case "lag":
			s.behind = max(s.behind, f.N)
		}
		s.framed = s.framed || f.framed()
	}
	if s.framed {
		s.toEnd = s.toEnd || w.Frame.toEnd()
		s.toPeers = w.Frame.toPeers()
		s.marks.peers = s.marks.peers || s.toPeers
		s.ahead = max(s.ahead, w.Frame.ahead())
	}
	return s, nil
}

type windowStream struct {
	window
	final
	env *dataflow.Env
	in  dataflow.Stream
	q   *rowQueue

	schema *arrow.Schema
	main   *rowCursor // at the rows that come out next
	row    int64      // the first of them
	marks  windowMarks
	peer   int // the column of rows in the queue that names their first peer
	funcs  []windowEval
	frames *frames
	framed bool
	ended  bool

	// What must be known of a row's partition: its end, the row's last peer, so many
	// rows behind it; so many before it must be kept.
	toEnd, toPeers bool
	ahead, behind  int64
}

// A windowEval works functions out for rows, which come one after the other.
type windowEval interface {
	// eval puts the columns of its functions in their places.
	eval(ctx context.Context, mem memory.Allocator, w *windowRows, out []arrow.Array) error
	close() error
}

// windowRows are the rows that a function is to be worked out for.
type windowRows struct {
	from   int64 // the first
	n      int
	pieces []piece
	peers  []int64 // by row: its first peer, if asked for
	lo, hi []int64 // by row: its frame, if asked for
}

// A piece is rows of one partition, whose first row is begin and whose end, if it is
// known, end. It is the partition's first one where fresh.
type piece struct {
	from, to   int64
	begin, end int64
	fresh      bool
}

// Next implements dataflow.Stream.
func (s *windowStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *windowStream) step(ctx context.Context) (dataflow.Batch, error) {
	for s.row == s.q.next {
		if s.ended {
			return nil, io.EOF
		}
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := s.main.seek(ctx, s.row); err != nil {
		return nil, err
	}
	for !s.ended && !s.known(s.main.end-1) {
		if err := s.read(ctx); err != nil {
			return nil, err
		}
	}
	b, err := s.evaluate(ctx)
	if err != nil {
		return nil, err
	}
	s.row = s.main.end
	low := s.row - s.behind
	if s.framed {
		low = min(low, s.frames.low)
	}
	if err := s.q.drop(low); err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}

// known reports whether enough rows are there to work out a row.
func (s *windowStream) known(row int64) bool {
	if row < s.marks.last() {
		return true // its partition has ended
	}
	return !s.toEnd && row+s.ahead < s.q.next && (!s.toPeers || row < s.marks.peer)
}

// read puts the next batch into the queue, with the column of peers.
func (s *windowStream) read(ctx context.Context) error {
	b, err := s.in.Next(ctx)
	if err == io.EOF {
		s.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	defer b.Release()
	if s.schema == nil {
		if err := s.bind(b.Schema()); err != nil {
			return err
		}
	}
	peers, err := s.marks.mark(s.env.Alloc, b, s.q.next)
	if err != nil {
		return err
	}
	if peers == nil {
		b.Retain()
		return s.q.add(b)
	}
	defer peers.Release()
	cols := append(b.Columns()[:s.peer:s.peer], peers)
	fields := append(b.Schema().Fields()[:s.peer:s.peer], arrow.Field{Name: "(peers)", Type: arrow.PrimitiveTypes.Int64})
	return s.q.add(array.NewRecordBatch(arrow.NewSchema(fields, nil), cols, b.NumRows()))
}

func (s *windowStream) bind(in *arrow.Schema) error {
	var err error
	if s.schema, err = s.Schema(in); err != nil {
		return err
	}
	s.peer = in.NumFields()
	if s.framed {
		s.frames = newFrames(s.q, s.window, s.peer)
	}
	return s.bindFunctions(in)
}

// bindFunctions makes what works the functions out: those that look at the same rows
// share their cursors.
func (s *windowStream) bindFunctions(in *arrow.Schema) error {
	var all *slides
	values := map[windowFunc]*rowValues{}
	for i, f := range s.Functions {
		switch {
		case f.Fn == "lag" || f.Fn == "lead" || f.Fn == "first" || f.Fn == "last":
			key := windowFunc{Fn: f.Fn, N: f.N}
			v := values[key]
			if v == nil {
				v = &rowValues{fn: f.Fn, n: f.N, at: &rowCursor{q: s.q}}
				values[key] = v
				s.funcs = append(s.funcs, v)
			}
			v.cols, v.outs = append(v.cols, f.Column), append(v.outs, s.peer+i)
		case f.framed() && f.Column >= 0:
			a, err := newSlide(f.Fn, in.Field(f.Column).Type)
			if err != nil {
				return userError("window", err)
			}
			if all == nil {
				all = &slides{in: &rowCursor{q: s.q}, out: &rowCursor{q: s.q}}
				s.funcs = append(s.funcs, all)
			}
			all.fns, all.cols, all.outs = append(all.fns, a), append(all.cols, f.Column), append(all.outs, s.peer+i)
		default:
			s.funcs = append(s.funcs, &rankValues{fn: f.Fn, n: f.N, out: s.peer + i})
		}
	}
	return nil
}

// evaluate makes the output of the main cursor's batch from s.row on.
func (s *windowStream) evaluate(ctx context.Context) (dataflow.Batch, error) {
	b := s.main.batch
	w := &windowRows{from: s.row, n: int(s.main.end - s.row), pieces: s.marks.take(s.row, s.main.end, s.ended, s.q.next)}
	if s.marks.peers {
		w.peers = arrow.GetValues[int64](b.Column(s.peer).Data(), 1)[s.row-s.main.start:]
	}
	if s.framed {
		if err := s.frames.bounds(ctx, w, s.main); err != nil {
			return nil, err
		}
	}
	cols := make([]arrow.Array, s.schema.NumFields())
	defer func() {
		for _, c := range cols {
			if c != nil {
				c.Release()
			}
		}
	}()
	for i, c := range b.Columns()[:s.peer] {
		cols[i] = array.NewSlice(c, s.row-s.main.start, b.NumRows())
	}
	for _, f := range s.funcs {
		if err := f.eval(ctx, s.env.Alloc, w, cols); err != nil {
			return nil, fmt.Errorf("ops.window: %w", err)
		}
	}
	return array.NewRecordBatch(s.schema, cols, int64(w.n)), nil
}

// Close implements dataflow.Stream.
func (s *windowStream) Close() error {
	s.closed()
	err := s.in.Close()
	for _, f := range s.funcs {
		err = errors.Join(err, f.close())
	}
	s.funcs = nil
	if s.frames != nil {
		err = errors.Join(err, s.frames.close())
	}
	return errors.Join(err, s.main.close(), s.q.close())
}

// windowMarks notes where partitions and peers begin.
type windowMarks struct {
	by     []dataflow.SortKey // the first parted are of the partition
	parted int
	peers  bool

	part, all edge
	starts    []int64 // of partitions, from the one at hand on
	begun     bool    // rows of the first of them came out
	peer      int64   // the first peer of the last row
}

// last is the first row of the last partition.
func (m *windowMarks) last() int64 {
	if len(m.starts) == 0 {
		return 0
	}
	return m.starts[len(m.starts)-1]
}

// mark looks at the next batch, whose first row has a number. It gives the first
// peer of each row, if that is asked for.
func (m *windowMarks) mark(mem memory.Allocator, b dataflow.Batch, first int64) (arrow.Array, error) {
	n := int(b.NumRows())
	if first == 0 {
		m.starts = append(m.starts, 0)
	}
	if m.parted > 0 {
		err := m.part.find(b, m.by[:m.parted], func(i int) {
			if row := first + int64(i); row > 0 {
				m.starts = append(m.starts, row)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if !m.peers {
		return nil, nil
	}
	buf := zeroBytes(mem, 8*n)
	defer buf.Release()
	dst := arrow.Int64Traits.CastFromBytes(buf.Bytes())
	at := 0
	fill := func(to int) {
		for ; at < to; at++ {
			dst[at] = m.peer
		}
	}
	if len(m.by) > 0 {
		err := m.all.find(b, m.by, func(i int) {
			fill(i)
			m.peer = first + int64(i)
		})
		if err != nil {
			return nil, err
		}
	}
	fill(n)
	return newArray(arrow.PrimitiveTypes.Int64, n, 0, nil, buf), nil
}

// take cuts rows into pieces by partition and forgets the partitions before the last.
func (m *windowMarks) take(from, to int64, ended bool, next int64) []piece {
	var out []piece
	for from < to {
		for len(m.starts) > 1 && m.starts[1] <= from {
			m.starts, m.begun = m.starts[1:], false
		}
		p := piece{from: from, to: to, begin: m.starts[0], end: -1, fresh: !m.begun}
		switch {
		case len(m.starts) > 1:
			p.end = m.starts[1]
			p.to = min(to, p.end)
		case ended:
			p.end = next
		}
		m.begun = true
		from = p.to
		out = append(out, p)
	}
	return out
}

// An edge finds the rows that differ from the one before them, over batches.
type edge struct {
	enc       *order.Encoder
	last, cur order.Keys
}

func (e *edge) find(b dataflow.Batch, by []dataflow.SortKey, differs func(i int)) error {
	if e.enc == nil {
		var err error
		if e.enc, err = order.NewEncoder(b.Schema(), by); err != nil {
			return err
		}
	}
	e.cur.Reset()
	if err := e.enc.Append(&e.cur, b); err != nil {
		return err
	}
	if e.last.Len() == 0 || e.last.Compare(0, &e.cur, 0) != 0 {
		differs(0)
	}
	for i := 1; i < e.cur.Len(); i++ {
		if e.cur.Compare(i-1, &e.cur, i) != 0 {
			differs(i)
		}
	}
	e.last.Reset()
	e.last.AppendFrom(&e.cur, e.cur.Len()-1)
	return nil
}
