// Package arrow is Arrow's own bytes as files: the IPC file format, and its stream
// format for reading. Neither has a checksum, and the library trusts what it reads,
// so schemas are checked before and arrays after it decodes them.
package arrow

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(format{}) }

type format struct{}

func (format) Name() string    { return "arrow" }
func (format) Summary() string { return "Arrow IPC files and streams" }

// readOptions: there are none yet; an unknown one is refused.
type readOptions struct{}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	r := reader{given: o.Schema, columns: o.Columns}
	return r, files.DecodeOptions("arrow", o.Options, &readOptions{})
}

type reader struct {
	given   *arrow.Schema
	columns []string
}

func (reader) Splittable() bool { return true }

func (r reader) Schema(ctx context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	if r.given != nil {
		return files.Project("files.arrow", r.given, r.columns)
	}
	in, err := sample()
	if err != nil {
		return nil, err
	}
	f, err := open(dataflow.NewEnv(ctx), in)
	if err != nil {
		in.Close()
		return nil, err
	}
	defer in.Close()
	defer f.close()
	return files.Project("files.arrow", f.schema, r.columns)
}

// Open implements files.Reader. Of an IPC file's n record batches, number i counts
// as beginning at i/n of the file: the range with that byte owns it. A stream
// belongs to the range that begins the file.
func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	f, err := open(env, in)
	if err != nil {
		in.Close()
		return nil, err
	}
	s := &stream{openFile: f, in: in, env: env, schema: schema}
	if s.places, err = files.Places("arrow.Read", in.Path, f.schema, schema); err != nil {
		s.Close()
		return nil, err
	}
	if f.file == nil {
		s.ended = in.Offset > 0 || in.Length == 0
		return s, nil
	}
	if err := f.random.Guard("arrow.Read", s.choose); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// choose finds the record batches of the range.
func (s *stream) choose() error {
	n := int64(s.file.NumRecords())
	if n < 0 || n > s.in.Size {
		return fmt.Errorf("it claims %d record batches in %d bytes", n, s.in.Size)
	}
	begins := func(i int64) int64 { return int64(float64(i) / float64(n) * float64(s.in.Size)) }
	for s.from < n && begins(s.from) < s.in.Offset {
		s.from++
	}
	for s.to = s.from; s.to < n && begins(s.to) < s.in.End(); {
		s.to++
	}
	s.at = s.from
	return nil
}

// openFile is a file, or a stream, whose schema is read.
type openFile struct {
	random *files.RandomReader
	file   *ipc.FileReader
	flow   *ipc.Reader // for the stream format
	schema *arrow.Schema
}

const (
	metadataMax = 64 << 20
	bodyMax     = 1 << 30
)

func open(env *dataflow.Env, in *files.Input) (*openFile, error) {
	random, err := files.NewRandomReader("arrow.Read", in)
	if err != nil {
		return nil, err
	}
	f := &openFile{random: random}
	err = random.Guard("arrow.Read", func() (err error) {
		opts := []ipc.Option{ipc.WithAllocator(files.Bounded(env)), ipc.WithMetadataSizeLimit(metadataMax), ipc.WithBodySizeLimit(bodyMax)}
		isFile, err := checkSchema(random, in.Size)
		if err != nil {
			return err
		}
		var s *arrow.Schema
		if isFile {
			if f.file, err = ipc.NewFileReader(random, opts...); err != nil {
				return err
			}
			s = f.file.Schema()
		} else {
			if _, err := random.Seek(0, io.SeekStart); err != nil {
				return err
			}
			if f.flow, err = ipc.NewReader(random, opts...); err != nil {
				return err
			}
			s = f.flow.Schema()
		}
		for _, field := range s.Fields() {
			if err := checkType(field.Type); err != nil {
				return &dataflow.Error{Op: "arrow.Read", Path: in.Path, Kind: dataflow.User, Err: fmt.Errorf("column %s: %w", field.Name, err)}
			}
		}
		f.schema = files.WithoutMetadata(s)
		return nil
	})
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *openFile) close() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
	if f.flow != nil {
		f.flow.Release()
		f.flow = nil
	}
}

type writeOptions struct {
	Compression string `json:"compression"` // zstd, lz4, none (default)
}

func (format) Writer(o files.WriteOptions) (files.Writer, error) {
	var opt writeOptions
	if err := files.DecodeOptions("arrow", o.Options, &opt); err != nil {
		return nil, err
	}
	w := writer{}
	switch opt.Compression {
	case "", "none":
	case "zstd":
		w.options = append(w.options, ipc.WithZstd())
	case "lz4":
		w.options = append(w.options, ipc.WithLZ4())
	default:
		return nil, &dataflow.Error{Op: "files.arrow", Kind: dataflow.User, Err: fmt.Errorf("compression %q is unknown (have none, lz4, zstd)", opt.Compression)}
	}
	return w, nil
}

type writer struct{ options []ipc.Option }

func (writer) Suffix() string   { return ".arrow" }
func (writer) Compresses() bool { return true }

func (w writer) Open(env *dataflow.Env, out io.Writer, schema *arrow.Schema) (files.Encoder, error) {
	if schema == nil {
		return nil, &dataflow.Error{Op: "arrow.Write", Kind: dataflow.Fatal, Err: errors.New("a file needs a schema")}
	}
	e := &encoder{schema: files.WithoutMetadata(schema)}
	opts := append([]ipc.Option{ipc.WithSchema(e.schema), ipc.WithAllocator(env.Alloc), ipc.WithDictionaryDeltas(true)}, w.options...)
	var err error
	if e.w, err = ipc.NewFileWriter(out, opts...); err != nil {
		return nil, &dataflow.Error{Op: "arrow.Write", Kind: dataflow.User, Err: err}
	}
	return e, nil
}

type encoder struct {
	schema *arrow.Schema
	rows   int64 // written
	w      *ipc.FileWriter
}

func (e *encoder) Write(b dataflow.Batch) error {
	if b.NumRows() == 0 {
		return nil
	}
	b, err := files.WithSchema(b, e.schema)
	if err != nil {
		return &dataflow.Error{Op: "arrow.Write", Kind: dataflow.User, Err: err}
	}
	defer b.Release()
	if err := files.CheckText("arrow.Write", b, e.rows); err != nil {
		return err
	}
	e.rows += b.NumRows()
	return e.w.Write(b)
}

func (e *encoder) Close() error { return e.w.Close() }
