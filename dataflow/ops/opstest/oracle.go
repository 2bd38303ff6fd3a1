package opstest

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// Row spells a row out, so that rows are alike when their text is: an oracle may
// use it as a map key. All NaNs are alike, and so are 0 and -0.
func Row(b dataflow.Batch, i int, cols ...int) string {
	var s strings.Builder
	if len(cols) == 0 {
		for c := range int(b.NumCols()) {
			spell(&s, b.Column(c), i)
		}
	}
	for _, c := range cols {
		spell(&s, b.Column(c), i)
	}
	return s.String()
}

// Rows spells all rows of batches out.
func Rows(bs ...dataflow.Batch) []string {
	var rows []string
	for _, b := range bs {
		for i := range int(b.NumRows()) {
			rows = append(rows, Row(b, i))
		}
	}
	return rows
}

func spell(s *strings.Builder, a arrow.Array, i int) {
	if a.IsNull(i) {
		s.WriteString("null|")
		return
	}
	switch a := a.(type) {
	case *array.Struct:
		s.WriteString("{")
		for f := range a.NumField() {
			spell(s, a.Field(f), i)
		}
		s.WriteString("}|")
	case array.ListLike:
		s.WriteString("[")
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			spell(s, a.ListValues(), int(j))
		}
		s.WriteString("]|")
	case *array.Dictionary:
		spell(s, a.Dictionary(), a.GetValueIndex(i))
	default:
		if f, ok := float(a, i); ok {
			fmt.Fprintf(s, "%v|", f+0) // -0 + 0 is 0
			return
		}
		if b, ok := text(a, i); ok {
			fmt.Fprintf(s, "%q|", b)
			return
		}
		s.WriteString(a.ValueStr(i) + "|")
	}
}

func float(a arrow.Array, i int) (float64, bool) {
	switch a := a.(type) {
	case *array.Float16:
		return float64(a.Value(i).Float32()), true
	case *array.Float32:
		return float64(a.Value(i)), true
	case *array.Float64:
		return a.Value(i), true
	}
	return 0, false
}

func text(a arrow.Array, i int) ([]byte, bool) {
	switch a := a.(type) {
	case *array.String:
		return []byte(a.Value(i)), true
	case *array.LargeString:
		return []byte(a.Value(i)), true
	case *array.Binary:
		return a.Value(i), true
	case *array.LargeBinary:
		return a.Value(i), true
	case *array.FixedSizeBinary:
		return a.Value(i), true
	}
	return nil, false
}

// CompareRows orders two rows by keys, value by value.
func CompareRows(keys []dataflow.SortKey, a dataflow.Batch, i int, b dataflow.Batch, j int) int {
	for _, k := range keys {
		c := Compare(a.Column(k.Column), i, b.Column(k.Column), j)
		if k.Descending {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// Compare orders two values of one type as package order says, without bytes.
func Compare(a arrow.Array, i int, b arrow.Array, j int) int {
	if a.IsNull(i) || b.IsNull(j) {
		return cmp.Compare(rank(a.IsValid(i)), rank(b.IsValid(j)))
	}
	if x, ok := float(a, i); ok {
		y, _ := float(b, j)
		switch {
		case math.IsNaN(x) || math.IsNaN(y):
			return cmp.Compare(rank(math.IsNaN(x)), rank(math.IsNaN(y)))
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	}
	if x, ok := text(a, i); ok {
		y, _ := text(b, j)
		return bytes.Compare(x, y)
	}
	switch a := a.(type) {
	case *array.Boolean:
		return cmp.Compare(rank(a.Value(i)), rank(b.(*array.Boolean).Value(j)))
	case *array.Uint64:
		return cmp.Compare(a.Value(i), b.(*array.Uint64).Value(j))
	case *array.Decimal128:
		return a.Value(i).Cmp(b.(*array.Decimal128).Value(j))
	case *array.Struct:
		for f := range a.NumField() {
			if c := Compare(a.Field(f), i, b.(*array.Struct).Field(f), j); c != 0 {
				return c
			}
		}
		return 0
	case array.ListLike:
		l := b.(array.ListLike)
		from, to := a.ValueOffsets(i)
		from2, to2 := l.ValueOffsets(j)
		for x := int64(0); from+x < to && from2+x < to2; x++ {
			if c := Compare(a.ListValues(), int(from+x), l.ListValues(), int(from2+x)); c != 0 {
				return c
			}
		}
		return cmp.Compare(to-from, to2-from2)
	case *array.Dictionary:
		d := b.(*array.Dictionary)
		return Compare(a.Dictionary(), a.GetValueIndex(i), d.Dictionary(), d.GetValueIndex(j))
	}
	return cmp.Compare(integer(a, i), integer(b, j))
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func integer(a arrow.Array, i int) int64 {
	switch a := a.(type) {
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Uint8:
		return int64(a.Value(i))
	case *array.Uint16:
		return int64(a.Value(i))
	case *array.Uint32:
		return int64(a.Value(i))
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.Date32:
		return int64(a.Value(i))
	case *array.Date64:
		return int64(a.Value(i))
	case *array.Time32:
		return int64(a.Value(i))
	case *array.Time64:
		return int64(a.Value(i))
	case *array.Duration:
		return int64(a.Value(i))
	}
	panic("opstest: no order of " + a.DataType().String())
}
