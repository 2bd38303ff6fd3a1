package expr

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

var (
	int64Type = arrow.PrimitiveTypes.Int64
	floatType = arrow.PrimitiveTypes.Float64
	boolType  = arrow.FixedWidthTypes.Boolean
)

// arithmetic is add, sub and mul.
func arithmetic(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a number", isNumber); err != nil {
		return nil, err
	}
	if args[0].typ.ID() == arrow.NULL || args[1].typ.ID() == arrow.NULL {
		return b.literal(literal{typ: arrow.Null, null: true}), nil
	}
	switch x, y := args[0], args[1]; {
	case kindOf(x.typ) == kF64 || kindOf(y.typ) == kF64:
		op := floatOps[n.op]
		return b.strict(n.op, floatType, []*bnode{b.toFloat(x), b.toFloat(y)}, func(f *frame, a []*vec) (*vec, error) {
			return floats(f, a[0], a[1], op), nil
		}), nil
	case isInt(x.typ) && isInt(y.typ):
		op := intOps[n.op]
		return b.strictX(n.op, "", int64Type, 0, true, []*bnode{b.toInt64(x), b.toInt64(y)}, func(f *frame, a []*vec) (*vec, error) {
			v, bad := op.run(f, a[0], a[1])
			if !bad {
				return v, nil
			}
			return v, f.overflow(a[0], a[1], v.valid, op)
		}), nil
	default:
		return b.decimals(n.op, x, y)
	}
}

func (b *binder) decimals(op string, x, y *bnode) (*bnode, error) {
	px, sx := digitsOf(x)
	py, sy := digitsOf(y)
	o := intOps[op]
	var t *arrow.Decimal128Type
	if op == "mul" {
		if sx+sy > maxDigits {
			return nil, failure(0, "the product has %d digits behind the point, more than %d", sx+sy, maxDigits)
		}
		t = decimalOf(px+py, sx+sy)
		x, y = b.toInt64(x), b.toInt64(y)
	} else {
		s := max(sx, sy)
		t = decimalOf(max(px-sx, py-sy)+s+1, s)
		x, y = b.rescaled(x, s), b.rescaled(y, s)
	}
	return b.strictX(op, "", t, 1, true, []*bnode{x, y}, func(f *frame, a []*vec) (*vec, error) {
		if a[0].kind == kI64 && a[1].kind == kI64 {
			if v, bad := o.run(f, a[0], a[1]); !bad {
				return v, nil
			}
		}
		return f.bigDecimals(a[0], a[1], o, int(t.Scale))
	}), nil
}

// digitsOf is the precision and scale of a number; a literal has only the digits
// that it needs.
func digitsOf(n *bnode) (precision, scale int) {
	p, s := digits(n.typ)
	if n.lit != nil && !n.lit.allNull() && kindOf(n.typ) != kF64 {
		var d decimal128.Num
		if n.lit.kind == kI32 {
			d = decimal128.FromI64(int64(n.lit.i32[0]))
		} else {
			d = n.lit.num(0)
		}
		need := len(d.Abs().BigInt().String())
		return min(p, max(need, s)), s
	}
	return p, s
}

// An intOp works on two columns of int64 and says whether some result overflowed.
type intOp struct {
	word  string
	small func(x, y int64) (int64, bool)
	loop  func(dst, a, b []int64, ma, mb int) (bad bool)
	large func(z, x, y *big.Int) *big.Int
}

func (o intOp) run(f *frame, a, b *vec) (*vec, bool) {
	v := &vec{kind: kI64, valid: f.bothValid(a, b), i64: f.i64.get(f.n)}
	return v, o.loop(v.i64, a.i64, b.i64, a.step(), b.step())
}

var intOps = map[string]intOp{
	"add": {"+", func(x, y int64) (int64, bool) { r := x + y; return r, (x^r)&(y^r) >= 0 }, addLoop, (*big.Int).Add},
	"sub": {"-", func(x, y int64) (int64, bool) { r := x - y; return r, (x^y)&(x^r) >= 0 }, subLoop, (*big.Int).Sub},
	"mul": {"*", func(x, y int64) (int64, bool) {
		hi, lo := mul64(x, y)
		return lo, hi == lo>>63
	}, mulLoop, (*big.Int).Mul},
}

func mul64(x, y int64) (hi, lo int64) {
	h, l := bits.Mul64(uint64(x), uint64(y))
	return int64(h) - x>>63&y - y>>63&x, int64(l)
}

func addLoop(dst, a, b []int64, ma, mb int) bool {
	bad := int64(0)
	if ma != 0 && mb != 0 {
		a, b = a[:len(dst)], b[:len(dst)]
		for i, x := range a {
			y := b[i]
			r := x + y
			dst[i] = r
			bad |= (x ^ r) & (y ^ r)
		}
		return bad < 0
	}
	for i := range dst {
		x, y := a[i&ma], b[i&mb]
		r := x + y
		dst[i] = r
		bad |= (x ^ r) & (y ^ r)
	}
	return bad < 0
}

func subLoop(dst, a, b []int64, ma, mb int) bool {
	bad := int64(0)
	for i := range dst {
		x, y := a[i&ma], b[i&mb]
		r := x - y
		dst[i] = r
		bad |= (x ^ y) & (x ^ r)
	}
	return bad < 0
}

