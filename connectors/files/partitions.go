package files

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// hiveNull is a folder's value for null, as Hive has it.
const hiveNull = "__HIVE_DEFAULT_PARTITION__"

// partitioned reads files that lie in folders called column=value, and adds those
// columns to what the files hold.
type partitioned struct {
	Reader
	names   []string
	given   *arrow.Schema // of all columns; nil: inferred, and folders hold strings
	columns []string      // projection
	// lead is read for the number of its rows where only columns of folders are wanted.
	lead *arrow.Schema
	// folders is what of the predicate is about the folders.
	folders expr.Expr
}

// newPartitioned makes the reader of a format's files for all but the names.
func newPartitioned(f Format, o ReadOptions, names []string) (Reader, error) {
	fail := func(format string, args ...any) (Reader, error) {
		return nil, &dataflow.Error{Op: "files.Source", Kind: dataflow.User, Err: fmt.Errorf(format, args...)}
	}
	p := partitioned{names: names, given: o.Schema, columns: o.Columns}
	inner := o
	p.folders, inner.Predicate = p.divide(o.Predicate)
	inner.Columns = slices.DeleteFunc(slices.Clone(o.Columns), p.has)
	if o.Schema != nil {
		if _, err := Project("files.Source", o.Schema, o.Columns); err != nil {
			return nil, err
		}
		inner.Schema = p.without(o.Schema)
		for _, n := range names {
			if !o.Schema.HasField(n) {
				return fail("the schema lacks the column %s of the folders", n)
			}
		}
	}
	if o.Schema != nil && inner.Schema.NumFields() == 0 || o.Schema == nil && len(o.Columns) > 0 && len(inner.Columns) == 0 {
		return fail("all columns are those of folders: ask for one of the files' own too")
	}
	if len(o.Columns) > 0 && len(inner.Columns) == 0 {
		p.lead = arrow.NewSchema(inner.Schema.Fields()[:1], nil)
		inner.Columns = []string{p.lead.Field(0).Name}
	}
	var err error
	p.Reader, err = f.Reader(inner)
	return p, err
}

func (p partitioned) has(name string) bool { return slices.Contains(p.names, name) }

// ByLine implements LineReader.
func (p partitioned) ByLine() bool {
	l, ok := p.Reader.(LineReader)
	return ok && l.ByLine()
}

// Aligns implements Aligner.
func (p partitioned) Aligns() bool {
	a, ok := p.Reader.(Aligner)
	return ok && a.Aligns()
}

// Align implements Aligner.
func (p partitioned) Align(ctx context.Context, in *Input, at []int64) ([]int64, error) {
	return p.Reader.(Aligner).Align(ctx, in, at)
}

// without is what the files hold.
func (p partitioned) without(s *arrow.Schema) *arrow.Schema {
	return arrow.NewSchema(slices.DeleteFunc(slices.Clone(s.Fields()), func(f arrow.Field) bool { return p.has(f.Name) }), nil)
}

// Schema implements Reader: the files' own columns, then those of the folders, unless
// a schema or a projection says in which order.
func (p partitioned) Schema(ctx context.Context, sample func() (*Input, error)) (*arrow.Schema, error) {
	if p.given != nil {
		return Project("files.Source", p.given, p.columns)
	}
	own, err := p.Reader.Schema(ctx, sample)
	if err != nil {
		return nil, err
	}
	fields := p.without(own).Fields()
	return Project("files.Source", arrow.NewSchema(append(fields, p.folderFields()...), nil), p.columns)
}

