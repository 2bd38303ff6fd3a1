package expr

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

func isBool(t arrow.DataType) bool { return t.ID() == arrow.BOOL }

// truth is a condition's value and validity, one byte a row.
func (f *frame) truth(v *vec) (bits, valid []uint8) {
	if !v.konst {
		return v.bits, v.valid
	}
	bits = f.u8.get(f.n)
	if v.allNull() {
		clear(bits)
		return bits, bits
	}
	for i := range bits {
		bits[i] = v.bits[0]
	}
	return bits, nil
}

// logic is and, or. A row is known when both sides are, or one decides it alone.
// Where one side may fail it is only asked about rows the other leaves open, so
// that x <> 0 and 1 // x > 2 is safe.
func logic(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a condition", isBool); err != nil {
		return nil, err
	}
	decides := n.op == "or" // the value that decides alone
	for i, a := range args {
		if a.lit == nil {
			continue
		}
		switch {
		case a.lit.allNull():
		case (a.lit.bits[0] == 1) == decides:
			return a, nil
		default:
			if other := args[1-i]; other.typ.ID() == arrow.BOOL {
				return other, nil
			}
		}
	}
	out := &bnode{op: n.op, typ: boolType, nullable: args[0].nullable || args[1].nullable, args: args}
	out.lazy = func(f *frame, n *bnode) (*vec, error) {
		first, err := f.eval(n.args[0])
		if err != nil {
			return nil, err
		}
		x, vx := f.truth(first)
		var second *vec
		if n.args[1].fails {
			second, err = f.evalOpen(n.args[1], x, vx, b2u(decides))
		} else {
			second, err = f.eval(n.args[1])
		}
		if err != nil {
			return nil, err
		}
		y, vy := f.truth(second)
		return f.combine(x, vx, y, vy, decides), nil
	}
	return b.node(out, ""), nil
}

func (f *frame) combine(x, vx, y, vy []uint8, decides bool) *vec {
	v := &vec{kind: kBool, bits: f.u8.get(f.n)}
	x, y = x[:len(v.bits)], y[:len(v.bits)]
	if vx == nil && vy == nil {
		if decides {
			for i := range v.bits {
				v.bits[i] = x[i] | y[i]
			}
		} else {
			for i := range v.bits {
				v.bits[i] = x[i] & y[i]
			}
		}
		return v
	}
	flip := b2u(!decides) // and is or of the opposites
	v.valid = f.u8.get(f.n)
	for i := range v.bits {
		a, b, ka, kb := x[i]^flip, y[i]^flip, uint8(1), uint8(1)
		if vx != nil {
			ka = vx[i]
		}
		if vy != nil {
			kb = vy[i]
		}
		yes := a&ka | b&kb
		v.bits[i] = yes ^ flip
		v.valid[i] = yes | ka&kb
	}
	return v
}

// evalOpen evaluates a condition for the rows that another has not decided.
func (f *frame) evalOpen(n *bnode, x, vx []uint8, decides uint8) (*vec, error) {
	rows := f.sels.get(f.n)[:0]
	for i, b := range x[:f.n] {
		if b != decides || vx != nil && vx[i] == 0 {
			rows = append(rows, int32(i))
		}
	}
	if len(rows) == f.n {
		return f.eval(n)
	}
	out := &vec{kind: kBool, bits: f.u8.get(f.n)}
	clear(out.bits)
	if len(rows) == 0 {
		return out, nil
	}
	part := f.only(rows)
	v, err := part.eval(n)
	if err != nil {
		return nil, err
	}
	bits, valid := part.truth(v)
	if valid != nil {
		out.valid = f.u8.get(f.n)
		for i := range out.valid {
			out.valid[i] = 1
		}
	}
	for i, r := range rows {
		out.bits[r] = bits[i]
		if valid != nil {
			out.valid[r] = valid[i]
		}
	}
	return out, nil
}

