// Package avro is Apache Avro's container files: records of one schema in compressed
// blocks with sync marks between them. A range owns the blocks behind the marks that
// begin in it. Values go straight from their bytes into columns; those of columns that
// are not asked for are passed over.
package avro

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(format{}) }

type format struct{}

func (format) Name() string    { return "avro" }
func (format) Summary() string { return "Apache Avro container files" }

// readOptions: there are none yet; an unknown one is refused.
type readOptions struct{}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	r := reader{given: o.Schema, columns: o.Columns}
	return r, files.DecodeOptions("avro", o.Options, &readOptions{})
}

type reader struct {
	given   *arrow.Schema
	columns []string
}

func (reader) Splittable() bool { return true }

// Schema implements files.Reader. A given schema may ask for other types than the
// file's own where no value is changed by that: see scalar.
func (r reader) Schema(_ context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	if r.given != nil {
		return files.Project("files.avro", r.given, r.columns)
	}
	in, err := sample()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	f, err := open(in)
	if err != nil {
		return nil, err
	}
	if err := f.ask(in.Path, r.columns); err != nil {
		return nil, err
	}
	return files.Project("files.avro", f.schema, r.columns)
}

func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	f, err := open(in)
	if err != nil {
		in.Close()
		return nil, err
	}
	d := &decoder{file: f, in: in, env: env}
	err = f.random.Guard("avro.Read", func() error {
		if err := d.columns(schema); err != nil {
			return err
		}
		return d.begin()
	})
	if err != nil {
		in.Close()
		return nil, err
	}
	return files.NewRecordStream("avro.Read", env, in, f.random, schema, d), nil
}
