package ops

import (
	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("checksorted", "an assertion: rows come in order", func(a checkSorted) (dataflow.Operator, error) { return a, nil })
}

// checkSorted passes its input and fails at the first row out of order, where
// env.Check is on; else it only passes.
type checkSorted struct {
	Keys []dataflow.SortKey `json:"keys"`
}

// Schema implements dataflow.Operator.
func (c checkSorted) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	return sortedSchema("checksorted", c.Keys, in)
}

// Open implements dataflow.Operator.
func (c checkSorted) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	if !env.Check {
		return in[0], nil
	}
	return order.Check(c.Keys, in[0]), nil
}

// sortedSchema is the schema of one input whose rows can be ordered by keys.
func sortedSchema(kind string, keys []dataflow.SortKey, in []*arrow.Schema) (*arrow.Schema, error) {
	s, err := one(kind, in)
	if err != nil {
		return nil, err
	}
	if _, err := order.NewEncoder(s, keys); err != nil {
		return nil, userError(kind, err)
	}
	return s, nil
}
