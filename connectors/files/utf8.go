package files

import (
	"bytes"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// CheckText refuses texts of a batch that are not UTF-8, for formats whose other readers
// rely on it: texts here are strings of Go, which may hold any bytes. first is the number
// of the batch's first row, from 0. The error is of kind User and wraps
// dataflow.ErrMalformed; it names the column and the row.
func CheckText(op string, b dataflow.Batch, first int64) error {
	for c, col := range b.Columns() {
		if textIn(col) {
			continue
		}
		for row := range col.Len() {
			if bad, ok := textAt(col, row); !ok {
				if len(bad) > shownBytes {
					bad = bad[:shownBytes]
				}
				return &dataflow.Error{Op: op, Kind: dataflow.User,
					Err: fmt.Errorf("%w: column %s, row %d: the text is not UTF-8: %q", dataflow.ErrMalformed, b.ColumnName(c), first+int64(row), bad),
					Try: "make the column one of bytes ([]byte), or mend the text (strings.ToValidUTF8)"}
			}
		}
	}
	return nil
}

// MarkLen is the length of the byte order mark that a text begins with, 0 where it has none.
func MarkLen(text []byte) int {
	if bytes.HasPrefix(text, []byte("\xef\xbb\xbf")) {
		return 3
	}
	return 0
}

// textIn reports whether all texts of a column are UTF-8. It is fast, and may say no
// where only what no row shows is not.
func textIn(arr arrow.Array) bool {
	if arr.Len() == 0 {
		return true // it may have no offsets: the texts of lists that are all empty
	}
	switch a := arr.(type) {
	case *array.String:
		return textRuns(a.ValueBytes(), a.Len(), func(i int) int64 { return int64(a.ValueOffset(i) - a.ValueOffset(0)) })
	case *array.LargeString:
		return textRuns(a.ValueBytes(), a.Len(), func(i int) int64 { return a.ValueOffset(i) - a.ValueOffset(0) })
	case *array.Dictionary:
		return textIn(a.Dictionary())
	case *array.Map:
		return textIn(a.Keys()) && textIn(a.Items())
	case array.ListLike:
		return textIn(a.ListValues())
	case *array.Struct:
		for i := range a.NumField() {
			if !textIn(a.Field(i)) {
				return false
			}
		}
	}
	return true
}

// textRuns says whether n texts that follow each other are UTF-8, each by itself.
func textRuns(all []byte, n int, at func(i int) int64) bool {
	if !utf8.Valid(all) {
		return false
	}
	for i := 1; i < n; i++ {
		if o := at(i); o < int64(len(all)) && !utf8.RuneStart(all[o]) {
			return false
		}
	}
	return true
}

// textAt says whether all texts of a row are UTF-8, and else which is not.
func textAt(arr arrow.Array, row int) (bad string, ok bool) {
	if arr.IsNull(row) {
		return "", true
	}
	items := func(values arrow.Array, from, to int64) (string, bool) {
		for i := from; i < to; i++ {
			if bad, ok := textAt(values, int(i)); !ok {
				return bad, false
			}
		}
		return "", true
	}
	switch a := arr.(type) {
	case *array.String:
		return a.Value(row), utf8.ValidString(a.Value(row))
	case *array.LargeString:
		return a.Value(row), utf8.ValidString(a.Value(row))
	case *array.Dictionary:
		return textAt(a.Dictionary(), a.GetValueIndex(row))
	case *array.Map:
		from, to := a.ValueOffsets(row)
		if bad, ok := items(a.Keys(), from, to); !ok {
			return bad, false
		}
		return items(a.Items(), from, to)
	case array.ListLike:
		from, to := a.ValueOffsets(row)
		return items(a.ListValues(), from, to)
	case *array.Struct:
		for i := range a.NumField() {
			if bad, ok := textAt(a.Field(i), row); !ok {
				return bad, false
			}
		}
	}
	return "", true
}
