package dataflow

import (
	"slices"
	"strings"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// A cond is a condition on its way to the sources, and the step that states it.
type cond struct {
	expr.Expr
	from *rel
}

// push moves conditions as far towards the sources as they mean the same, together
// with those it meets on the way.
func push(r *rel, conds []cond) *rel {
	switch r.op {
	case "where":
		var own []cond
		for _, c := range r.where {
			for _, e := range expr.Conjuncts(c) {
				own = append(own, cond{e, r})
			}
		}
		return push(r.in[0], append(own, conds...))
	case "select":
		return pushThrough(r, conds, r.cols)
	case "group":
		return pushThrough(r, conds, r.keys)
	case "window": // what is about a partition is about all its rows
		var parts []Column
		for _, name := range r.window.parts {
			parts = append(parts, Column{name, expr.Col(name)})
		}
		return pushThrough(r, conds, parts)
	case "join":
		return pushJoin(r, conds)
	case "explode":
		return pushThrough(r, conds, r.others())
	case "expand":
		return pushThrough(r, conds, r.same())
	case "union":
		out := *r
		out.in = nil
		for _, in := range r.in {
			out.in = append(out.in, push(in, conds))
		}
		return &out
	case "sort":
		if r.limit == 0 {
			out := *r
			out.in = []*rel{push(r.in[0], conds)}
			return &out
		}
	case "scan", "cache": // what is cached is the same for all readers
		return above(r, conds)
	}
	out := *r
	out.in = []*rel{push(r.in[0], nil)}
	return above(&out, conds)
}

// above keeps conditions where they are, under the names that their steps were given.
func above(r *rel, conds []cond) *rel {
	if len(conds) == 0 {
		return r
	}
	out := &rel{op: "where", name: whereName, site: r.site, in: []*rel{r}, schema: r.schema}
	var names []string
	for _, c := range conds {
		out.where = append(out.where, c.Expr)
		if c.from.name != whereName {
			names = with(names, c.from.name)
		}
	}
	if len(names) > 0 {
		out.name = strings.Join(names, "+")
	}
	return out
}

// whereName is what a condition is called whose author does not say.
const whereName = "Where"

// pushThrough moves conditions on columns that are just passed on.
func pushThrough(r *rel, conds []cond, cols []Column) *rel {
	same := map[string]expr.Expr{}
	for _, c := range cols {
		if _, ok := c.Expr.Column(); ok {
			same[c.Name] = c.Expr
		}
	}
	var down, rest []cond
	for _, c := range conds {
		names := expr.Columns(c.Expr)
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return same[n].IsZero() }) {
			down = append(down, cond{expr.Substitute(c.Expr, same), c.from})
		} else {
			rest = append(rest, c)
		}
	}
	out := *r
	out.in = []*rel{push(r.in[0], down)}
	return above(&out, rest)
}

// pushJoin moves a condition to the side that it is about, unless rows of that side
// come out without a partner's columns.
func pushJoin(r *rel, conds []cond) *rel {
	how := r.join.how
	var left, right, rest []cond
	for _, c := range conds {
		names := expr.Columns(c.Expr)
		of := func(side int) bool {
			return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return !r.in[side].schema.HasField(n) })
		}
		switch {
		case how != "full" && of(0):
			left = append(left, c)
		case how == "inner" && of(1):
			right = append(right, c)
		default:
			rest = append(rest, c)
		}
	}
	out := *r
	out.in = []*rel{push(r.in[0], left), push(r.in[1], right)}
	return above(&out, rest)
}

// rowsBelow goes down through selects and wheres and says what columns and conditions at
// the top are in terms of the rows below: so that one operator does all of it.
func rowsBelow(r *rel, cols []expr.Expr) (below *rel, out, conds []expr.Expr) {
	out = slices.Clone(cols)
	for {
		switch r.op {
		case "where":
			conds = append(slices.Clone(r.where), conds...)
		case "select":
			by := map[string]expr.Expr{}
			for _, c := range r.cols {
				by[c.Name] = c.Expr
			}
			for i := range out {
				out[i] = expr.Substitute(out[i], by)
			}
			for i := range conds {
				conds[i] = expr.Substitute(conds[i], by)
			}
		default:
			return r, out, conds
		}
		r = r.in[0]
	}
}
