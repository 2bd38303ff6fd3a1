package dataflow

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// The operators that the SDK names and package ops has, in the plainest form: all
// rows in memory, compared as texts, given out one by one.
func plainOperator(kind string, raw []byte) (Operator, bool) {
	var a struct {
		Keys      []SortKey
		N         int
		LeftKeys  []int `json:"left_keys"`
		RightKeys []int `json:"right_keys"`
		Type      string
		Build     string
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		panic(err)
	}
	switch kind {
	case "sort":
		return &plainOp{rows: func(_ *Env, in [][]plainRow) []plainRow { return plainSort(in[0], a.Keys) }}, true
	case "topn":
		return &plainOp{rows: func(_ *Env, in [][]plainRow) []plainRow {
			s := plainSort(in[0], a.Keys)
			return s[:min(len(s), a.N)]
		}}, true
	case "hashjoin":
		return &plainOp{join: a.Type, keys: [2][]int{a.LeftKeys, a.RightKeys}}, true
	}
	return nil, false
}

// plainRow is the columns of a row, of length one each.
type plainRow []arrow.Array

type plainOp struct {
	rows func(env *Env, in [][]plainRow) []plainRow
	join string
	keys [2][]int
}

func (o *plainOp) Schema(in ...*arrow.Schema) (*arrow.Schema, error) {
	if o.join != "" {
		return joinSchema(in[0], in[1], o.join), nil
	}
	return in[0], nil
}

func (o *plainOp) Open(env *Env, in ...Stream) (Stream, error) {
	return &plainStream{op: o, env: env, in: in}, nil
}

type plainStream struct {
	op   *plainOp
	env  *Env
	in   []Stream
	all  []Batch
	out  []plainRow
	read bool
	made []arrow.Array
	s    []*arrow.Schema
}

func (s *plainStream) Next(ctx context.Context) (Batch, error) {
	if !s.read {
		s.read = true
		var rows [][]plainRow
		for _, in := range s.in {
			var rs []plainRow
			var schema *arrow.Schema
			for {
				b, err := in.Next(ctx)
				if err == io.EOF {
					break
				}
				if err != nil {
					return nil, err
				}
				schema = b.Schema()
				s.all = append(s.all, b)
				for i := range b.NumRows() {
					var r plainRow
					for _, c := range b.Columns() {
						a := array.NewSlice(c, i, i+1)
						s.made = append(s.made, a)
						r = append(r, a)
					}
					rs = append(rs, r)
				}
			}
			rows = append(rows, rs)
			s.s = append(s.s, schema)
		}
		if s.op.join != "" {
			s.out = s.joinRows(rows[0], rows[1])
		} else {
			s.out = s.op.rows(s.env, rows)
		}
	}
	if len(s.out) == 0 {
		return nil, io.EOF
	}
	r := s.out[0]
	s.out = s.out[1:]
	var fields []arrow.Field
	for _, a := range r {
		fields = append(fields, arrow.Field{Name: "c", Type: a.DataType(), Nullable: true})
	}
	return array.NewRecordBatch(arrow.NewSchema(fields, nil), r, 1), nil
}

func (s *plainStream) Close() error {
	for _, a := range s.made {
		a.Release()
	}
	for _, b := range s.all {
		b.Release()
	}
	s.made, s.all, s.out = nil, nil, nil
	for _, in := range s.in {
		in.Close()
	}
	return nil
}

func plainSort(rows []plainRow, keys []SortKey) []plainRow {
	text := func(r plainRow) string { return plainKey(r, keys) }
	slices.SortStableFunc(rows, func(a, b plainRow) int { return strings.Compare(text(a), text(b)) })
	return rows
}

func plainKey(r plainRow, keys []SortKey) string {
	var s string
	for _, k := range keys {
		s += directed(orderedText(r[k.Column], 0), k.Descending)
	}
	return s
}

func directed(s string, descending bool) string {
	if !descending {
		return s
	}
	inv := []byte(s + "\x00")
	for i := range inv {
		inv[i] = 0xff - inv[i]
	}
	return string(inv)
}

func testKey(b Batch, keys []SortKey, row int) string {
	var s string
	for _, k := range keys {
		s += directed(orderedText(b.Column(k.Column), row), k.Descending)
	}
	return s
}

// orderedText is a value as a text that orders as the engine does.
func orderedText(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "0"
	}
	switch v := a.(type) {
	case *array.Struct:
		s := "1"
		for k := range v.NumField() {
			s += orderedText(v.Field(k), i)
		}
		return s
	case *array.String:
		return "1" + strings.ReplaceAll(v.Value(i), "\x00", "\x00\x01") + "\x00\x00"
	case *array.Int64:
		return fmt.Sprintf("1%016x", uint64(v.Value(i))^1<<63)
	case *array.Int32:
		return fmt.Sprintf("1%016x", uint64(int64(v.Value(i)))^1<<63)
	case *array.Uint64:
		return fmt.Sprintf("1%016x", v.Value(i))
	case *array.Float64:
		f := v.Value(i)
		u := math.Float64bits(f + 0)
		if f < 0 {
			u = ^u
		} else {
			u |= 1 << 63
		}
		if f != f {
			u = math.MaxUint64
		}
		return fmt.Sprintf("1%016x", u)
	}
	panic("no order for " + a.DataType().String())
}

func (s *plainStream) joinRows(left, right []plainRow) []plainRow {
	key := func(side int, r plainRow) (k string, ok bool) {
		for _, c := range s.op.keys[side] {
			if r[c].IsNull(0) {
				return "", false
			}
			k += orderedText(r[c], 0)
		}
		return k, true
	}
	nulls := func(like plainRow) plainRow {
		var out plainRow
		for _, a := range like {
			n := array.MakeArrayOfNull(s.env.Alloc, a.DataType(), 1)
			s.made = append(s.made, n)
			out = append(out, n)
		}
		return out
	}
	var out []plainRow
	met := make([]bool, len(right))
	for _, l := range left {
		lk, lok := key(0, l)
		found := false
		for i, r := range right {
			if rk, ok := key(1, r); ok && lok && rk == lk {
				found, met[i] = true, true
				if s.op.join != "semi" && s.op.join != "anti" {
					out = append(out, slices.Concat(l, r))
				}
			}
		}
		switch {
		case s.op.join == "semi" && found, s.op.join == "anti" && !found:
			out = append(out, l)
		case (s.op.join == "left" || s.op.join == "full") && !found:
			out = append(out, slices.Concat(l, nulls(s.other(1))))
		}
	}
	for i, r := range right {
		if !met[i] && (s.op.join == "right" || s.op.join == "full") {
			out = append(out, slices.Concat(nulls(s.other(0)), r))
		}
	}
	return out
}

// other is arrays of the types of a side, from the plan: the side may be empty.
func (s *plainStream) other(side int) plainRow {
	var out plainRow
	for _, f := range plannedSides[side].Fields() {
		a := array.MakeArrayOfNull(s.env.Alloc, f.Type, 0)
		s.made = append(s.made, a)
		out = append(out, a)
	}
	return out
}

// plannedSides is what the join at hand was told of its inputs.
var plannedSides [2]*arrow.Schema
