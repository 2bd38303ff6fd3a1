package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A Literal is rows that stand in the job itself.
type Literal[T any] struct {
	values []T
	splits int
}

// FromSlice is the values given. They travel in the plan, so it is for tests and
// small tables (a megabyte, not more); anything larger is a file.
func FromSlice[T any](values []T) Literal[T] { return Literal[T]{values, 1} }

// Splits says how many tasks read the values; without it, one.
func (l Literal[T]) Splits(n int) Literal[T] {
	l.splits = max(1, n)
	return l
}

const literalBytesMax = 16 << 20

func (l Literal[T]) source(j *Job, c *codec[T]) (name string, ref Ref) {
	name = "Read literal"
	defer func() {
		if e, ok := recover().(*Error); ok { // a value that its column cannot hold
			j.Errorf("FromSlice: %v", e)
		}
	}()
	env := NewEnv(context.Background())
	env.BatchRows, env.BatchBytes = 1<<30, 1<<30
	w := c.writer(env)
	for _, v := range l.values {
		w.append(v)
	}
	b := w.batch()
	defer b.Release()
	args := literalArgs{Rows: w.n, Splits: l.splits}
	args.Rows = len(l.values)
	size := 0
	for i, f := range c.schema.Fields() {
		args.Columns = append(args.Columns, literalField{f.Name, f.Nullable, literalTypeOf(f.Type)})
		args.Data = append(args.Data, literalDataOf(b.Column(i).Data(), &size))
	}
	if size > literalBytesMax {
		j.Errorf("FromSlice: %d values are %d bytes; more than %d do not belong in a job: write them to a file", len(l.values), size, literalBytesMax)
		return name, Ref{Kind: literalKind}
	}
	return name, Ref{Kind: literalKind, Args: encodeArgs(args)}
}

const literalKind = "literal"

func init() {
	RegisterSource(SourceKind{Kind: literalKind, Summary: "rows that stand in the job itself", Build: func(raw []byte) (Source, error) {
		s := &literalSource{}
		if err := json.Unmarshal(raw, &s.args); err != nil {
			return nil, &Error{Op: literalKind, Kind: User, Err: err}
		}
		var err error
		s.schema, err = s.args.schema()
		return s, err
	}})
}

type literalArgs struct {
	Rows    int            `json:"rows"`
	Splits  int            `json:"splits"`
	Columns []literalField `json:"columns"`
	Data    []*literalData `json:"data"`
}

func (a *literalArgs) schema() (*arrow.Schema, error) {
	fields, err := arrowFields(a.Columns)
	if err != nil {
		return nil, &Error{Op: literalKind, Kind: User, Err: err}
	}
	if len(a.Data) != len(fields) {
		return nil, &Error{Op: literalKind, Kind: User, Err: errors.New("columns and data differ in number")}
	}
	return arrow.NewSchema(fields, nil), nil
}

type literalSource struct {
	args   literalArgs
	schema *arrow.Schema
}

// Schema implements Source.
func (s *literalSource) Schema(context.Context) (*arrow.Schema, error) { return s.schema, nil }

// Splits implements Source.
func (s *literalSource) Splits(context.Context, SplitHint) ([]Split, error) {
	var out []Split
	n := max(1, min(s.args.Splits, s.args.Rows))
	for i := range n {
		out = append(out, Split{ID: strconv.Itoa(i), Payload: []byte(fmt.Sprintf("%d %d", s.args.Rows*i/n, s.args.Rows*(i+1)/n))})
	}
	return out, nil
}

// Open implements Source.
func (s *literalSource) Open(env *Env, split Split) (Stream, error) {
	var from, to int
	if _, err := fmt.Sscanf(string(split.Payload), "%d %d", &from, &to); err != nil || from < 0 || to > s.args.Rows || from > to {
		return nil, &Error{Op: literalKind, Kind: Fatal, Err: fmt.Errorf("split %q is not one of this source", split.Payload)}
	}
	cols := make([]arrow.Array, len(s.args.Data))
	for i, d := range s.args.Data {
		data := d.arrow(s.schema.Field(i).Type, env.Alloc)
		cols[i] = array.MakeFromData(data)
		data.Release()
		defer cols[i].Release()
	}
	all := array.NewRecordBatch(s.schema, cols, int64(s.args.Rows))
	return &literalStream{env: env, all: all, next: from, end: to}, nil
}

type literalStream struct {
	env              *Env
	all              Batch
	first, next, end int
}

// Next implements Stream.
func (s *literalStream) Next(context.Context) (Batch, error) {
	if s.all == nil || s.next == s.end {
		return nil, io.EOF
	}
	s.first = s.next
	s.next = min(s.end, s.first+max(1, s.env.BatchRows))
	return s.all.NewSlice(int64(s.first), int64(s.next)), nil
}

// Close implements Stream.
func (s *literalStream) Close() error {
	if s.all != nil {
		s.all.Release()
		s.all = nil
	}
	return nil
}

// Locate implements Locator.
func (s *literalStream) Locate(row int) string { return fmt.Sprintf("literal[%d]", s.first+row) }

// literalData is an array's buffers.
type literalData struct {
	Rows    int            `json:"rows"`
	Nulls   int            `json:"nulls,omitempty"`
	Buffers [][]byte       `json:"buffers"` // an absent one is null
	Kids    []*literalData `json:"kids,omitempty"`
}

func literalDataOf(d arrow.ArrayData, size *int) *literalData {
	l := &literalData{Rows: d.Len(), Nulls: d.NullN()}
	for _, b := range d.Buffers() {
		if b == nil {
			l.Buffers = append(l.Buffers, nil)
			continue
		}
		*size += b.Len()
		l.Buffers = append(l.Buffers, append([]byte{}, b.Bytes()...))
	}
	for _, k := range d.Children() {
		l.Kids = append(l.Kids, literalDataOf(k, size))
	}
	return l
}

func (l *literalData) arrow(t arrow.DataType, mem memory.Allocator) arrow.ArrayData {
	var bufs []*memory.Buffer
	for _, raw := range l.Buffers {
		if raw == nil {
			bufs = append(bufs, nil)
			continue
		}
		b := memory.NewResizableBuffer(mem)
		b.Resize(len(raw))
		copy(b.Bytes(), raw)
		bufs = append(bufs, b)
	}
	var kids []arrow.ArrayData
	if n, ok := t.(arrow.NestedType); ok {
		for i, f := range n.Fields() {
			kids = append(kids, l.Kids[i].arrow(f.Type, mem))
		}
	}
	d := array.NewData(t, l.Rows, bufs, kids, l.Nulls, 0)
	for _, b := range bufs {
		if b != nil {
			b.Release()
		}
	}
	for _, k := range kids {
		k.Release()
	}
	return d
}
