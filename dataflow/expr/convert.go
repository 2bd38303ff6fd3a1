package expr

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
)

// toInt64 makes an integer an int64, whatever its width.
func (b *binder) toInt64(n *bnode) *bnode {
	if kindOf(n.typ) != kI32 {
		return n
	}
	return b.strict("int64", int64Type, []*bnode{n}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kI64, valid: a[0].valid, i64: f.i64.get(f.n)}
		m := a[0].step()
		for i := range v.i64 {
			v.i64[i] = int64(a[0].i32[i&m])
		}
		return v, nil
	})
}

// toFloat makes a number a float64, the nearest one.
func (b *binder) toFloat(n *bnode) *bnode {
	switch {
	case n.typ.ID() == arrow.NULL, n.typ.ID() == arrow.FLOAT64:
		return n
	case n.typ.ID() == arrow.FLOAT32: // lies as one already
		return b.strict("float64", floatType, []*bnode{n}, func(_ *frame, a []*vec) (*vec, error) { return a[0], nil })
	}
	scale := 0
	if kindOf(n.typ) == kDec {
		scale = scaleOf(n.typ)
	} else {
		n = b.toInt64(n)
	}
	return b.strict("float64", floatType, []*bnode{n}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kF64, valid: a[0].valid, f64: f.f64.get(f.n)}
		m := a[0].step()
		if a[0].kind == kI64 && scale <= 22 {
			by := math.Pow10(scale)
			for i := range v.f64 {
				x := a[0].i64[i&m]
				v.f64[i] = float64(x) / by
				if scale > 0 && (x > 1<<53 || x < -1<<53) { // two roundings may miss
					v.f64[i] = floatOf(decimal128.FromI64(x), scale)
				}
			}
			return v, nil
		}
		for i := range v.f64 {
			v.f64[i] = floatOf(a[0].num(i), scale)
		}
		return v, nil
	})
}

func floatOf(d decimal128.Num, scale int) float64 {
	f, _ := strconv.ParseFloat(d.BigInt().String()+"e-"+strconv.Itoa(scale), 64)
	return f
}

// rescaled is a number as a decimal of a scale that is not less than its own.
func (b *binder) rescaled(n *bnode, scale int) *bnode {
	p, s := digits(n.typ)
	if kindOf(n.typ) != kDec {
		n = b.toInt64(n)
	}
	t := decimalOf(p+scale-s, scale)
	if s == scale && kindOf(n.typ) == kDec {
		return n
	}
	by := pow10(scale - s)
	return b.strictX("rescale", "", t, 0, s != scale, []*bnode{n}, func(f *frame, a []*vec) (*vec, error) {
		if s == scale {
			return a[0], nil
		}
		factor := constant(literal{typ: t, d: by})
		if a[0].kind == kI64 && factor.kind == kI64 {
			if v, bad := intOps["mul"].run(f, a[0], factor); !bad {
				return v, nil
			}
		}
		return f.bigDecimals(a[0], factor, intOps["mul"], scale)
	})
}

func pow10(n int) decimal128.Num {
	return decimal128.FromBigInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
}

// convert is the implicit conversion of a value to a type that holds it.
func (b *binder) convert(n *bnode, t arrow.DataType) *bnode {
	switch {
	case n.typ.ID() == arrow.NULL:
		return b.literal(literal{typ: t, null: true})
	case arrow.TypeEqual(n.typ, t):
		return n
	case kindOf(t) == kF64:
		return b.toFloat(n)
	case kindOf(t) == kDec:
		return b.rescaled(n, scaleOf(t))
	case isInt(t):
		return b.toInt64(n)
	case t.ID() == arrow.TIMESTAMP:
		return b.toTimestamp(n, t.(*arrow.TimestampType))
	}
	return n // text and binary lie alike
}

// common is the type that holds the values of both, or none.
func common(x, y arrow.DataType) (arrow.DataType, bool) {
	switch kx, ky := kindOf(x), kindOf(y); {
	case x.ID() == arrow.NULL:
		return y, true
	case y.ID() == arrow.NULL || arrow.TypeEqual(x, y):
		return x, true
	case isNumber(x) && isNumber(y):
		switch {
		case kx == kF64 || ky == kF64:
			return floatType, true
		case isInt(x) && isInt(y):
			return int64Type, true
		}
		px, sx := digits(x)
		py, sy := digits(y)
		s := max(sx, sy)
		return decimalOf(max(px-sx, py-sy)+s, s), true
	case kx == kText && ky == kText:
		return arrow.BinaryTypes.Binary, true
	case isTime(x) && isTime(y):
		unit, zone := arrow.Second, ""
		for _, t := range []arrow.DataType{x, y} {
			if ts, ok := t.(*arrow.TimestampType); ok {
				unit, zone = max(unit, ts.Unit), ts.TimeZone
			}
		}
		return &arrow.TimestampType{Unit: unit, TimeZone: zone}, true
	}
	return nil, false
}

