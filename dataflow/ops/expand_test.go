package ops

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

func TestExpand(t *testing.T) {
	o := op(t, "expand", args{"rows": [][]named{
		{{"tag", expr.Lit(int8(0))}, {"k", expr.Col("k")}, {"n", expr.Null(i64)}},
		{{"tag", expr.Lit(int8(1))}, {"k", expr.Null(arrow.BinaryTypes.String)}, {"n", expr.Col("n").Mul(2)}},
		{{"tag", expr.Lit(int8(2))}, {"k", expr.Col("k")}, {"n", expr.Col("n")}},
	}})
	for _, rows := range []int{0, 1, 50, 700} {
		b := sales(rows, 20)
		rb := array.NewRecordBuilder(memory.DefaultAllocator, opstest.SchemaOf(i8, str, i64))
		k, n := b.Column(0).(*array.String), b.Column(4).(*array.Int64)
		for i := range rows {
			for tag := range 3 {
				rb.Field(0).(*array.Int8Builder).Append(int8(tag))
				if tag == 1 || k.IsNull(i) {
					rb.Field(1).AppendNull()
				} else {
					rb.Field(1).(*array.StringBuilder).Append(k.Value(i))
				}
				if tag == 0 {
					rb.Field(2).AppendNull()
				} else {
					rb.Field(2).(*array.Int64Builder).Append(n.Value(i) * int64(3-tag))
				}
			}
		}
		want := rb.NewRecordBatch()
		opstest.Run(t, o, []dataflow.Batch{b}, opstest.Rows(want), opstest.Unordered())
		want.Release()
		rb.Release()
	}
}

func TestExpandRefuses(t *testing.T) {
	in := sales(1, 1).Schema()
	for want, rows := range map[string][][]named{
		"no rows":             nil,
		"has 1 columns":       {{{"a", expr.Col("n")}, {"b", expr.Col("n")}}, {{"a", expr.Col("n")}}},
		"column 0 of row 1":   {{{"a", expr.Col("n")}}, {{"a", expr.Col("k")}}},
		"is b of type":        {{{"a", expr.Col("n")}}, {{"b", expr.Col("n")}}},
		`no column "nothing"`: {{{"a", expr.Col("nothing")}}},
	} {
		raw, err := json.Marshal(args{"rows": rows})
		if err != nil {
			t.Fatal(err)
		}
		o, err := dataflow.NewOperator("expand", raw)
		if err == nil {
			_, err = o.Schema(in)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
