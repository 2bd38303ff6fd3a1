// Package csv is comma-separated values as RFC 4180 has them: quoted fields may
// hold delimiters, quotes and line ends. A byte order mark in front is passed over, and
// so are blank lines where records have several fields.
package csv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(format{}) }

type format struct{}

func (format) Name() string    { return "csv" }
func (format) Summary() string { return "comma-separated values, RFC 4180" }

// options are the same for reading and writing.
type options struct {
	Header    *bool   `json:"header"`    // the first record names the columns; true by default
	Delimiter *string `json:"delimiter"` // one byte, a comma by default
	// Null is what stands, unquoted, for null; nothing by default. The empty string
	// is written quoted.
	Null string `json:"null"`
	// Multiline says that quoted fields may hold line ends; true by default. Where they
	// never do, false saves the look at the quotes of a file that is cut into splits, and
	// lets compressed files be cut.
	Multiline *bool `json:"multiline"`
	// Split lets large files be cut into splits; true by default. Cuts are right for any
	// data: what decides about them is read before the job's tasks begin, a little of a
	// file whose fields are quoted, all of one that has no quotes.
	Split *bool `json:"split"`
}

type dialect struct {
	header, multiline, cuts bool
	delimiter               byte
	null                    string
}

func parseOptions(raw json.RawMessage) (dialect, error) {
	var o options
	d := dialect{header: true, multiline: true, cuts: true, delimiter: ','}
	if err := files.DecodeOptions("csv", raw, &o); err != nil {
		return d, err
	}
	fail := func(format string, args ...any) (dialect, error) {
		return d, &dataflow.Error{Op: "files.csv", Kind: dataflow.User, Err: fmt.Errorf(format, args...)}
	}
	if o.Header != nil {
		d.header = *o.Header
	}
	if o.Multiline != nil {
		d.multiline = *o.Multiline
	}
	if o.Split != nil {
		d.cuts = *o.Split
	}
	if o.Delimiter != nil {
		if len(*o.Delimiter) != 1 || bytes.ContainsAny([]byte(*o.Delimiter), "\"\r\n") {
			return fail("the delimiter is %q: want one byte, no quote and no line end", *o.Delimiter)
		}
		d.delimiter = (*o.Delimiter)[0]
	}
	d.null = o.Null
	if bytes.ContainsAny([]byte(d.null), "\"\r\n"+string(d.delimiter)) {
		return fail("null is %q, which would have to be quoted", d.null)
	}
	return d, nil
}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	d, err := parseOptions(o.Options)
	if err != nil {
		return nil, err
	}
	r := reader{dialect: d, file: o.Schema, columns: o.Columns}
	if o.Schema != nil { // wrong columns are told early
		_, err = files.Project("files.csv", o.Schema, o.Columns)
	}
	return r, err
}

type reader struct {
	dialect
	file    *arrow.Schema // nil: inferred
	columns []string
}

func (r reader) Splittable() bool { return r.cuts && !r.multiline }

// ByLine implements files.LineReader.
func (r reader) ByLine() bool { return !r.multiline }

// Aligns implements files.Aligner.
func (r reader) Aligns() bool { return r.cuts && r.multiline }

// Schema implements files.Reader.
func (r reader) Schema(_ context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	file := r.file
	if file == nil {
		in, err := sample()
		if err != nil {
			return nil, err
		}
		defer in.Close()
		if file, err = r.infer(in); err != nil {
			return nil, err
		}
	}
	return files.Project("files.csv", file, r.columns)
}

