// Package text is lines of any bytes: format "text" (one column, line), format
// "tsv" (columns divided by tabs) and format "fixed" (records of a fixed length).
package text

import (
	"github.com/apache/arrow-go/v18/arrow"

	"context"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

func init() {
	files.Register(format{})
}

// LineColumn and BlockColumn are the names of the only column of format "text":
// a line without its end, or, with the option raw, a block of whole lines.
const (
	LineColumn  = "line"
	BlockColumn = "block"
)

// Schema is that of format "text".
var Schema = arrow.NewSchema([]arrow.Field{{Name: LineColumn, Type: arrow.BinaryTypes.String}}, nil)

// RawSchema is that of format "text" with the option raw.
var RawSchema = arrow.NewSchema([]arrow.Field{{Name: BlockColumn, Type: arrow.BinaryTypes.Binary}}, nil)

type format struct{}

func (format) Name() string    { return "text" }
func (format) Summary() string { return "lines, as they are" }

type readOptions struct {
	// Raw yields blocks of whole lines with their ends, about a batch's bytes each.
	Raw bool `json:"raw"`
}

func (format) Reader(o files.ReadOptions) (files.Reader, error) {
	var r reader
	return r, files.DecodeOptions("text", o.Options, &r.opt)
}

type reader struct{ opt readOptions }

func (r reader) Schema(context.Context, func() (*files.Input, error)) (*arrow.Schema, error) {
	if r.opt.Raw {
		return RawSchema, nil
	}
	return Schema, nil
}

func (reader) Splittable() bool { return true }

// ByLine implements files.LineReader.
func (reader) ByLine() bool { return true }

func (r reader) Open(env *dataflow.Env, in *files.Input, _ *arrow.Schema) (dataflow.Stream, error) {
	blocks, err := files.NewBlocks(env, in, files.BlockOptions{Op: "text.Read"})
	if err != nil {
		return nil, err
	}
	if r.opt.Raw {
		return &rawStream{Blocks: blocks, in: in}, nil
	}
	return &lineStream{Blocks: blocks, in: in, env: env}, nil
}