func not(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a condition", isBool); err != nil {
		return nil, err
	}
	return b.strict("not", boolType, args, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: a[0].valid, bits: f.u8.get(f.n)}
		m := a[0].step()
		for i := range v.bits {
			v.bits[i] = a[0].bits[i&m] ^ 1
		}
		return v, nil
	}), nil
}

func isNull(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if !args[0].nullable {
		return b.literal(literal{typ: boolType}), nil
	}
	if c := args[0].col; c >= 0 && kindOf(args[0].typ) == kNone { // of any type
		n := &bnode{op: "isnull", typ: boolType, args: args, lazy: func(f *frame, _ *bnode) (*vec, error) {
			a := f.batch.Column(c)
			v := &vec{kind: kBool, bits: f.u8.get(f.n)}
			for i := range v.bits {
				r := i
				if f.sel != nil {
					r = int(f.sel[i])
				}
				v.bits[i] = b2u(a.IsNull(r))
			}
			return v, nil
		}}
		return b.node(n, ""), nil
	}
	n := &bnode{op: "isnull", typ: boolType, args: args, strict: func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, bits: f.u8.get(f.n)}
		switch {
		case a[0].allNull():
			for i := range v.bits {
				v.bits[i] = 1
			}
		case a[0].valid == nil:
			clear(v.bits)
		default:
			for i := range v.bits {
				v.bits[i] = a[0].valid[i] ^ 1
			}
		}
		return v, nil
	}}
	return b.node(n, ""), nil
}

// fewValues may be compared one by one; more are looked up.
const fewValues = 4

// in compares with literals through a table where there are many; anything else is
// an or of comparisons.
func in(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("there is nothing to look for")
	}
	x, values := args[0], args[1:]
	for _, v := range values {
		if v.lit == nil || v.lit.allNull() {
			return inAny(b, x, values)
		}
	}
	if isText(x.typ) {
		if err := wantAll(values, "text", isText); err != nil {
			return nil, err
		}
		return b.textIn(x, values), nil
	}
	if len(values) > fewValues && isInt(x.typ) {
		if err := wantAll(values, "an integer", isInt); err != nil {
			return nil, err
		}
		return b.intIn(x, values), nil
	}
	return inAny(b, x, values)
}

func inAny(b *binder, x *bnode, values []*bnode) (*bnode, error) {
	out := b.literal(literal{typ: boolType})
	for _, v := range values {
		eq, err := comparison(b, &node{op: "eq"}, []*bnode{x, v})
		if err != nil {
			return nil, err
		}
		if out, err = logic(b, &node{op: "or"}, []*bnode{out, eq}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (b *binder) textIn(x *bnode, values []*bnode) *bnode {
	set, extra := map[string]bool{}, ""
	var lens [64]bool // of the values, to look up few that are none
	long := false
	for _, v := range values {
		s := string(v.lit.text(0))
		set[s] = true
		extra += fmt.Sprintf("%q", s)
		if len(s) < len(lens) {
			lens[len(s)] = true
		} else {
			long = true
		}
	}
	return b.strictX("in", extra, boolType, 12, false, []*bnode{x}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: a[0].valid, bits: f.u8.get(f.n)}
		for i := range v.bits {
			t := a[0].text(i)
			found := false
			if len(t) < len(lens) && lens[len(t)] || len(t) >= len(lens) && long {
				found = set[string(t)]
			}
			v.bits[i] = b2u(found)
		}
		return v, nil
	})
}

func (b *binder) intIn(x *bnode, values []*bnode) *bnode {
	set, extra := map[int64]bool{}, ""
	for _, v := range values {
		n := v.lit.at(0).i
		set[n] = true
		extra += fmt.Sprintf(" %d", n)
	}
	return b.strictX("in", extra, boolType, 8, false, []*bnode{b.toInt64(x)}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: a[0].valid, bits: f.u8.get(f.n)}
		m := a[0].step()
		for i := range v.bits {
			v.bits[i] = b2u(set[a[0].i64[i&m]])
		}
		return v, nil
	})
}
