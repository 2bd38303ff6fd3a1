package text

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(tsv{}) }

// tsv is lines of columns divided by a separator, with nothing quoted. An empty
// cell is null, in a string column the empty string.
type tsv struct{}

func (tsv) Name() string    { return "tsv" }
func (tsv) Summary() string { return "columns divided by tabs, nothing quoted" }

func (tsv) Writer(o files.WriteOptions) (files.Writer, error) { return newWriter("tsv", o.Options) }

func (tsv) Reader(o files.ReadOptions) (files.Reader, error) {
	r := tsvReader{file: o.Schema, separator: []byte("\t")}
	var opt writeOptions // the same as for writing
	if err := files.DecodeOptions("tsv", o.Options, &opt); err != nil {
		return nil, err
	}
	fail := func(err error) (files.Reader, error) {
		return nil, &dataflow.Error{Op: "files.tsv", Kind: dataflow.User, Err: err, Try: `give the columns as [{"name":"word","type":"string"}, ...]`}
	}
	if opt.Separator != nil {
		r.separator = []byte(*opt.Separator)
	}
	if len(r.separator) == 0 {
		return fail(errors.New("the separator is empty"))
	}
	if o.Schema == nil || o.Schema.NumFields() == 0 {
		return fail(errors.New("the schema is missing: tab-separated text does not say its columns"))
	}
	var err error
	r.out, err = files.Project("files.tsv", o.Schema, o.Columns)
	return r, err
}

type tsvReader struct {
	file, out *arrow.Schema
	separator []byte
}

func (r tsvReader) Schema(context.Context, func() (*files.Input, error)) (*arrow.Schema, error) {
	return r.out, nil
}

func (tsvReader) Splittable() bool { return true }

// ByLine implements files.LineReader.
func (tsvReader) ByLine() bool { return true }

func (r tsvReader) Open(env *dataflow.Env, in *files.Input, _ *arrow.Schema) (dataflow.Stream, error) {
	blocks, err := files.NewBlocks(env, in, files.BlockOptions{Op: "tsv.Read"})
	if err != nil {
		return nil, err
	}
	rows, err := files.NewRows(env, in, blocks, files.RowOptions{Op: "tsv.Read", Schema: r.out, Parser: r.parser})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func (r tsvReader) parser(b *array.RecordBuilder) (files.RowParser, error) {
	p := &tsvParser{separator: r.separator, cells: make([]files.Cell, r.file.NumFields()), isText: make([]bool, r.file.NumFields())}
	for i, f := range r.out.Fields() {
		c, err := files.CellOf(f, b.Field(i))
		if err != nil {
			return nil, err
		}
		at := r.file.FieldIndices(f.Name)[0]
		p.cells[at] = c
		p.isText[at] = arrow.IsBinaryLike(f.Type.ID()) || arrow.IsLargeBinaryLike(f.Type.ID())
	}
	return p, nil
}

type tsvParser struct {
	separator []byte
	cells     []files.Cell // by position in the line; nil: not wanted
	isText    []bool
}

func (p *tsvParser) Parse(line []byte) error {
	for i, c := range p.cells {
		cell := line
		last := i == len(p.cells)-1
		if n := bytes.Index(line, p.separator); n >= 0 {
			if last {
				return fmt.Errorf("more than %d columns", len(p.cells))
			}
			cell, line = line[:n], line[n+len(p.separator):]
		} else if !last {
			return fmt.Errorf("%d columns, want %d", i+1, len(p.cells))
		}
		if c == nil {
			continue
		}
		var err error
		if len(cell) == 0 && !p.isText[i] {
			err = c.Null()
		} else {
			err = c.Parse(cell)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *tsvParser) Commit() {
	for _, c := range p.cells {
		if c != nil {
			c.Commit()
		}
	}
}
