package ops

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("explode", "a row for each element of a list", func(a explode) (dataflow.Operator, error) { return a, nil })
}

// explode makes of each row as many as the list in Column has elements, each with one of
// them in the list's place and the other columns as they are. A row whose list is null
// or empty is left out; with Outer it stays, with a null. The elements of a map are
// structs of its keys and values.
type explode struct {
	Column int  `json:"column"`
	Outer  bool `json:"outer,omitempty"`
}

// Schema implements dataflow.Operator.
func (e explode) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	s, err := one("explode", in)
	if err != nil {
		return nil, err
	}
	if err := checkColumns(s, []int{e.Column}); err != nil {
		return nil, userError("explode", err)
	}
	fields := s.Fields()
	f := &fields[e.Column]
	elem, ok := elementOf(f.Type)
	if !ok {
		return nil, userError("explode", fmt.Errorf("column %q is of type %s, not a list", f.Name, f.Type))
	}
	f.Type, f.Nullable = elem.Type, elem.Nullable || e.Outer
	return arrow.NewSchema(fields, nil), nil
}

// elementOf is what a list holds.
func elementOf(t arrow.DataType) (arrow.Field, bool) {
	switch t := t.(type) {
	case *arrow.ListType:
		return t.ElemField(), true
	case *arrow.LargeListType:
		return t.ElemField(), true
	case *arrow.FixedSizeListType:
		return t.ElemField(), true
	case *arrow.MapType:
		return t.ElemField(), true
	}
	return arrow.Field{}, false
}

// Open implements dataflow.Operator.
func (e explode) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	return &explodeStream{explode: e, env: env, in: in[0]}, nil
}

type explodeStream struct {
	explode
	final
	env    *dataflow.Env
	in     dataflow.Stream
	schema *arrow.Schema

	b     dataflow.Batch // at hand, nil between two
	row   int            // of b
	at    int64          // the element of its list that comes next
	limit int            // rows of a batch that comes out

	rows, elems []order.Ref // of the next batch
}

// Next implements dataflow.Stream.
func (s *explodeStream) Next(ctx context.Context) (dataflow.Batch, error) { return s.next(ctx, s.step) }

func (s *explodeStream) step(ctx context.Context) (dataflow.Batch, error) {
	for {
		if s.b == nil {
			b, err := s.in.Next(ctx)
			if err != nil {
				return nil, err
			}
			if err := s.begin(b); err != nil {
				b.Release()
				return nil, err
			}
		}
		out, err := s.some()
		if err != nil {
			return nil, err
		}
		if s.row == int(s.b.NumRows()) {
			s.b.Release()
			s.b = nil
		}
		if out != nil {
			return out, nil
		}
	}
}

// begin takes over a batch.
func (s *explodeStream) begin(b dataflow.Batch) error {
	if s.schema == nil {
		var err error
		if s.schema, err = s.Schema(b.Schema()); err != nil {
			return err
		}
	}
	s.b, s.row, s.at = b, 0, 0
	list := b.Column(s.Column).(array.ListLike)
	// A row that comes out has its other columns and about one element.
	elems := int64(list.ListValues().Len())
	bytes := order.BatchBytes(b) - order.ArrayBytes(list)
	size := bytes / b.NumRows()
	if elems > 0 {
		size += order.ArrayBytes(list.ListValues()) / elems
	}
	rows, most := order.BatchLimits(s.env)
	s.limit = max(1, min(rows, most/max(1, int(size))))
	return nil
}

// some makes the next rows of the batch at hand, nil of none.
func (s *explodeStream) some() (dataflow.Batch, error) {
	s.rows, s.elems = s.rows[:0], s.elems[:0]
	list := s.b.Column(s.Column).(array.ListLike)
	n := int(s.b.NumRows())
	for s.row < n && len(s.rows) < s.limit {
		from, to := int64(0), int64(0)
		if list.IsValid(s.row) {
			from, to = list.ValueOffsets(s.row)
		}
		me := order.Ref{Row: int32(s.row)}
		if from == to && s.Outer {
			s.rows, s.elems = append(s.rows, me), append(s.elems, order.NullRef)
		}
		for from += s.at; from < to && len(s.rows) < s.limit; from++ {
			s.rows, s.elems = append(s.rows, me), append(s.elems, order.Ref{Row: int32(from)})
			s.at++
		}
		if from >= to {
			s.row, s.at = s.row+1, 0
		}
	}
	if len(s.rows) == 0 {
		return nil, nil
	}
	cols := make([]arrow.Array, 0, s.schema.NumFields())
	defer func() {
		for _, c := range cols {
			c.Release()
		}
	}()
	for c, f := range s.schema.Fields() {
		from, refs := s.b.Column(c), s.rows
		if c == s.Column {
			from, refs = list.ListValues(), s.elems
		}
		col, err := order.TakeColumn(s.env.Alloc, f.Type, []arrow.Array{from}, refs)
		if err != nil {
			return nil, fmt.Errorf("ops.explode: column %q: %w", f.Name, err)
		}
		cols = append(cols, col)
	}
	return array.NewRecordBatch(s.schema, cols, int64(len(s.rows))), nil
}

// Close implements dataflow.Stream.
func (s *explodeStream) Close() error {
	s.closed()
	if s.b != nil {
		s.b.Release()
		s.b = nil
	}
	return s.in.Close()
}
