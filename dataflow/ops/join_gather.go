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

// A builtColumn is one of the build side's, as it is gathered from.
type builtColumn struct {
	arrs   []arrow.Array // a batch each, or all put together
	narrow *narrow       // the same, where it can be
}

// take makes a column of some rows, in that order; -1 is a row of null.
func (c *builtColumn) take(mem memory.Allocator, t arrow.DataType, places *order.Locator, rows []int32) (arrow.Array, error) {
	if c.narrow != nil && !anyNull(rows) {
		return c.narrow.take(mem, rows), nil
	}
	if len(c.arrs) == 1 {
		return takeRows(mem, c.arrs[0], rows)
	}
	refs := make([]order.Ref, len(rows))
	for i, r := range rows {
		if refs[i] = order.NullRef; r >= 0 {
			refs[i] = places.Ref(r)
		}
	}
	return order.TakeColumn(mem, t, c.arrs, refs)
}

// takeRows makes a column of rows of a, in that order; -1 is a row of null.
func takeRows(mem memory.Allocator, a arrow.Array, rows []int32) (arrow.Array, error) {
	if plainBytes(a.DataType()) > 0 && !anyNull(rows) {
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

// anyNull says that some row is -1.
func anyNull(rows []int32) bool {
	all := int32(0)
	for _, r := range rows {
		all |= r
	}
	return all < 0
}
