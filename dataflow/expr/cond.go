package expr

import (
	"errors"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// cases is CASE: conditions and values in turn, and the value for the rest. A value
// is worked out for the rows that take it only.
func cases(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if len(args) < 3 || len(args)%2 == 0 {
		return nil, errors.New("a case has conditions and values in turn and ends with a value")
	}
	var conds, values []*bnode
	for i := 0; i+1 < len(args); i += 2 {
		conds, values = append(conds, args[i]), append(values, args[i+1])
	}
	if err := wantAll(conds, "a condition", isBool); err != nil {
		return nil, err
	}
	return b.choose("case", conds, append(values, args[len(args)-1]))
}

// coalesce is a case whose conditions are that values are not null.
func coalesce(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if len(args) == 0 {
		return nil, errors.New("there is no value")
	}
	var conds []*bnode
	for i, a := range args[:len(args)-1] {
		if !a.nullable {
			args = args[:i+1]
			break
		}
		null, err := isNull(b, nil, []*bnode{a})
		if err != nil {
			return nil, err
		}
		there, err := not(b, nil, []*bnode{null})
		if err != nil {
			return nil, err
		}
		conds = append(conds, there)
	}
	if len(args) == 1 {
		return args[0], nil
	}
	n, err := b.choose("coalesce", conds[:len(args)-1], args)
	if err != nil {
		return nil, err
	}
	if n.lit == nil && !args[len(args)-1].nullable { // the last is for all that are null before
		n.nullable = false
	}
	return n, nil
}

func (b *binder) choose(op string, conds, values []*bnode) (*bnode, error) {
	t := values[0].typ
	for _, v := range values[1:] {
		var ok bool
		if t, ok = common(t, v.typ); !ok {
			return nil, fmt.Errorf("%s is of type %s, another value of %s", v.text, v.typ, values[0].typ)
		}
	}
	if kindOf(t) == kNone {
		return nil, fmt.Errorf("values of type %s cannot be chosen from", t)
	}
	n := &bnode{op: op, typ: t}
	for i := range values {
		// Narrow integers of several widths become int64, so every value has one type.
		v := b.convert(values[i], t)
		n.nullable = n.nullable || v.nullable
		n.args = append(n.args, v)
	}
	n.args = append(n.args, conds...)
	k := len(values)
	n.lazy = func(f *frame, n *bnode) (*vec, error) { return f.choose(n.typ, n.args[:k], n.args[k:]) }
	return b.node(n, fmt.Sprint(k)), nil
}

func (f *frame) choose(t arrow.DataType, values, conds []*bnode) (*vec, error) {
	which := f.u8.get(f.n) // the value of each row, that of no branch for now
	for i := range which {
		which[i] = uint8(len(conds))
	}
	if len(conds) > 250 {
		return nil, errors.New("a case has more than 250 branches")
	}
	open := f.sels.get(f.n) // rows that no branch has taken
	for i := range open {
		open[i] = int32(i)
	}
	for c, cond := range conds {
		part := f
		if len(open) < f.n {
			part = f.only(open)
		}
		v, err := part.eval(cond)
		if err != nil {
			return nil, err
		}
		bits, valid := part.truth(v)
		k := 0
		for i, r := range open {
			yes := bits[i]
			if valid != nil {
				yes &= valid[i]
			}
			if yes != 0 {
				which[r] = uint8(c)
			}
			open[k] = r
			k += int(yes ^ 1)
		}
		if open = open[:k]; k == 0 {
			break
		}
	}
	return f.assemble(t, values, which)
}

// assemble makes a column of the values that which names for each row.
func (f *frame) assemble(t arrow.DataType, values []*bnode, which []uint8) (*vec, error) {
	parts := make([]*vec, len(values))
	starts := make([][]int32, len(values)) // of a part that was made for its rows alone: these
	for c, n := range values {
		rows := f.sels.get(f.n)
		k := 0
		for i, w := range which {
			rows[k] = int32(i)
			k += int(b2u(int(w) == c))
		}
		rows = rows[:k]
		if k == 0 {
			continue
		}
		part := f
		if k < f.n && n.fails {
			part = f.only(rows)
			starts[c] = rows
		}
		v, err := part.eval(n)
		if err != nil {
			return nil, err
		}
		if parts[c] = v; k == f.n && !v.allNull() {
			return v, nil
		}
	}
	return f.merge(t, parts, starts, which)
}

func (f *frame) merge(t arrow.DataType, parts []*vec, rows [][]int32, which []uint8) (*vec, error) {
	out := &vec{kind: kindOf(t)}
	if out.kind == kDec {
		out.kind = kI64
	}
	for _, p := range parts {
		if p == nil {
			continue
		}
		if p.kind == kDec {
			out.kind = kDec
		}
		if p.valid != nil && out.valid == nil || p.allNull() && out.valid == nil {
			out.valid = f.u8.get(f.n)
			for i := range out.valid {
				out.valid[i] = 1
			}
		}
	}
	switch out.kind {
	case kBool:
		out.bits = f.u8.get(f.n)
	case kI32:
		out.i32 = f.i32.get(f.n)
	case kI64:
		out.i64 = f.i64.get(f.n)
	case kDec:
		out.dec = f.dec.get(f.n)
	case kF64:
		out.f64 = f.f64.get(f.n)
	case kText:
		out.from, out.to = f.i32.get(f.n), f.i32.get(f.n)
	}
	for c, p := range parts {
		if p == nil {
			continue
		}
		put := func(r, i int) {
			j := i & p.step()
			if out.valid != nil && p.valid != nil {
				out.valid[r] = p.valid[j]
			}
			switch out.kind {
			case kBool:
				out.bits[r] = p.bits[j]
			case kI32:
				out.i32[r] = p.i32[j]
			case kI64:
				out.i64[r] = p.i64[j]
			case kDec:
				out.dec[r] = p.num(j)
			case kF64:
				out.f64[r] = p.f64[j]
			}
		}
		switch {
		case p.allNull():
			for r, w := range which {
				if int(w) == c {
					f.zero(out, r)
				}
			}
		case rows[c] != nil:
			for i, r := range rows[c] {
				put(int(r), i)
			}
		case out.kind == kI64 && p.valid == nil:
			m := p.step()
			for r, w := range which {
				if int(w) == c {
					out.i64[r] = p.i64[r&m]
				}
			}
		default:
			for r, w := range which {
				if int(w) == c {
					put(r, r)
				}
			}
		}
	}
	if out.kind == kText {
		return out, f.mergeText(out, parts, rows, which)
	}
	return out, nil
}

func (f *frame) zero(out *vec, r int) {
	out.valid[r] = 0
	switch out.kind {
	case kBool:
		out.bits[r] = 0
	case kI32:
		out.i32[r] = 0
	case kI64:
		out.i64[r] = 0
	case kDec:
		out.dec[r] = decimal128.Num{}
	case kF64:
		out.f64[r] = 0
	}
}

func (f *frame) mergeText(out *vec, parts []*vec, rows [][]int32, which []uint8) error {
	next := make([]int, len(parts))
	c := &column{f, out}
	for r, w := range which {
		p, i := parts[w], r
		if rows[w] != nil {
			i = next[w]
			next[w]++
		}
		if p.null(i) || p.allNull() {
			c.put(r, literal{})
			continue
		}
		c.v.from[r] = int32(len(c.v.data))
		c.v.data = append(c.v.data, p.text(i)...)
		c.v.to[r] = int32(len(c.v.data))
	}
	_, err := c.done()
	return err
}