func mulLoop(dst, a, b []int64, ma, mb int) bool {
	bad := int64(0)
	for i := range dst {
		hi, lo := mul64(a[i&ma], b[i&mb])
		dst[i] = lo
		bad |= hi ^ lo>>63
	}
	return bad != 0
}

// overflow finds the row that overflowed, or none: a null's value is nobody's.
func (f *frame) overflow(a, b *vec, valid []uint8, o intOp) error {
	for i := range f.n {
		if valid != nil && valid[i] == 0 {
			continue
		}
		x, y := a.i64[i&a.step()], b.i64[i&b.step()]
		if _, ok := o.small(x, y); !ok {
			return failure(i, "integer overflow: %d %s %d", x, o.word, y)
		}
	}
	return nil
}

// bigDecimals is the slow way, for values of any size.
func (f *frame) bigDecimals(a, b *vec, o intOp, scale int) (*vec, error) {
	v := &vec{kind: kDec, valid: f.bothValid(a, b), dec: f.dec.get(f.n)}
	var z big.Int
	for i := range v.dec {
		if v.valid != nil && v.valid[i] == 0 {
			v.dec[i] = decimal128.Num{}
			continue
		}
		x, y := a.num(i), b.num(i)
		if sx, ok := small(x); ok {
			if sy, ok := small(y); ok {
				hi, lo := mul64(sx, sy)
				switch o.word {
				case "*":
					v.dec[i] = decimal128.New(hi, uint64(lo))
				case "+":
					v.dec[i] = x.Add(y)
				default:
					v.dec[i] = x.Sub(y)
				}
				if v.dec[i].FitsInPrecision(maxDigits) {
					continue
				}
			}
		}
		o.large(&z, x.BigInt(), y.BigInt())
		if !fits(&z) {
			return nil, failure(i, "decimal overflow: %s %s %s (more than %d digits)", x.BigInt(), o.word, y.BigInt(), maxDigits)
		}
		v.dec[i] = decimal128.FromBigInt(&z)
	}
	return v, nil
}

func fits(z *big.Int) bool { return z.CmpAbs(digitLimit) < 0 }

var digitLimit = new(big.Int).Exp(big.NewInt(10), big.NewInt(maxDigits), nil)

var floatOps = map[string]func(x, y float64) float64{
	"add": func(x, y float64) float64 { return x + y },
	"sub": func(x, y float64) float64 { return x - y },
	"mul": func(x, y float64) float64 { return x * y },
	"div": func(x, y float64) float64 { return x / y },
}

func floats(f *frame, a, b *vec, op func(x, y float64) float64) *vec {
	v := &vec{kind: kF64, valid: f.bothValid(a, b), f64: f.f64.get(f.n)}
	ma, mb := a.step(), b.step()
	for i := range v.f64 {
		v.f64[i] = op(a.f64[i&ma], b.f64[i&mb])
	}
	return v
}

func division(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a number", isNumber); err != nil {
		return nil, err
	}
	return b.strict("div", floatType, []*bnode{b.toFloat(args[0]), b.toFloat(args[1])}, func(f *frame, a []*vec) (*vec, error) {
		return floats(f, a[0], a[1], floatOps["div"]), nil
	}), nil
}

// intDivision is idiv and mod.
func intDivision(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "an integer", isInt); err != nil {
		return nil, err
	}
	mod := n.op == "mod"
	return b.strictX(n.op, "", int64Type, 4, true, []*bnode{b.toInt64(args[0]), b.toInt64(args[1])}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kI64, valid: f.bothValid(a[0], a[1]), i64: f.i64.get(f.n)}
		ma, mb := a[0].step(), a[1].step()
		for i := range v.i64 {
			x, y := a[0].i64[i&ma], a[1].i64[i&mb]
			switch {
			case y == 0 || y == -1 && x == math.MinInt64 && !mod:
				v.i64[i] = 0
				if v.valid != nil && v.valid[i] == 0 {
					continue
				}
				if y == 0 {
					return nil, failure(i, "division by zero: %d", x)
				}
				return nil, failure(i, "integer overflow: %d // -1", x)
			case y == -1 && mod:
				v.i64[i] = 0
			case mod:
				v.i64[i] = x % y
			default:
				v.i64[i] = x / y
			}
		}
		return v, nil
	}), nil
}

// negation is neg and abs: a difference from zero, or the value itself.
func negation(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if err := wantAll(args, "a number", isNumber); err != nil {
		return nil, err
	}
	x := args[0]
	if kindOf(x.typ) == kF64 { // 0 - x would lose the sign of zero
		abs := n.op == "abs"
		return b.strict(n.op, floatType, []*bnode{b.toFloat(x)}, func(f *frame, a []*vec) (*vec, error) {
			v := &vec{kind: kF64, valid: a[0].valid, f64: f.f64.get(f.n)}
			m := a[0].step()
			for i := range v.f64 {
				if y := a[0].f64[i&m]; abs {
					v.f64[i] = math.Abs(y)
				} else {
					v.f64[i] = -y
				}
			}
			return v, nil
		}), nil
	}
	zero := b.literal(literal{typ: int64Type})
	minus, err := arithmetic(b, &node{op: "sub"}, []*bnode{zero, x})
	if err != nil || n.op == "neg" {
		return minus, err
	}
	negative, err := comparison(b, &node{op: "lt"}, []*bnode{x, zero})
	if err != nil {
		return nil, err
	}
	return cases(b, &node{op: "case"}, []*bnode{negative, minus, x})
}
