package expr_test

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow/expr"
)

func ExampleBind() {
	schema := arrow.NewSchema([]arrow.Field{{Name: "price", Type: arrow.PrimitiveTypes.Int64}, {Name: "item", Type: arrow.BinaryTypes.String}}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	rb.Field(0).(*array.Int64Builder).AppendValues([]int64{3, 5, 8}, nil)
	rb.Field(1).(*array.StringBuilder).AppendValues([]string{"apple", "pear", "apricot"}, nil)
	batch := rb.NewRecordBatch()
	defer batch.Release()

	cond := expr.Col("item").Like("ap%").And(expr.Col("price").Gt(2))
	filter, err := expr.BindFilter(schema, cond)
	if err != nil {
		fmt.Println(err)
		return
	}
	rows, _, err := filter.Evaluator(memory.DefaultAllocator).Select(batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	twice, err := expr.Bind(schema, expr.Col("price").Mul(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := twice.Evaluator(memory.DefaultAllocator).Eval(batch, rows)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer out[0].Release()
	fmt.Println(cond, rows, out[0])
	// Output: ((item like "ap%") and (price > 2)) [0 2] [6 16]
}
