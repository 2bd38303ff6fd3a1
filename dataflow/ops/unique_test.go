package ops

import (
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/ops/opstest"
)

func distinct(b dataflow.Batch, cols ...int) []string {
	seen := map[string]bool{}
	rows := []string{}
	for i := range int(b.NumRows()) {
		if k := opstest.Row(b, i, cols...); !seen[k] {
			seen[k] = true
			rows = append(rows, opstest.Row(b, i))
		}
	}
	return rows
}

func TestUnique(t *testing.T) {
	for _, typ := range opstest.Types() {
		for _, n := range []int{0, 1, 60} {
			b := random(7, n, typ, i64)
			opstest.Run(t, op(t, "unique", args{"columns": []int{0}}), []dataflow.Batch{b}, distinct(b, 0))
		}
	}
}

func TestUniqueSpills(t *testing.T) {
	for _, types := range [][]arrow.DataType{{i64, i64, str}, {str, arrow.PrimitiveTypes.Float64, i64}} {
		b := random(8, 3000, types...)
		opstest.Run(t, op(t, "unique", args{"columns": []int{1, 0}}), []dataflow.Batch{b}, distinct(b, 0, 1), opstest.Unordered(), opstest.Spills())
	}
}
