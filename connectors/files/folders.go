package files

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/dataflow"
)

// folders divides rows among folders called column=value, as Hive has them. The
// columns that name the folders are not in the files.
type folders struct {
	names   []string // escaped
	columns []int
	own     *arrow.Schema // of the other columns
	rest    []int
}

// checkPartitionBy refuses columns that can name no folders.
func checkPartitionBy(names []string) error {
	for i, n := range names {
		switch {
		case n == "":
			return fmt.Errorf("partition_by names a column without a name")
		case slices.Contains(names[:i], n):
			return fmt.Errorf("partition_by names column %q twice", n)
		case strings.HasPrefix(n, "_"), strings.HasPrefix(n, "."):
			return fmt.Errorf("folders of column %q would be hidden: readers pass over names that begin with %q; rename the column", n, n[:1])
		}
	}
	return nil
}

// newFolders finds the columns in the schema of the rows.
func newFolders(schema *arrow.Schema, names []string) (*folders, error) {
	f := &folders{}
	for _, n := range names {
		at, err := ColumnIndex("files.Write", schema, n)
		if err != nil {
			return nil, err
		}
		if t := schema.Field(at).Type; arrow.IsNested(t.ID()) || t.ID() == arrow.NULL {
			return nil, &dataflow.Error{Op: "files.Write", Kind: dataflow.User, Err: fmt.Errorf("column %q is of type %s, which names no folder", n, t)}
		}
		f.columns = append(f.columns, at)
		f.names = append(f.names, string(escapeFolder(nil, []byte(n))))
	}
	var fields []arrow.Field
	for i, field := range schema.Fields() {
		if !slices.Contains(f.columns, i) {
			fields, f.rest = append(fields, field), append(f.rest, i)
		}
	}
	if len(fields) == 0 {
		return nil, &dataflow.Error{Op: "files.Write", Kind: dataflow.User, Err: fmt.Errorf("all columns name folders: nothing is left for the files")}
	}
	f.own = arrow.NewSchema(fields, nil)
	return f, nil
}

// each calls do for the rows of a batch, those that follow each other in one folder
// together, without the columns that say which folder.
func (f *folders) each(b dataflow.Batch, do func(folder string, rows dataflow.Batch) error) error {
	printers := make([]Printer, len(f.columns))
	for i, c := range f.columns {
		var err error
		if printers[i], err = PrinterOf(b.Column(c)); err != nil {
			return &dataflow.Error{Op: "files.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: err}
		}
	}
	var folder, next, value []byte
	n := int(b.NumRows())
	lo := 0
	for row := 0; row <= n; row++ {
		if row < n {
			next = next[:0]
			for i, c := range f.columns {
				if i > 0 {
					next = append(next, '/')
				}
				next = append(append(next, f.names[i]...), '=')
				if b.Column(c).IsNull(row) {
					next = append(next, hiveNull...)
					continue
				}
				value = printers[i](value[:0], row)
				next = escapeFolder(next, value)
			}
		}
		if row == 0 {
			folder = append(folder, next...)
		}
		if row == n || !bytes.Equal(folder, next) {
			rows := f.take(b, lo, row)
			err := do(string(folder), rows)
			rows.Release()
			if err != nil {
				return err
			}
			lo = row
			folder = append(folder[:0], next...)
		}
	}
	return nil
}

// take is some rows without the columns of folders.
func (f *folders) take(b dataflow.Batch, lo, hi int) dataflow.Batch {
	cols := make([]arrow.Array, len(f.rest))
	for i, c := range f.rest {
		cols[i] = array.NewSlice(b.Column(c), int64(lo), int64(hi))
		defer cols[i].Release()
	}
	return array.NewRecordBatch(f.own, cols, int64(hi-lo))
}

// escapeFolder appends a value as Hive writes it in the name of a folder: %XX for what
// file systems or Hive itself give a meaning, its name for null for nothing. A text
// that looks like that name is escaped, so that it stays one, and so is what is not
// UTF-8, which receipts cannot carry.
func escapeFolder(dst, value []byte) []byte {
	if len(value) == 0 {
		return append(dst, hiveNull...)
	}
	for i := 0; i < len(value); {
		c := value[i]
		r, n := utf8.DecodeRune(value[i:])
		if r == utf8.RuneError && n == 1 || c < ' ' || c == 0x7f || strings.IndexByte(`"#%'*/:=?\{[]^`, c) >= 0 || i == 0 && string(value) == hiveNull {
			dst, n = fmt.Appendf(dst, "%%%02X", c), 1
		} else {
			dst = append(dst, value[i:i+n]...)
		}
		i += n
	}
	return dst
}
