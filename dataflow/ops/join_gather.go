package ops

import (
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/dataflow/order"
)

// plainBytes is how many bytes a value of a type has, where a column is nothing but such
// values, 4, 8 or 16 each; 0 otherwise.
func plainBytes(t arrow.DataType) int {
	switch t.(type) {
	case *arrow.DictionaryType, arrow.NestedType, arrow.ExtensionType:
		return 0
	}
	if t, ok := t.(arrow.FixedWidthDataType); ok {
		switch t.BitWidth() {
		case 32, 64, 128:
			return t.BitWidth() / 8
		}
	}
	return 0
}

// takeRows makes a column of rows of a, in that order; -1 is a row of null.
func takeRows(mem memory.Allocator, a arrow.Array, rows []int32) (arrow.Array, error) {
	all := int32(0)
	for _, r := range rows {
		all |= r
	}
	if plainBytes(a.DataType()) > 0 && all >= 0 {
		if u, ok := mem.(dataflow.Unclearer); ok {
			mem = u.Uncleared()
		}
		return expr.Gather(mem, a, rows)
	}
	refs := make([]order.Ref, len(rows))
	for i, r := range rows {
		refs[i] = order.Ref{Batch: r >> 31, Row: r}
	}
	return order.TakeColumn(mem, a.DataType(), []arrow.Array{a}, refs)
}

// takePlaces is takeRows of a column that lies in several arrays.
func takePlaces(mem memory.Allocator, t arrow.DataType, arrs []arrow.Array, places *order.Locator, rows []int32) (arrow.Array, error) {
	if len(arrs) == 1 {
		return takeRows(mem, arrs[0], rows)
	}
	refs := make([]order.Ref, len(rows))
	for i, r := range rows {
		if refs[i] = order.NullRef; r >= 0 {
			refs[i] = places.Ref(r)
		}
	}
	return order.TakeColumn(mem, t, arrs, refs)
}
