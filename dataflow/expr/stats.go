package expr

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// A Range is what is known of a column's values in a part of the data: all that
// are not null lie between Min and Max, which are of the column's type. It may be
// wider than the values.
type Range struct {
	Min, Max Value
	AllNull  bool // there are only nulls; Min and Max are not looked at
}

// A Value is one value of a type that expressions know.
type Value struct{ lit literal }

// ValueOf is the value of a literal.
func ValueOf(e Expr) (Value, error) {
	if e.n == nil || e.n.op != opLit || e.n.err != nil || e.n.lit.null {
		return Value{}, fmt.Errorf("%s is no literal", e)
	}
	return Value{e.n.lit}, nil
}

// Type is the value's type.
func (v Value) Type() arrow.DataType { return v.lit.typ }

// Prune says whether a part of the data may hold a row for which a condition is
// true, by what is known of its columns: schema has their types, known answers for
// those it knows. A condition that it cannot judge may be true. False is a promise.
func Prune(schema *arrow.Schema, cond Expr, known func(column string) (Range, bool)) bool {
	p := &pruner{schema, known}
	return p.may(cond)
}

type pruner struct {
	schema *arrow.Schema
	known  func(string) (Range, bool)
}

// may reports whether e can be true for some row.
func (p *pruner) may(e Expr) bool {
	if e.n == nil || e.n.err != nil {
		return true
	}
	switch n := e.n; n.op {
	case "and":
		return len(n.args) != 2 || p.may(n.args[0]) && p.may(n.args[1])
	case "or":
		return len(n.args) != 2 || p.may(n.args[0]) || p.may(n.args[1])
	case "eq", "lt", "le", "gt", "ge":
		return len(n.args) != 2 || p.compare(n.op, n.args[0], n.args[1])
	case "in":
		if len(n.args) == 0 {
			return true
		}
		for _, v := range n.args[1:] {
			if p.compare("eq", n.args[0], v) {
				return true
			}
		}
		return false
	case "like":
		return len(n.args) != 2 || p.like(n.args[0], n.args[1])
	case opLit:
		return n.lit.typ.ID() != arrow.BOOL || !n.lit.null && n.lit.i != 0
	}
	return true
}

var flipped = map[string]string{"eq": "eq", "lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}

// compare judges a comparison of a column with a constant, by trying it on the ends
// of the column's range.
func (p *pruner) compare(op string, x, y Expr) bool {
	if _, ok := x.Column(); !ok {
		x, y, op = y, x, flipped[op]
	}
	name, ok := x.Column()
	if !ok || len(Columns(y)) > 0 {
		return true
	}
	r, ok := p.known(name)
	if !ok {
		return true
	}
	if r.AllNull {
		return false
	}
	lo, hi := Expr{&node{op: opLit, lit: r.Min.lit}}, Expr{&node{op: opLit, lit: r.Max.lit}}
	switch op {
	case "eq":
		return p.holds(lo.Le(y)) && p.holds(hi.Ge(y))
	case "lt":
		return p.holds(lo.Lt(y))
	case "le":
		return p.holds(lo.Le(y))
	case "gt":
		return p.holds(hi.Gt(y))
	}
	return p.holds(hi.Ge(y))
}

// holds is whether a constant condition is true; one that cannot be worked out may be.
func (p *pruner) holds(e Expr) bool {
	b, err := Bind(p.schema, e)
	if err != nil || b.roots[0].lit == nil || b.roots[0].typ.ID() != arrow.BOOL {
		return true
	}
	v := b.roots[0].lit
	return !v.allNull() && v.bits[0] != 0
}

// like uses the plain text that a pattern begins with.
func (p *pruner) like(x, pattern Expr) bool {
	if pattern.n == nil || pattern.n.op != opLit || pattern.n.lit.null {
		return true
	}
	prefix := ""
	for _, c := range []byte(pattern.n.lit.s) {
		if c == '%' || c == '_' || c == '\\' {
			break
		}
		prefix += string([]byte{c})
	}
	name, ok := x.Column()
	if prefix == "" || !ok {
		return true
	}
	r, ok := p.known(name)
	if !ok || r.AllNull || !isText(r.Min.lit.typ) {
		return !ok || !r.AllNull
	}
	// Some text that begins with prefix is not before Min, and prefix not after Max.
	head := r.Min.lit.s[:min(len(prefix), len(r.Min.lit.s))]
	return prefix >= head && prefix <= r.Max.lit.s
}