// toTimestamp makes a date or timestamp a timestamp of a unit that is not coarser.
func (b *binder) toTimestamp(n *bnode, t *arrow.TimestampType) *bnode {
	per := int64(t.Unit.Multiplier()) // ns of a unit
	var factor int64
	if ts, ok := n.typ.(*arrow.TimestampType); ok {
		factor = int64(ts.Unit.Multiplier()) / per
	} else {
		factor = 86400 * int64(time.Second) / per
		n = b.strict("days", int64Type, []*bnode{n}, func(f *frame, a []*vec) (*vec, error) {
			v := &vec{kind: kI64, valid: a[0].valid, i64: f.i64.get(f.n)}
			m := a[0].step()
			for i := range v.i64 {
				v.i64[i] = int64(a[0].i32[i&m])
			}
			return v, nil
		})
	}
	by := constant(literal{typ: int64Type, i: factor})
	return b.strictX("totimestamp", "", t, 0, true, []*bnode{n}, func(f *frame, a []*vec) (*vec, error) {
		if factor == 1 {
			return a[0], nil
		}
		v, bad := intOps["mul"].run(f, a[0], by)
		if bad {
			if err := f.overflow(a[0], by, v.valid, intOps["mul"]); err != nil {
				return nil, err
			}
		}
		return v, nil
	})
}

// cast is the conversion that an author asks for.
func cast(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	x, t := args[0], n.typ
	if x.typ.ID() == arrow.NULL {
		return b.literal(literal{typ: t, null: true}), nil
	}
	if arrow.TypeEqual(x.typ, t) {
		return x, nil
	}
	if kindOf(x.typ) == kNone || kindOf(t) == kNone || kindOf(t) == kNull {
		return nil, fmt.Errorf("no cast from %s to %s", x.typ, t)
	}
	if t.ID() == arrow.FLOAT64 && isNumber(x.typ) {
		return b.toFloat(x), nil
	}
	from := x.typ
	read, err := caster(from, t)
	if err != nil {
		return nil, err
	}
	return b.strictX("cast", TypeName(from), t, 10, true, []*bnode{x}, func(f *frame, a []*vec) (*vec, error) {
		out := newColumn(f, t)
		out.v.valid = a[0].valid
		if a[0].konst {
			out.v.valid = nil
		}
		for i := range f.n {
			if a[0].null(i) {
				out.put(i, literal{null: true})
				continue
			}
			l, err := read(a[0].at(i))
			if err != nil {
				return nil, &rowFailure{i, err}
			}
			out.put(i, l)
		}
		return out.done()
	}), nil
}

// A column is a vec being filled value by value, for the rarer operations.
type column struct {
	f *frame
	v *vec
}

func newColumn(f *frame, t arrow.DataType) *column {
	v := &vec{kind: kindOf(t)}
	switch v.kind {
	case kBool:
		v.bits = f.u8.get(f.n)
	case kI32:
		v.i32 = f.i32.get(f.n)
	case kI64:
		v.i64 = f.i64.get(f.n)
	case kDec:
		v.dec = f.dec.get(f.n)
	case kF64:
		v.f64 = f.f64.get(f.n)
	case kText:
		v.from, v.to = f.i32.get(f.n), f.i32.get(f.n)
	}
	return &column{f, v}
}

func (c *column) put(i int, l literal) {
	v := c.v
	switch v.kind {
	case kBool:
		v.bits[i] = uint8(l.i)
	case kI32:
		v.i32[i] = int32(l.i)
	case kI64:
		v.i64[i] = l.i
	case kDec:
		v.dec[i] = l.d
	case kF64:
		v.f64[i] = l.f
	case kText:
		v.from[i] = int32(len(v.data))
		v.data = append(v.data, l.s...)
		v.to[i] = int32(len(v.data))
	}
}

func (c *column) done() (*vec, error) {
	if len(c.v.data) > math.MaxInt32 {
		return nil, fmt.Errorf("the text of a batch is longer than 2 GiB")
	}
	return c.v, nil
}

