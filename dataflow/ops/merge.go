package ops

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("merge", "one sorted stream of several", func(a merge) (dataflow.Operator, error) { return a, nil })
}

// merge takes any number of inputs of one schema, each sorted by Keys, and makes
// one sorted stream of them. Rows alike come by the position of their input. It
// holds, and reserves, one batch of each.
type merge struct {
	Keys []dataflow.SortKey `json:"keys"`
}

// Schema implements dataflow.Operator.
func (m merge) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if len(in) == 0 {
		return nil, userError("merge", errors.New("takes at least one input"))
	}
	for i, s := range in[1:] {
		if !s.Equal(in[0]) {
			return nil, userError("merge", fmt.Errorf("input %d has another schema than the first: %s and %s", i+1, s, in[0]))
		}
	}
	return sortedSchema("merge", m.Keys, in[:1])
}

// Open implements dataflow.Operator.
func (m merge) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	if env.Check {
		checked := make([]dataflow.Stream, len(in))
		for i, s := range in {
			checked[i] = order.Check(m.Keys, s)
		}
		in = checked
	}
	return order.Merge(env, m.Keys, in, false), nil
}
