package csv

import (
	"bytes"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	d, err := parseOptions(o.Options)
	return writer{d}, err
}

type writer struct{ dialect }

func (writer) Suffix() string   { return ".csv" }
func (writer) Compresses() bool { return false }

func (w writer) Open(_ *dataflow.Env, out io.Writer, schema *arrow.Schema) (files.Encoder, error) {
	e := &encoder{dialect: w.dialect, out: out}
	if w.header && schema != nil {
		for i, f := range schema.Fields() {
			if i > 0 {
				e.buf = append(e.buf, w.delimiter)
			}
			e.field([]byte(f.Name))
		}
		e.buf = append(e.buf, '\n')
	}
	return e, nil
}

const flushBytes = 256 << 10

type encoder struct {
	dialect
	out     io.Writer
	buf     []byte
	scratch []byte
}

func (e *encoder) Write(b dataflow.Batch) error {
	printers := make([]files.Printer, b.NumCols())
	for c := range printers {
		p, err := files.PrinterOf(b.Column(c))
		if err != nil {
			return &dataflow.Error{Op: "csv.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: err}
		}
		printers[c] = p
	}
	for row := range int(b.NumRows()) {
		for c, p := range printers {
			if c > 0 {
				e.buf = append(e.buf, e.delimiter)
			}
			if b.Column(c).IsNull(row) {
				e.buf = append(e.buf, e.null...)
				continue
			}
			e.scratch = p(e.scratch[:0], row)
			e.field(e.scratch)
		}
		e.buf = append(e.buf, '\n')
		if len(e.buf) >= flushBytes {
			if err := e.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// field appends a value, quoted where it would be read as something else.
func (e *encoder) field(v []byte) {
	plain := string(v) != e.null
	for _, c := range v {
		if c == '"' || c == '\n' || c == '\r' || c == e.delimiter {
			plain = false
			break
		}
	}
	if plain {
		e.buf = append(e.buf, v...)
		return
	}
	e.buf = append(e.buf, '"')
	for {
		i := bytes.IndexByte(v, '"')
		if i < 0 {
			break
		}
		e.buf = append(append(e.buf, v[:i+1]...), '"')
		v = v[i+1:]
	}
	e.buf = append(append(e.buf, v...), '"')
}

// Buffered implements files.Buffered.
func (e *encoder) Buffered() int64 { return int64(len(e.buf)) }

func (e *encoder) flush() error {
	_, err := e.out.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *encoder) Close() error { return e.flush() }
