package order_test

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow/order"
)

// An array of no values need not have offsets.
func TestArrayBytesWithoutOffsets(t *testing.T) {
	data := memory.NewBufferBytes([]byte("bytes of nobody"))
	for _, dt := range []arrow.DataType{arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary} {
		none := array.NewData(dt, 0, []*memory.Buffer{nil, memory.NewBufferBytes(nil), data}, nil, 0, 0)
		if n := order.ArrayBytes(array.MakeFromData(none)); n != 0 {
			t.Errorf("%s: %d bytes, want 0", dt, n)
		}
	}
}
