package dataflow

import (
	"encoding/json"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// A SourceSpec says what is read and how, for Read: FromCSV, Lines, FromSlice and
// their like make them. It is data; nothing is opened while the graph is built.
type SourceSpec[T any] interface {
	source(j *Job, c *codec[T]) (name string, ref Ref)
}

// Read is the rows of a source.
func Read[T any](j *Job, s SourceSpec[T]) Dataset[T] {
	c := codecFor[T](j)
	n := &Node{Kind: SourceNode}
	if c == nil {
		n.Name = "Read"
		return then(j, n, c)
	}
	n.Name, n.Ref = s.source(j, c)
	if f, ok := s.(interface{ columnName() string }); ok && f.columnName() != "" {
		n.Schema = arrow.NewSchema([]arrow.Field{c.field(f.columnName())}, nil)
	}
	return then(j, n, c)
}

type customSource[T any] struct {
	kind string
	args any
}

func (s customSource[T]) source(*Job, *codec[T]) (string, Ref) {
	return "Read " + s.kind, Ref{Kind: s.kind, Args: encodeArgs(s.args)}
}

// CustomSource reads a source of a kind that was registered with RegisterSource.
// args become its arguments, as JSON. Its columns must be those of T.
func CustomSource[T any](kind string, args any) SourceSpec[T] { return customSource[T]{kind, args} }

// encodeArgs writes the arguments of a kind.
func encodeArgs(args any) []byte {
	if args == nil {
		return nil
	}
	raw, err := json.Marshal(args)
	if err != nil {
		panic(fmt.Sprintf("dataflow: arguments of type %T cannot be written as JSON: %v", args, err))
	}
	return raw
}