// Open implements files.Reader. With a header a file's columns are found by name,
// so files may differ in their order; without one by their place in the schema.
func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	places, width, err := r.places(in, schema)
	if err != nil {
		in.Close()
		return nil, err
	}
	opt := files.BlockOptions{Op: "csv.Read"}
	if r.multiline {
		opt.Cut = r.cut
	}
	blocks, err := files.NewBlocks(env, in, opt)
	if err != nil {
		return nil, err
	}
	rows := files.RowOptions{Op: "csv.Read", Schema: schema, Mark: true, Parser: func(b *array.RecordBuilder) (files.RowParser, error) {
		return newParser(r.dialect, b, places, width)
	}}
	if r.multiline {
		rows.Next = r.next
	}
	rows.Skip = func(record []byte, first bool) bool {
		return first && r.header || len(record) == 0 && width > 1 // of one column it is a null
	}
	s, err := files.NewRows(env, in, blocks, rows)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// places are the positions in the file of the schema's columns; width is how many
// fields a record has, 0 if the file does not say.
func (r reader) places(in *files.Input, schema *arrow.Schema) (places []int, width int, err error) {
	names := []string(nil)
	if r.header {
		first, err := r.head(in, 1)
		if err != nil {
			return nil, 0, err
		}
		if len(first) == 0 {
			return make([]int, schema.NumFields()), 0, nil
		}
		names = first[0].texts()
	} else if r.file != nil {
		for _, f := range r.file.Fields() {
			names = append(names, f.Name)
		}
	} else {
		first, err := r.head(in, 1)
		if err != nil {
			return nil, 0, err
		}
		if len(first) > 0 {
			names = namesOf(len(first[0]))
		}
	}
	at := map[string]int{}
	for i, n := range names {
		if _, twice := at[n]; twice {
			at[n] = -1
			continue
		}
		at[n] = i
	}
	for _, f := range schema.Fields() {
		i, ok := at[f.Name]
		if !ok || i < 0 {
			err := fmt.Errorf("the header names no column %q", f.Name)
			if ok {
				err = fmt.Errorf("the header names column %q twice", f.Name)
			}
			return nil, 0, &dataflow.Error{Op: "csv.Read", Path: in.Path, Kind: dataflow.User, Err: dataflow.Mark(err, dataflow.ErrColumns), Try: "does the file have a header? the option header says so"}
		}
		places = append(places, i)
	}
	return places, len(names), nil
}

func namesOf(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	return names
}

// cut is how many bytes of buf are whole records.
func (r reader) cut(buf []byte) int {
	n := 0
	for {
		_, next, whole := r.record(buf[n:])
		if !whole {
			return n
		}
		n += next
	}
}

// next is the first record of a block.
func (r reader) next(block []byte) ([]byte, int) {
	record, n, _ := r.record(block)
	return record, n
}

// record finds the first record: its bytes without the line end, where the next
// one begins, and whether a line end was found.
func (r reader) record(buf []byte) (record []byte, n int, whole bool) {
	end := bytes.IndexByte(buf, '\n')
	if end < 0 {
		return buf, len(buf), false
	}
	if bytes.IndexByte(buf[:end], '"') >= 0 {
		if end = r.quotedEnd(buf); end < 0 {
			return buf, len(buf), false
		}
	}
	if end > 0 && buf[end-1] == '\r' {
		return buf[:end-1], end + 1, true
	}
	return buf[:end], end + 1, true
}

// quotedEnd is where the first line feed outside of quotes is, or -1. A quote
// opens a field only where the field begins.
func (r reader) quotedEnd(buf []byte) int {
	begins, quoted := true, false
	for i := 0; i < len(buf); i++ {
		c := buf[i]
		switch {
		case quoted:
			j := bytes.IndexByte(buf[i:], '"')
			if j < 0 {
				return -1
			}
			i += j
			if i+1 < len(buf) && buf[i+1] == '"' {
				i++
			} else {
				quoted = false
			}
		case c == '\n':
			return i
		case c == '"' && begins:
			quoted = true
			begins = false
		default:
			begins = c == r.delimiter
		}
	}
	return -1
}

var (
	errOpenQuote  = errors.New("a quoted field does not end")
	errAfterQuote = errors.New("text follows a quoted field")
)
