package expr

import (
	"bytes"
	"cmp"
	"fmt"
	"math"

	"github.com/apache/arrow-go/v18/arrow"
)

func comparison(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if out, ok := b.compareWide(n.op, args[0], args[1]); ok {
		return out, nil
	}
	x, y, err := b.alike(args[0], args[1])
	if err != nil {
		return nil, err
	}
	op := n.op
	if op == "gt" || op == "ge" { // the same with the sides exchanged
		x, y, op = y, x, map[string]string{"gt": "lt", "ge": "le"}[op]
	}
	cost := 0
	if isText(x.typ) {
		cost = 10
	}
	out := b.strictX(op, "", boolType, cost, false, []*bnode{x, y}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: f.bothValid(a[0], a[1]), bits: f.u8.get(f.n)}
		compareVecs(op, v.bits, a[0], a[1])
		return v, nil
	})
	return out, nil
}

// compareWide compares exact numbers that have no common scale in which both fit.
func (b *binder) compareWide(op string, x, y *bnode) (*bnode, bool) {
	exact := func(t arrow.DataType) bool { return isInt(t) || kindOf(t) == kDec }
	if !exact(x.typ) || !exact(y.typ) || isInt(x.typ) && isInt(y.typ) {
		return nil, false
	}
	px, sx := digitsOf(x)
	py, sy := digitsOf(y)
	scale := max(sx, sy)
	if px+scale-sx <= maxDigits && py+scale-sy <= maxDigits {
		return nil, false
	}
	if op == "gt" || op == "ge" {
		x, y, sx, sy, op = y, x, sy, sx, map[string]string{"gt": "lt", "ge": "le"}[op]
	}
	fx, fy := pow10(scale-sx).BigInt(), pow10(scale-sy).BigInt()
	return b.strictX(op, "wide", boolType, 100, false, []*bnode{b.toInt64(x), b.toInt64(y)}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: f.bothValid(a[0], a[1]), bits: f.u8.get(f.n)}
		for i := range v.bits {
			p, q := a[0].num(i).BigInt(), a[1].num(i).BigInt()
			v.bits[i] = holds(op, p.Mul(p, fx).Cmp(q.Mul(q, fy)))
		}
		return v, nil
	}), true
}

// alike brings two values to one type in which they compare.
func (b *binder) alike(x, y *bnode) (*bnode, *bnode, error) {
	// A constant takes the type of what it is compared with, if it can: the column
	// need not be widened.
	if n, ok := b.shrunk(y, x.typ); ok {
		return x, n, nil
	}
	if n, ok := b.shrunk(x, y.typ); ok {
		return n, y, nil
	}
	t, ok := common(x.typ, y.typ)
	if !ok || kindOf(t) == kNone {
		return nil, nil, fmt.Errorf("%s and %s are of types that do not compare, %s and %s", x.text, y.text, x.typ, y.typ)
	}
	if kindOf(t) == kI64 && kindOf(x.typ) == kI32 && kindOf(y.typ) == kI32 && isInt(x.typ) {
		return x, y, nil
	}
	return b.convert(x, t), b.convert(y, t), nil
}

// shrunk is an integer literal as a narrower type.
func (b *binder) shrunk(n *bnode, t arrow.DataType) (*bnode, bool) {
	if n.lit == nil || n.lit.allNull() || n.lit.kind != kI64 || !isInt(n.typ) || !isInt(t) || kindOf(t) != kI32 {
		return nil, false
	}
	v := n.lit.i64[0]
	if v < math.MinInt32 || v > math.MaxInt32 {
		return nil, false
	}
	return b.literal(literal{typ: arrow.PrimitiveTypes.Int32, i: v}), true
}

// compareVecs writes 1 where a op b for eq, ne, lt and le.
func compareVecs(op string, dst []uint8, a, b *vec) {
	switch a.kind {
	case kBool:
		compareNumbers(op, dst, a.bits, b.bits, a.step(), b.step())
	case kI32:
		compareNumbers(op, dst, a.i32, b.i32, a.step(), b.step())
	case kF64:
		compareFloats(op, dst, a.f64, b.f64, a.step(), b.step())
	case kText:
		compareText(op, dst, a, b)
	default:
		if a.kind == kI64 && b.kind == kI64 {
			compareNumbers(op, dst, a.i64, b.i64, a.step(), b.step())
			return
		}
		for i := range dst {
			dst[i] = holds(op, a.num(i).Cmp(b.num(i)))
		}
	}
}