// caster makes the function that converts one value.
func caster(from, to arrow.DataType) (func(literal) (literal, error), error) {
	toKind := kindOf(to)
	refuse := func(what any) error { return fmt.Errorf("%v does not fit %s", what, TypeName(to)) }
	number := func(d decimal128.Num, scale int) (l literal, err error) { // an exact number as to
		switch {
		case toKind == kF64:
			l.f = floatOf(d, scale)
			if to.ID() == arrow.FLOAT32 {
				l.f = float64(float32(l.f))
			}
			return l, nil
		case toKind == kBool:
			return literal{i: int64(b2u(d != decimal128.Num{}))}, nil
		}
		p, s := digits(to)
		r, ok := roundTo(d, scale, s)
		if !ok || !inRange(to, r, p) {
			return l, refuse(d.ToString(int32(scale)))
		}
		return literal{i: int64(r.LowBits()), d: r}, nil
	}
	switch {
	case isText(from) && isText(to):
		return func(l literal) (literal, error) { return l, nil }, nil
	case isText(to):
		return func(l literal) (literal, error) { l.typ = from; return literal{s: plainText(l)}, nil }, nil
	case isText(from):
		return textCaster(to, refuse, number)
	case from.ID() == arrow.BOOL && isNumber(to):
		return func(l literal) (literal, error) { return number(decimal128.FromI64(l.i), 0) }, nil
	case isInt(from) && (isNumber(to) || toKind == kBool):
		return func(l literal) (literal, error) { return number(decimal128.FromI64(l.i), 0) }, nil
	case kindOf(from) == kDec && (isNumber(to) || toKind == kBool):
		s := scaleOf(from)
		return func(l literal) (literal, error) { return number(l.d, s) }, nil
	case kindOf(from) == kF64 && (isNumber(to) || toKind == kBool):
		return func(l literal) (literal, error) {
			if toKind == kF64 {
				if to.ID() == arrow.FLOAT32 {
					l.f = float64(float32(l.f))
				}
				return l, nil
			}
			if toKind == kBool {
				return literal{i: int64(b2u(l.f != 0))}, nil
			}
			if math.IsNaN(l.f) || math.Abs(l.f) >= 1e39 {
				return l, refuse(l.f)
			}
			_, s := digits(to)
			d, ok := decimalOfFloat(l.f, s)
			if !ok {
				return l, refuse(l.f)
			}
			return number(d, s)
		}, nil
	case isTime(from) && isTime(to):
		return timeCaster(from, to, refuse), nil
	}
	return nil, fmt.Errorf("no cast from %s to %s", TypeName(from), TypeName(to))
}

// decimalOfFloat rounds half away from zero.
func decimalOfFloat(x float64, scale int) (decimal128.Num, bool) {
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(x, 'g', -1, 64))
	if !ok {
		return decimal128.Num{}, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)))
	z := halfAway(r.Num(), r.Denom())
	if !fits(z) {
		return decimal128.Num{}, false
	}
	return decimal128.FromBigInt(z), true
}

// halfAway is x/y as an integer, rounded half away from zero; y is positive.
func halfAway(x, y *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(x, y, new(big.Int))
	if r.Lsh(r.Abs(r), 1).Cmp(y) >= 0 {
		q.Add(q, big.NewInt(int64(x.Sign())))
	}
	return q
}

func roundTo(d decimal128.Num, from, to int) (decimal128.Num, bool) {
	z := d.BigInt()
	if to >= from {
		z.Mul(z, pow10(to-from).BigInt())
	} else {
		z = halfAway(z, pow10(from-to).BigInt())
	}
	if !fits(z) {
		return decimal128.Num{}, false
	}
	return decimal128.FromBigInt(z), true
}

func inRange(t arrow.DataType, d decimal128.Num, precision int) bool {
	if t.ID() == arrow.DECIMAL128 {
		return d.FitsInPrecision(int32(precision))
	}
	if t.ID() == arrow.UINT64 {
		return d.HighBits() == 0
	}
	i, ok := small(d)
	width := t.(arrow.FixedWidthDataType).BitWidth()
	if arrow.IsUnsignedInteger(t.ID()) {
		return ok && i >= 0 && i < 1<<width
	}
	return ok && (width == 64 || i >= -1<<(width-1) && i < 1<<(width-1))
}

// plainText spells a value as a cast to text does.
func plainText(l literal) string {
	switch t := l.typ.(type) {
	case *arrow.Date32Type:
		return arrow.Date32(l.i).FormattedString()
	case *arrow.TimestampType:
		return inZone(l.i, t).Format("2006-01-02 15:04:05.999999999")
	case *arrow.Float32Type:
		return strconv.FormatFloat(l.f, 'g', -1, 32)
	}
	return l.String()
}

func textCaster(to arrow.DataType, refuse func(any) error, number func(decimal128.Num, int) (literal, error)) (func(literal) (literal, error), error) {
	return func(l literal) (literal, error) {
		s := strings.TrimSpace(l.s)
		wrong := fmt.Errorf("%q is no %s", l.s, TypeName(to))
		switch {
		case to.ID() == arrow.BOOL:
			v, err := strconv.ParseBool(strings.ToLower(s))
			if err != nil {
				return l, wrong
			}
			return literal{i: int64(b2u(v))}, nil
		case kindOf(to) == kF64:
			size := 64
			if to.ID() == arrow.FLOAT32 {
				size = 32
			}
			v, err := strconv.ParseFloat(s, size)
			if err != nil {
				return l, wrong
			}
			return literal{f: v}, nil
		case isNumber(to):
			d, err := parseDecimal(s)
			if err != nil {
				return l, wrong
			}
			return number(d.d, scaleOf(d.typ))
		case to.ID() == arrow.DATE32:
			days, ok := parseDate(s)
			if !ok {
				return l, wrong
			}
			return literal{i: int64(days)}, nil
		}
		t := to.(*arrow.TimestampType)
		zone, err := zoneOf(t)
		if err != nil {
			return l, err
		}
		for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00", time.DateOnly} {
			if v, err := time.ParseInLocation(layout, s, zone); err == nil {
				at, err := arrow.TimestampFromTime(v, t.Unit)
				if err != nil {
					return l, wrong
				}
				return literal{i: int64(at)}, nil
			}
		}
		return l, wrong
	}, nil
}
