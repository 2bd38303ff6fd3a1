package ops

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

func init() {
	register("hashjoin", "rows of two inputs with equal keys, side by side", newHashJoin)
}

// hashJoin joins In[0], the left input, and In[1], the right. Out come the left
// columns and then the right ones; those of a side that may be missing are
// nullable. Types semi and anti give the left rows, and only those columns, that
// have a partner or have none. A null key has no partner, also not another null.
//
// The rows of the build side are kept in a hash table, those of the other stream
// past it. Build says which it is; "auto" takes the smaller one, as it shows when both
// are read for a while. When the table does not fit, both sides are spilled by hash and joined
// run by run, recursively; a run that is mostly one key, where that is of no use,
// is joined block by block against the whole of the other side's run. So memory is
// bounded whatever the keys. The order of the output is defined by that of the
// inputs but is nobody's business.
type hashJoin struct {
	joinArgs
	joinRole

	// planned remembers what Schema was told, because a side that has no rows
	// cannot say what its columns would have been.
	planned atomic.Pointer[[2]*arrow.Schema]
}

type joinArgs struct {
	LeftKeys  []int  `json:"left_keys"`
	RightKeys []int  `json:"right_keys"`
	Type      string `json:"type"`
	Build     string `json:"build"`
	// The columns of either side that come out; all where it is not given.
	LeftColumns  []int `json:"left_columns,omitempty"`
	RightColumns []int `json:"right_columns,omitempty"`
}

// The two sides of a join.
const (
	left  = 0
	right = 1
)

// A joinRole says what becomes of the rows of the build side and of the probe
// side.
type joinRole struct {
	build, probe int  // left or right
	pairs        bool // rows with partners come out beside them

	// Rows that come out alone, once:
	probeMatched, probeUnmatched bool
	buildMatched, buildUnmatched bool
}

func newHashJoin(a joinArgs) (dataflow.Operator, error) {
	if a.Type == "" {
		a.Type = "inner"
	}
	if a.Build == "" {
		a.Build = "right"
	}
	build := right
	switch a.Build {
	case "left":
		build = left
	case "right", "auto":
	default:
		return nil, fmt.Errorf("the build side is left, right or auto, not %q", a.Build)
	}
	r, err := roleOf(a.Type, build)
	if err != nil {
		return nil, err
	}
	if len(a.LeftKeys) == 0 || len(a.LeftKeys) != len(a.RightKeys) {
		return nil, fmt.Errorf("%d keys on the left and %d on the right: there must be as many, at least one", len(a.LeftKeys), len(a.RightKeys))
	}
	return &hashJoin{joinArgs: a, joinRole: r}, nil
}

// roleOf says what sides do in a join of a type whose build side is given.
func roleOf(typ string, build int) (joinRole, error) {
	r := joinRole{build: build, probe: left + right - build}
	buildLeft := build == left
	switch typ {
	case "inner":
		r.pairs = true
	case "left":
		r.pairs, r.buildUnmatched, r.probeUnmatched = true, buildLeft, !buildLeft
	case "right":
		r.pairs, r.buildUnmatched, r.probeUnmatched = true, !buildLeft, buildLeft
	case "full":
		r.pairs, r.buildUnmatched, r.probeUnmatched = true, true, true
	case "semi":
		r.buildMatched, r.probeMatched = buildLeft, !buildLeft
	case "anti":
		r.buildUnmatched, r.probeUnmatched = buildLeft, !buildLeft
	default:
		return r, fmt.Errorf("a join is inner, left, right, full, semi or anti, not %q", typ)
	}
	return r, nil
}

func (j *hashJoin) keysOf(side int) []int {
	if side == left {
		return j.LeftKeys
	}
	return j.RightKeys
}

// Schema implements dataflow.Operator.
func (j *hashJoin) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if len(in) != 2 {
		return nil, userError("hashjoin", fmt.Errorf("takes two inputs, not %d", len(in)))
	}
	for side, s := range in {
		if err := checkColumns(s, j.keysOf(side)); err != nil {
			return nil, userError("hashjoin", err)
		}
	}
	for i, l := range j.LeftKeys {
		a, b := in[left].Field(l), in[right].Field(j.RightKeys[i])
		if !arrow.TypeEqual(a.Type, b.Type) {
			return nil, userError("hashjoin", fmt.Errorf("keys %q and %q are of different types, %s and %s", a.Name, b.Name, a.Type, b.Type))
		}
	}
	if _, err := order.NewEncoder(in[left], orderBy(j.LeftKeys)); err != nil {
		return nil, userError("hashjoin", err)
	}
	for side, cols := range [2][]int{j.LeftColumns, j.RightColumns} {
		if len(cols) > 0 {
			if err := checkColumns(in[side], cols); err != nil {
				return nil, userError("hashjoin", err)
			}
		}
	}
	j.planned.Store(&[2]*arrow.Schema{in[left], in[right]})
	return j.schemaOf(in[left], in[right]), nil
}

// columnsOf are the columns of a side that come out.
func (j *hashJoin) columnsOf(side int, s *arrow.Schema) []int {
	cols := j.LeftColumns
	if side == right {
		cols = j.RightColumns
	}
	if cols != nil {
		return cols
	}
	all := make([]int, s.NumFields())
	for i := range all {
		all[i] = i
	}
	return all
}

func (j *hashJoin) schemaOf(l, r *arrow.Schema) *arrow.Schema {
	var fields []arrow.Field
	for _, c := range j.columnsOf(left, l) {
		fields = append(fields, l.Field(c))
	}
	if !j.pairs {
		return arrow.NewSchema(fields, nil)
	}
	for i := range fields {
		fields[i].Nullable = fields[i].Nullable || j.Type == "right" || j.Type == "full"
	}
	for _, c := range j.columnsOf(right, r) {
		f := r.Field(c)
		f.Nullable = f.Nullable || j.Type == "left" || j.Type == "full"
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil)
}

// Open implements dataflow.Operator.
func (j *hashJoin) Open(env *dataflow.Env, in ...dataflow.Stream) (dataflow.Stream, error) {
	if len(in) != 2 {
		err := userError("hashjoin", fmt.Errorf("takes two inputs, not %d", len(in)))
		for _, s := range in {
			err = errors.Join(err, s.Close())
		}
		return nil, err
	}
	s := &joinStream{hashJoin: j, joinRole: j.joinRole, env: env, in: [2]dataflow.Stream{in[0], in[1]}}
	if p := j.planned.Load(); p != nil {
		s.schemas = *p
	}
	s.built.mem = held{memory: env.Memory}
	return s, nil
}
