package dataflow

import (
	"slices"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// push moves conditions as far towards the sources as they mean the same, together
// with those it meets on the way.
func push(r *rel, conds []expr.Expr) *rel {
	switch r.op {
	case "where":
		var own []expr.Expr
		for _, c := range r.where {
			own = append(own, expr.Conjuncts(c)...)
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

// above keeps conditions where they are.
func above(r *rel, conds []expr.Expr) *rel {
	if len(conds) == 0 {
		return r
	}
	return &rel{op: "where", name: "Where", site: r.site, in: []*rel{r}, schema: r.schema, where: conds}
}

// pushThrough moves conditions on columns that are just passed on.
func pushThrough(r *rel, conds []expr.Expr, cols []Column) *rel {
	same := map[string]expr.Expr{}
	for _, c := range cols {
		if _, ok := c.Expr.Column(); ok {
			same[c.Name] = c.Expr
		}
	}
	var down, rest []expr.Expr
	for _, c := range conds {
		names := expr.Columns(c)
		if len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { return same[n].IsZero() }) {
			down = append(down, expr.Substitute(c, same))
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
func pushJoin(r *rel, conds []expr.Expr) *rel {
	how := r.join.how
	var left, right, rest []expr.Expr
	for _, c := range conds {
		names := expr.Columns(c)
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