// Open implements Reader.
func (p partitioned) Open(env *dataflow.Env, in *Input, schema *arrow.Schema) (dataflow.Stream, error) {
	s := &partitionStream{schema: schema, values: make([]arrow.Array, schema.NumFields()), alloc: env.Alloc, path: in.Path}
	for i, f := range schema.Fields() {
		if !p.has(f.Name) {
			continue
		}
		var err error
		if s.values[i], err = constant(env.Alloc, 1, in.Path, f); err != nil {
			s.release()
			in.Close()
			return nil, err
		}
	}
	own := p.lead
	if own == nil {
		own = p.without(schema)
	}
	var err error
	if s.Stream, err = p.Reader.Open(env, in, own); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

// constant is the value that a path's folders have for a column, so many times.
func constant(alloc memory.Allocator, rows int, path string, f arrow.Field) (arrow.Array, error) {
	fail := func(err error, try string) (arrow.Array, error) {
		return nil, &dataflow.Error{Op: "files.Open", Path: path, Kind: dataflow.User, Err: err, Try: try}
	}
	value, null, ok := folderValue(path, f.Name)
	if !ok {
		return fail(fmt.Errorf("it lies in no folder %s=...", f.Name), "")
	}
	if null {
		if !f.Nullable && f.Type.ID() == arrow.STRING { // Hive calls an empty text so too
			null = false
		} else if !f.Nullable {
			return fail(fmt.Errorf("its folder says that %s is null, and the schema says that it never is", f.Name), "")
		}
	}
	if null {
		return array.MakeArrayOfNull(alloc, f.Type, rows), nil
	}
	b := array.NewBuilder(alloc, f.Type)
	defer b.Release()
	for range rows {
		if err := b.AppendValueFromString(value); err != nil {
			return fail(fmt.Errorf("the value %q of its folder is no %s: %w", value, f.Type, err), "")
		}
	}
	return b.NewArray(), nil
}

// folderValue is the value of the innermost folder name=value of a path. Hive's name
// for null is what it is only as it stands: escaped, it is a text.
func folderValue(path, name string) (value string, null, ok bool) {
	folders := strings.Split(path, "/")
	for _, f := range slices.Backward(folders[:len(folders)-1]) {
		k, v, ok := strings.Cut(f, "=")
		if !ok {
			continue
		}
		if key, err := url.PathUnescape(k); err != nil || key != name {
			continue
		}
		if v == hiveNull {
			return "", true, true
		}
		if plain, err := url.PathUnescape(v); err == nil {
			v = plain // Hive escapes what file systems do not take
		}
		return v, false, true
	}
	return "", false, false
}

// partitionStream puts the folders' values beside the file's.
type partitionStream struct {
	dataflow.Stream
	schema *arrow.Schema
	values []arrow.Array // as long as the longest batch; nil: a column of the file
	alloc  memory.Allocator
	path   string
}

// Next implements dataflow.Stream.
func (s *partitionStream) Next(ctx context.Context) (dataflow.Batch, error) {
	b, err := s.Stream.Next(ctx)
	if err != nil {
		return nil, err
	}
	defer b.Release()
	cols := make([]arrow.Array, len(s.values))
	own := 0
	for i, v := range s.values {
		if v != nil {
			if v.Len() < int(b.NumRows()) {
				longer, err := constant(s.alloc, int(b.NumRows()), s.path, s.schema.Field(i))
				if err != nil {
					return nil, err
				}
				v.Release()
				v, s.values[i] = longer, longer
			}
			cols[i] = array.NewSlice(v, 0, b.NumRows())
			defer cols[i].Release()
			continue
		}
		cols[i] = b.Column(own)
		own++
	}
	return array.NewRecordBatch(s.schema, cols, b.NumRows()), nil
}

// Locate implements dataflow.Locator.
func (s *partitionStream) Locate(row int) string { return dataflow.Locate(s.Stream, row) }

// Sieve implements dataflow.Siever: the file is told, unless it is about a folder's value,
// which the file does not have.
func (s *partitionStream) Sieve(v dataflow.Sieve) {
	for i, f := range s.schema.Fields() {
		if s.values[i] != nil && slices.Contains(v.Columns, f.Name) {
			return
		}
	}
	dataflow.PutSieve(s.Stream, v)
}

// Progress implements dataflow.Progresser.
func (s *partitionStream) Progress() dataflow.Progress {
	if p, ok := s.Stream.(dataflow.Progresser); ok {
		return p.Progress()
	}
	return dataflow.Progress{}
}

// Shrink implements Shrinker.
func (s *partitionStream) Shrink(keep float64) (int64, bool) {
	if sh, ok := s.Stream.(Shrinker); ok {
		return sh.Shrink(keep)
	}
	return 0, false
}

// Close implements dataflow.Stream.
func (s *partitionStream) Close() error {
	s.release()
	return s.Stream.Close()
}

func (s *partitionStream) release() {
	for i, v := range s.values {
		if v != nil {
			v.Release()
			s.values[i] = nil
		}
	}
}
