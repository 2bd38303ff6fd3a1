package plan

import (
	"context"
	"io"
	"reflect"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// rows is a stream of so many batches of ten int64.
type rows struct {
	left   int
	sieves []dataflow.Sieve // it was told of
}

func (r *rows) Next(context.Context) (dataflow.Batch, error) {
	if r.left == 0 {
		return nil, io.EOF
	}
	r.left--
	rb := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil))
	defer rb.Release()
	for i := range 10 {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	return rb.NewRecordBatch(), nil
}

func (*rows) Close() error             { return nil }
func (r *rows) Sieve(v dataflow.Sieve) { r.sieves = append(r.sieves, v) }
func (*rows) Locate(row int) string    { return "here" }

// greedy passes its input's batches but the first, holds memory and spills.
type greedy struct{ dataflow.Operator }

func (greedy) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	if err := env.Memory.Reserve(500); err != nil {
		return nil, err
	}
	env.Memory.Release(200)
	env.Spilled(dataflow.SpillInfo{Bytes: 70})
	b, err := in[0].Next(env.Context)
	if err == nil {
		b.Release()
	}
	return in[0], err
}

func TestMeter(t *testing.T) {
	leaf := &tree{node: &dataflow.Node{Name: "in"}, input: 0}
	top := &tree{node: &dataflow.Node{Name: "greedy"}, op: greedy{}, in: []*tree{leaf}, input: -1}
	ops := number(top, nil)
	m := NewMeter(len(ops))
	env := dataflow.NewEnv(t.Context())
	env.Check = false
	var heard int64
	env.Events = &dataflow.Events{Spilled: func(i dataflow.SpillInfo) { heard += i.Bytes }}
	p := &Program{trees: []*tree{top}}
	s, err := p.OpenMetered(env, 0, m, func(int) (dataflow.Stream, error) { return &rows{left: 3}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if where := dataflow.Locate(s, 0); where != "here" {
		t.Errorf("the rows are from %q", where)
	}
	for {
		b, err := s.Next(t.Context())
		if err == io.EOF {
			break
		}
		b.Release()
	}
	got := m.Stats()
	for i := range got {
		if got[i].Nanos <= 0 {
			t.Errorf("operator %d took no time", i)
		}
		got[i].Nanos = 0
	}
	want := []OpStats{{Rows: 30, Bytes: 240}, {Rows: 20, Bytes: 160, Spilled: 70, PeakMemory: 500}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if heard != 70 || env.Memory.Used() != 300 {
		t.Errorf("the task heard of %d bytes spilled and holds %d", heard, env.Memory.Used())
	}
}

// What a join knows reaches the source through all that stands around an operator.
func TestSievesPass(t *testing.T) {
	r := &rows{}
	var s dataflow.Stream = NewMeter(1).stream(0, r)
	s = &placeChecker{Stream: s}
	dataflow.PutSieve(s, dataflow.Sieve{Columns: []string{"n"}})
	if len(r.sieves) != 1 || !reflect.DeepEqual(r.sieves[0].Columns, []string{"n"}) {
		t.Errorf("the source was told of %v", r.sieves)
	}
}

func TestAddOps(t *testing.T) {
	a := []OpStats{{Rows: 1, Bytes: 2, Nanos: 3, Spilled: 4, PeakMemory: 5}, {Rows: 10, PeakMemory: 1}}
	sum := AddOps(AddOps(nil, a, 1), a, 1)
	if want := []OpStats{{2, 4, 6, 8, 5}, {20, 0, 0, 0, 1}}; !reflect.DeepEqual(sum, want) {
		t.Errorf("%+v, want %+v", sum, want)
	}
	if got := AddOps(sum, a, -1); !reflect.DeepEqual(got, a) {
		t.Errorf("%+v, want %+v", got, a)
	}
}
