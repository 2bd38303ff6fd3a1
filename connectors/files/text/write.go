package text

import (
	"encoding/json"
	"io"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

type writeOptions struct {
	// Separator stands between the columns; a tab by default.
	Separator *string `json:"separator"`
}

func (format) Writer(o files.WriteOptions) (files.Writer, error) { return newWriter("text", o.Options) }

func newWriter(name string, options json.RawMessage) (files.Writer, error) {
	var opt writeOptions
	if err := files.DecodeOptions(name, options, &opt); err != nil {
		return nil, err
	}
	w := writer{separator: "\t"}
	if opt.Separator != nil {
		w.separator = *opt.Separator
	}
	return w, nil
}

// writer writes a row as its values' text with the separator between them and a
// line feed behind; null is empty. Nothing is quoted: a value with a tab or a line
// feed in it is written as it is, as Hadoop's TextOutputFormat does.
type writer struct{ separator string }

func (writer) Suffix() string   { return "" }
func (writer) Compresses() bool { return false }

func (w writer) Open(_ *dataflow.Env, out io.Writer, _ *arrow.Schema) (files.Encoder, error) {
	return &encoder{separator: w.separator, out: out}, nil
}

// flushBytes is how much is gathered before it is written.
const flushBytes = 256 << 10

type encoder struct {
	separator string
	out       io.Writer
	buf       []byte
}

func (e *encoder) Write(b dataflow.Batch) error {
	printers := make([]files.Printer, b.NumCols())
	for c := range printers {
		p, err := files.PrinterOf(b.Column(c))
		if err != nil {
			return &dataflow.Error{Op: "text.Write", Path: b.ColumnName(c), Kind: dataflow.User, Err: err}
		}
		printers[c] = p
	}
	for row := range int(b.NumRows()) {
		for c, p := range printers {
			if c > 0 {
				e.buf = append(e.buf, e.separator...)
			}
			if b.Column(c).IsValid(row) {
				e.buf = p(e.buf, row)
			}
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

// Buffered implements files.Buffered.
func (e *encoder) Buffered() int64 { return int64(len(e.buf)) }

func (e *encoder) flush() error {
	_, err := e.out.Write(e.buf)
	e.buf = e.buf[:0]
	return err
}

func (e *encoder) Close() error { return e.flush() }
