// Package jsonl is one JSON object a line: its members are the columns. A byte order
// mark in front and blank lines are passed over.
package jsonl

import (
	"context"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(format{}) }

type format struct{}

func (format) Name() string    { return "jsonl" }
func (format) Summary() string { return "one JSON object a line" }

// options: there are none yet; an unknown one is refused.
type options struct{}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	if err := files.DecodeOptions("jsonl", o.Options, &options{}); err != nil {
		return nil, err
	}
	r := reader{file: o.Schema, columns: o.Columns}
	if o.Schema != nil {
		_, err := files.Project("files.jsonl", o.Schema, o.Columns)
		return r, err
	}
	return r, nil
}

type reader struct {
	file    *arrow.Schema // nil: inferred
	columns []string
}

func (reader) Splittable() bool { return true }

// ByLine implements files.LineReader.
func (reader) ByLine() bool { return true }

func (r reader) Schema(_ context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	file := r.file
	if file == nil {
		in, err := sample()
		if err != nil {
			return nil, err
		}
		defer in.Close()
		if file, err = infer(in); err != nil {
			return nil, err
		}
	}
	return files.Project("files.jsonl", file, r.columns)
}

func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	blocks, err := files.NewBlocks(env, in, files.BlockOptions{Op: "jsonl.Read"})
	if err != nil {
		return nil, err
	}
	rows, err := files.NewRows(env, in, blocks, files.RowOptions{Op: "jsonl.Read", Schema: schema, Mark: true, Skip: blank, Parser: NewParser})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// blank says that a line holds nothing at all, and so no bad record either.
func blank(line []byte, _ bool) bool { return skipSpace(line, 0) == len(line) }

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	return writer{}, files.DecodeOptions("jsonl", o.Options, &options{})
}

type writer struct{}

func (writer) Suffix() string   { return ".jsonl" }
func (writer) Compresses() bool { return false }

func (writer) Open(_ *dataflow.Env, out io.Writer, _ *arrow.Schema) (files.Encoder, error) {
	return &encoder{out: out}, nil
}

const flushBytes = 256 << 10

// encoder writes all columns of a row, null ones too. NaN and infinities become
// null, because JSON has none.
type encoder struct {
	out io.Writer
	buf []byte
}

func (e *encoder) Write(b dataflow.Batch) error {
	printers := make([]files.Printer, b.NumCols())
	names := make([][]byte, b.NumCols())
	for c := range printers {
		p, err := files.JSONPrinterOf(b.Column(c))
		if err != nil {
			return &dataflow.Error{Op: "jsonl.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: err}
		}
		printers[c] = p
		names[c] = append(files.AppendJSONString(nil, b.ColumnName(c)), ':')
	}
	for row := range int(b.NumRows()) {
		e.buf = append(e.buf, '{')
		for c, p := range printers {
			if c > 0 {
				e.buf = append(e.buf, ',')
			}
			e.buf = append(e.buf, names[c]...)
			if b.Column(c).IsNull(row) {
				e.buf = append(e.buf, "null"...)
			} else {
				e.buf = p(e.buf, row)
			}
		}
		e.buf = append(e.buf, '}', '\n')
		if len(e.buf) >= flushBytes {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Buffered implements files.Buffered.
func (e *encoder) Buffered() int64 { return int64(len(e.buf)) }

func (e *encoder) flush() error {
	_, err := e.out.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *encoder) Close() error { return e.flush() }