// holds says whether an order of -1, 0 or 1 fulfils op.
func holds(op string, order int) uint8 {
	switch op {
	case "eq":
		return b2u(order == 0)
	case "ne":
		return b2u(order != 0)
	case "lt":
		return b2u(order < 0)
	}
	return b2u(order <= 0)
}

func compareNumbers[T uint8 | int32 | int64](op string, dst []uint8, a, b []T, ma, mb int) {
	switch {
	case mb == 0 && ma != 0:
		compareRight(op, dst, a[:len(dst)], b[0])
		return
	case ma == 0 && mb != 0 && (op == "lt" || op == "le"): // x < y is not y <= x
		other := "lt"
		if op == "lt" {
			other = "le"
		}
		compareRight(other, dst, b[:len(dst)], a[0])
		for i := range dst {
			dst[i] ^= 1
		}
		return
	}
	switch op {
	case "eq":
		for i := range dst {
			dst[i] = b2u(a[i&ma] == b[i&mb])
		}
	case "ne":
		for i := range dst {
			dst[i] = b2u(a[i&ma] != b[i&mb])
		}
	case "lt":
		for i := range dst {
			dst[i] = b2u(a[i&ma] < b[i&mb])
		}
	default:
		for i := range dst {
			dst[i] = b2u(a[i&ma] <= b[i&mb])
		}
	}
}

func compareRight[T uint8 | int32 | int64](op string, dst []uint8, a []T, y T) {
	dst = dst[:len(a)]
	switch op {
	case "eq":
		for i, x := range a {
			dst[i] = b2u(x == y)
		}
	case "ne":
		for i, x := range a {
			dst[i] = b2u(x != y)
		}
	case "lt":
		for i, x := range a {
			dst[i] = b2u(x < y)
		}
	default:
		for i, x := range a {
			dst[i] = b2u(x <= y)
		}
	}
}

// compareFloats puts NaN behind all numbers and equal to itself.
func compareFloats(op string, dst []uint8, a, b []float64, ma, mb int) {
	for i := range dst {
		x, y := a[i&ma], b[i&mb]
		xn, yn := b2u(x != x), b2u(y != y)
		switch op {
		case "eq":
			dst[i] = b2u(x == y) | xn&yn
		case "ne":
			dst[i] = (b2u(x == y) | xn&yn) ^ 1
		case "lt":
			dst[i] = b2u(x < y) | yn&^xn
		default:
			dst[i] = b2u(x <= y) | yn
		}
	}
}

func compareText(op string, dst []uint8, a, b *vec) {
	ma, mb := a.step(), b.step()
	if op == "eq" || op == "ne" {
		flip := b2u(op == "ne")
		if mb == 0 {
			y := string(b.text(0))
			for i := range dst {
				j := i & ma
				dst[i] = flip
				if int(a.to[j]-a.from[j]) == len(y) && string(a.data[a.from[j]:a.to[j]]) == y {
					dst[i] = flip ^ 1
				}
			}
			return
		}
		for i := range dst {
			dst[i] = b2u(string(a.text(i)) == string(b.text(i))) ^ flip
		}
		return
	}
	for i := range dst {
		dst[i] = holds(op, bytes.Compare(a.data[a.from[i&ma]:a.to[i&ma]], b.data[b.from[i&mb]:b.to[i&mb]]))
	}
}

// order compares two values of one type; neither is null.
func (l literal) order(m literal) int {
	switch kindOf(l.typ) {
	case kDec:
		return l.d.Cmp(m.d)
	case kF64:
		switch {
		case l.f < m.f || m.f != m.f && l.f == l.f:
			return -1
		case l.f > m.f || l.f != l.f && m.f == m.f:
			return 1
		}
		return 0
	case kText:
		return cmp.Compare(l.s, m.s)
	}
	return cmp.Compare(l.i, m.i)
}
