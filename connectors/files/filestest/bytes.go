package filestest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// Encode writes batches as one file of a format.
func Encode(t testing.TB, format, options string, rows ...arrow.RecordBatch) []byte {
	t.Helper()
	f, err := files.LookupFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Writer(files.WriteOptions{Options: raw(options)})
	if err != nil {
		t.Fatal(err)
	}
	env, done := Env(t)
	defer done()
	var out bytes.Buffer
	var schema *arrow.Schema
	if len(rows) > 0 {
		schema = rows[0].Schema()
	}
	e, err := w.Open(env, &out, schema)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range rows {
		if err := e.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Reader makes a format's reader.
func Reader(t testing.TB, format string, o files.ReadOptions) files.Reader {
	t.Helper()
	f, err := files.LookupFormat(format)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.Reader(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// SchemaOf asks a reader for the schema of a file.
func SchemaOf(t testing.TB, r files.Reader, data []byte) *arrow.Schema {
	t.Helper()
	s, err := r.Schema(t.Context(), func() (*files.Input, error) { return InputOf(data, 0, int64(len(data))), nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// InputOf is an open file called test.file with these bytes and the range from off
// to end.
func InputOf(data []byte, off, end int64) *files.Input {
	return &files.Input{Path: "test.file", File: file{bytes.NewReader(data)}, Size: int64(len(data)),
		Offset: off, Length: end - off, MaxRecordBytes: files.DefaultMaxRecordBytes}
}

type file struct{ *bytes.Reader }

func (file) Close() error { return nil }

// Align is where the first records behind some ascending offsets begin.
func Align(t testing.TB, a files.Aligner, data []byte, at []int64) []int64 {
	t.Helper()
	at = slices.Compact(slices.DeleteFunc(slices.Clone(at), func(n int64) bool { return n == 0 }))
	got, err := a.Align(t.Context(), InputOf(data, 0, int64(len(data))), slices.Clone(at))
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range got {
		if len(got) != len(at) || n < at[i] || n > int64(len(data)) || i > 0 && n < got[i-1] {
			t.Fatalf("the first records behind %v of %d bytes begin at %v", at, len(data), got)
		}
	}
	return got
}

// ReadRange reads a range of a file's bytes to its end, as Strings prints rows.
func ReadRange(env *dataflow.Env, r files.Reader, schema *arrow.Schema, data []byte, off, end int64) ([]string, error) {
	s, err := r.Open(env, InputOf(data, off, end), schema)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return ReadAll(env, s, schema)
}

// ReadAll reads a stream to its end, as Strings prints rows, and checks what every
// stream promises of its batches.
func ReadAll(env *dataflow.Env, s dataflow.Stream, schema *arrow.Schema) ([]string, error) {
	var rows []string
	for {
		b, err := s.Next(env.Context)
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		switch n := b.NumRows(); {
		case n == 0:
			err = fmt.Errorf("an empty batch")
		case n > int64(env.BatchRows):
			err = fmt.Errorf("a batch of %d rows, more than %d", n, env.BatchRows)
		case !sameSchema(b.Schema(), schema):
			err = fmt.Errorf("a batch of schema %s, want %s", b.Schema(), schema)
		}
		rows = append(rows, Strings(b)...)
		b.Release()
		if err != nil {
			return rows, err
		}
	}
}

// Strings prints each row of some batches, nulls and empty strings apart.
func Strings(batches ...arrow.RecordBatch) []string {
	var rows []string
	for _, b := range batches {
		all := make([]int, b.NumCols())
		for i := range all {
			all[i] = i
		}
		rows = append(rows, stringsOf(b, all)...)
	}
	return rows
}

func stringsOf(b arrow.RecordBatch, columns []int) []string {
	rows := make([]string, b.NumRows())
	var s strings.Builder
	for i := range rows {
		s.Reset()
		for k, c := range columns {
			if k > 0 {
				s.WriteString(" | ")
			}
			if col := b.Column(c); col.IsNull(i) {
				s.WriteString("null")
			} else {
				fmt.Fprintf(&s, "%q", col.ValueStr(i))
			}
		}
		rows[i] = s.String()
	}
	return rows
}

func sameSchema(a, b *arrow.Schema) bool {
	if a.NumFields() != b.NumFields() {
		return false
	}
	for i, f := range a.Fields() {
		g := b.Field(i)
		if f.Name != g.Name || !arrow.TypeEqual(f.Type, g.Type) {
			return false
		}
	}
	return true
}
