package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

type writeOptions struct {
	Compression string `json:"compression"` // zstd (default), snappy, gzip, none
	// RowGroupBytes ends a row group when its stored bytes reach this many; rows are
	// held in memory until then. RowGroupRows ends one by its rows.
	RowGroupBytes int64 `json:"row_group_bytes"`
	RowGroupRows  int64 `json:"row_group_rows"`
}

var codecs = map[string]compress.Compression{
	"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy, "gzip": compress.Codecs.Gzip, "none": compress.Codecs.Uncompressed,
}

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	w := writer{writeOptions{Compression: "zstd", RowGroupBytes: 64 << 20, RowGroupRows: 1 << 20}}
	if err := files.DecodeOptions("parquet", o.Options, &w.opt); err != nil {
		return nil, err
	}
	fail := func(err error) (files.Writer, error) {
		return nil, &dataflow.Error{Op: "files.parquet", Kind: dataflow.User, Err: err}
	}
	if _, ok := codecs[w.opt.Compression]; !ok {
		return fail(fmt.Errorf("compression %q is unknown (have zstd, snappy, gzip, none)", w.opt.Compression))
	}
	if w.opt.RowGroupBytes <= 0 || w.opt.RowGroupRows <= 0 {
		return fail(errors.New("row_group_bytes and row_group_rows must be positive"))
	}
	return w, nil
}

type writer struct{ opt writeOptions }

func (writer) Suffix() string   { return ".parquet" }
func (writer) Compresses() bool { return true }

func (w writer) Open(env *dataflow.Env, out io.Writer, schema *arrow.Schema) (files.Encoder, error) {
	if schema == nil {
		return nil, &dataflow.Error{Op: "parquet.Write", Kind: dataflow.Fatal, Err: errors.New("a file needs a schema")}
	}
	e := &encoder{opt: w.opt, schema: files.WithoutMetadata(schema)}
	props := parquet.NewWriterProperties(parquet.WithAllocator(env.Alloc), parquet.WithCompression(codecs[w.opt.Compression]),
		parquet.WithMaxRowGroupLength(w.opt.RowGroupRows), parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy("divisi"))
	// The writer closes what it writes to if it can; that is not ours to close.
	pq, err := pqarrow.NewFileWriter(e.schema, onlyWriter{out}, props, pqarrow.NewArrowWriterProperties(pqarrow.WithAllocator(env.Alloc)))
	if err != nil {
		return nil, &dataflow.Error{Op: "parquet.Write", Kind: dataflow.User, Err: err}
	}
	e.w = pq
	return e, nil
}

type onlyWriter struct{ io.Writer }

type encoder struct {
	opt    writeOptions
	schema *arrow.Schema
	rows   int64 // written
	w      *pqarrow.FileWriter
	err    error
}

func (e *encoder) Write(b dataflow.Batch) error {
	if e.err != nil {
		return e.err
	}
	b, err := files.WithSchema(b, e.schema)
	if err != nil {
		return &dataflow.Error{Op: "parquet.Write", Kind: dataflow.User, Err: err}
	}
	defer b.Release()
	if e.err = files.CheckText("parquet.Write", b, e.rows); e.err != nil {
		return e.err
	}
	e.rows += b.NumRows()
	if e.err = e.w.WriteBuffered(b); e.err != nil {
		return e.err
	}
	if e.Buffered() >= e.opt.RowGroupBytes {
		e.err = e.w.NewBufferedRowGroupChecked()
	}
	return e.err
}

// Buffered implements files.Buffered: a row group is written when it is whole.
func (e *encoder) Buffered() int64 {
	return e.w.RowGroupTotalBytesWritten() + e.w.RowGroupTotalCompressedBytes()
}

func (e *encoder) Close() error { return e.w.Close() }
