package ops

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

// exploded is what explode gives, by loops.
func exploded(b dataflow.Batch, outer bool) []string {
	rows := []string{}
	list := b.Column(1).(array.ListLike)
	elems := array.NewRecordBatch(opstest.SchemaOf(list.ListValues().DataType()), []arrow.Array{list.ListValues()}, int64(list.ListValues().Len()))
	for i := range int(b.NumRows()) {
		from, to := list.ValueOffsets(i)
		if list.IsNull(i) {
			to = from
		}
		before, after := opstest.Row(b, i, 0), opstest.Row(b, i, 2)
		if from == to && outer {
			rows = append(rows, before+"null|"+after)
		}
		for e := from; e < to; e++ {
			rows = append(rows, before+opstest.Row(elems, int(e))+after)
		}
	}
	return rows
}

func TestExplode(t *testing.T) {
	for _, typ := range []arrow.DataType{
		arrow.ListOf(str), arrow.LargeListOf(i64), arrow.FixedSizeListOf(3, i64), arrow.ListOf(arrow.ListOf(i16)),
		arrow.ListOf(arrow.StructOf(arrow.Field{Name: "x", Type: i64, Nullable: true})),
	} {
		for _, n := range []int{0, 1, 60} {
			b := random(31, n, i64, typ, str)
			for _, outer := range []bool{false, true} {
				opstest.Run(t, op(t, "explode", args{"column": 1, "outer": outer}), []dataflow.Batch{b}, exploded(b, outer))
			}
		}
	}
	// A slice of lists begins in the middle of their elements.
	b := random(32, 50, i64, arrow.ListOf(str), str).NewSlice(20, 45)
	opstest.Run(t, op(t, "explode", args{"column": 1}), []dataflow.Batch{b}, exploded(b, false))
	for _, c := range []int{0, 7, -1} {
		if _, err := op(t, "explode", args{"column": c}).Schema(b.Schema()); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("column %d: %v", c, err)
		}
	}
}

// One row with a long list comes out in batches as others do.
func TestExplodeLongList(t *testing.T) {
	env := dataflow.NewEnv(t.Context())
	env.BatchRows = 100
	rb := array.NewRecordBuilder(env.Alloc, opstest.SchemaOf(i64, arrow.ListOf(i64)))
	rb.Field(0).(*array.Int64Builder).Append(7)
	list := rb.Field(1).(*array.ListBuilder)
	list.Append(true)
	for i := range 1050 {
		list.ValueBuilder().(*array.Int64Builder).Append(int64(i))
	}
	e := op(t, "explode", args{"column": 1})
	s, err := e.Open(env, opstest.Slice(env.Alloc, rb.NewRecordBatch(), 10))
	if err != nil {
		t.Fatal(err)
	}
	out, err := opstest.Collect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for _, b := range out {
		if b.NumRows() > 100 {
			t.Errorf("a batch of %d rows", b.NumRows())
		}
		for i, v := range b.Column(1).(*array.Int64).Int64Values() {
			if v != n || b.Column(0).(*array.Int64).Value(i) != 7 {
				t.Fatalf("row %d has element %d", n, v)
			}
			n++
		}
	}
	if n != 1050 {
		t.Errorf("%d rows, want 1050", n)
	}
}
