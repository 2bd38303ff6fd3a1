package files

import (
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// divide takes a predicate apart: what is about columns of folders alone, which
// decides whether a file is read at all, and what is about columns of files alone,
// which the format may use. What is about both is left to whoever gets the rows.
func (p partitioned) divide(predicate expr.Expr) (folders, own expr.Expr) {
	if predicate.IsZero() {
		return predicate, predicate
	}
	var of [2][]expr.Expr
	for _, c := range expr.Conjuncts(predicate) {
		names := expr.Columns(c)
		at := 1
		if slices.ContainsFunc(names, p.has) {
			at = 0
			if slices.ContainsFunc(names, func(n string) bool { return !p.has(n) }) {
				continue
			}
		}
		of[at] = append(of[at], c)
	}
	if len(of[0]) > 0 {
		folders = expr.All(of[0]...)
	}
	if len(of[1]) > 0 {
		own = expr.All(of[1]...)
	}
	return folders, own
}

// prune leaves out the files in whose folders no row can fulfil the predicate. A file
// whose folders do not say, or say it wrong, stays: reading it tells what is the matter.
func (p partitioned) prune(found []foundFile) ([]foundFile, error) {
	if p.folders.IsZero() {
		return found, nil
	}
	schema := arrow.NewSchema(p.folderFields(), nil)
	bound, err := expr.BindFilter(schema, p.folders)
	if err != nil {
		return nil, &dataflow.Error{Op: "files.Source", Kind: dataflow.User, Err: err}
	}
	filter := bound.Evaluator(memory.DefaultAllocator)
	return slices.DeleteFunc(slices.Clone(found), func(f foundFile) bool {
		cols := make([]arrow.Array, schema.NumFields())
		for i, field := range schema.Fields() {
			var err error
			if cols[i], err = constant(memory.DefaultAllocator, 1, f.uri, field); err != nil {
				return false
			}
			defer cols[i].Release()
		}
		row := array.NewRecordBatch(schema, cols, 1)
		defer row.Release()
		rows, all, err := filter.Select(row)
		return err == nil && !all && len(rows) == 0
	}), nil
}

// folderFields are the columns of the folders.
func (p partitioned) folderFields() []arrow.Field {
	var fields []arrow.Field
	for _, n := range p.names {
		f := arrow.Field{Name: n, Type: arrow.BinaryTypes.String, Nullable: true}
		if p.given != nil {
			at, _ := p.given.FieldsByName(n)
			f = at[0]
		}
		fields = append(fields, f)
	}
	return fields
}
