// Package sequencefile is Hadoop's SequenceFile, version 6: pairs of a key and a value,
// plain, each value compressed, or blocks of pairs compressed. A range begins at the
// first sync mark in it. The columns are called key and value.
package sequencefile

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() { files.Register(format{}) }

type format struct{}

func (format) Name() string    { return "sequencefile" }
func (format) Summary() string { return "Hadoop SequenceFile" }

// readOptions: there are none yet; an unknown one is refused.
type readOptions struct{}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	r := reader{given: o.Schema, columns: o.Columns}
	return r, files.DecodeOptions("sequencefile", o.Options, &readOptions{})
}

type reader struct {
	given   *arrow.Schema
	columns []string
}

func (reader) Splittable() bool { return true }

// Schema implements files.Reader. What a class says can also be asked for as a wider
// type: see classes.
func (r reader) Schema(_ context.Context, sample func() (*files.Input, error)) (*arrow.Schema, error) {
	if r.given != nil {
		return files.Project("files.sequencefile", r.given, r.columns)
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
	return files.Project("files.sequencefile", f.head.schema(), r.columns)
}

func (r reader) Open(env *dataflow.Env, in *files.Input, schema *arrow.Schema) (dataflow.Stream, error) {
	f, err := open(in)
	if err != nil {
		in.Close()
		return nil, err
	}
	d := &decoder{file: f, in: in}
	err = f.random.Guard("sequencefile.Read", func() error {
		if err := d.columns(schema); err != nil {
			return err
		}
		return d.begin()
	})
	if err != nil {
		in.Close()
		return nil, err
	}
	return files.NewRecordStream("sequencefile.Read", env, in, f.random, schema, d), nil
}
