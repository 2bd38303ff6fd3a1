package divisi_test

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow/expr"
)

// A plainExpr is an expression, and what it is of a row, by the simplest means.
type plainExpr struct {
	e    expr.Expr
	kind string // bool, int, dec, float, text, date, time, other
	eval func(row []any) (any, error)
}

var errFails = errors.New("the engine fails on this row")

// kindOf sorts types by what can be done with them.
func kindOf(t arrow.DataType) string {
	switch t.(type) {
	case *arrow.BooleanType:
		return "bool"
	case *arrow.Uint64Type, *arrow.Decimal128Type:
		return "dec"
	case *arrow.Float32Type, *arrow.Float64Type:
		return "float"
	case *arrow.StringType:
		return "text"
	case *arrow.Date32Type:
		return "date"
	case *arrow.TimestampType:
		return "time"
	}
	if arrow.IsInteger(t.ID()) {
		return "int"
	}
	return "other"
}

func float(v any) float64 {
	if r, ok := v.(*big.Rat); ok {
		f, _ := r.Float64()
		return f
	}
	return v.(float64)
}

// compare orders two values that are not null: NaN is equal to itself and behind all
// numbers.
func compare(a, b any) int {
	switch x := a.(type) {
	case bool:
		return cmp.Compare(fmt.Sprint(x), fmt.Sprint(b))
	case string:
		return strings.Compare(x, b.(string))
	case *big.Rat:
		if y, ok := b.(*big.Rat); ok {
			return x.Cmp(y)
		}
	}
	x, y := float(a), float(b)
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return cmp.Compare(fmt.Sprint(math.IsNaN(x)), fmt.Sprint(math.IsNaN(y)))
	case x == y:
		return 0
	}
	return cmp.Compare(x, y)
}

// An exprMaker makes random expressions over the columns of a table.
type exprMaker struct {
	rng *rand.Rand
	t   *plainTable
}

// strict is an operation that is null where an argument is.
func strict(args []plainExpr, kind string, e expr.Expr, f func(a []any) (any, error)) plainExpr {
	return plainExpr{e, kind, func(row []any) (any, error) {
		vs := make([]any, len(args))
		null := false
		for i, a := range args {
			v, err := a.eval(row)
			if err != nil {
				return nil, err
			}
			vs[i], null = v, null || v == nil
		}
		if null {
			return nil, nil
		}
		return f(vs)
	}}
}

func constant(e expr.Expr, kind string, v any) plainExpr {
	return plainExpr{e, kind, func([]any) (any, error) { return v, nil }}
}

// column is a column of a kind, "" for any.
func (m exprMaker) column(kind string) (plainExpr, bool) {
	for _, i := range m.rng.Perm(len(m.t.fields)) {
		if k := kindOf(m.t.fields[i].Type); k == kind || kind == "" {
			return plainExpr{expr.Col(m.t.fields[i].Name), k, func(row []any) (any, error) { return row[i], nil }}, true
		}
	}
	return plainExpr{}, false
}

func (m exprMaker) leaf(kind string) plainExpr {
	if c, ok := m.column(kind); ok && m.rng.IntN(5) > 0 {
		return c
	}
	switch kind {
	case "bool":
		b := m.rng.IntN(2) == 0
		return constant(expr.Lit(b), kind, b)
	case "int":
		n := m.rng.Int64N(30) - 8
		if m.rng.IntN(12) == 0 {
			n = []int64{math.MaxInt64, math.MinInt64, math.MaxInt32, 0}[m.rng.IntN(4)]
		}
		return constant(expr.Lit(n), kind, whole(n))
	case "dec":
		n := m.rng.Int64N(3000) - 1000
		return constant(expr.Dec(fmt.Sprintf("%d.%02d", n/100, max(n%100, -n%100))), kind, decimalText(fmt.Sprintf("%d.%02d", n/100, max(n%100, -n%100))))
	case "float":
		f := randomValue(m.rng, arrow.PrimitiveTypes.Float64, 0, 20).(float64)
		return constant(expr.Lit(f), kind, f)
	case "date":
		d := 19000 + m.rng.Int64N(40)
		return constant(expr.Date(time.Unix(d*86400, 0).UTC().Format("2006-01-02")), kind, whole(d))
	}
	s := texts[m.rng.IntN(len(texts))]
	return constant(expr.Lit(s), "text", s)
}

func decimalText(s string) *big.Rat {
	r, _ := new(big.Rat).SetString(s)
	return r
}

// fits says whether a number is one of the engine's.
func fits(kind string, r *big.Rat) (any, error) {
	if kind == "int" && !r.Num().IsInt64() {
		return nil, errFails
	}
	if kind == "dec" { // far enough from 38 digits, whatever the scale
		if new(big.Rat).Abs(r).Cmp(new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(24), nil))) >= 0 {
			return nil, errFails
		}
	}
	return r, nil
}

// make is a random expression of a kind.
func (m exprMaker) make(kind string, depth int) plainExpr {
	if depth == 0 || kind == "date" || kind == "time" && depth < 2 {
		return m.leaf(kind)
	}
	if m.rng.IntN(6) == 0 {
		return m.choice(kind, depth)
	}
	switch kind {
	case "bool":
		return m.condition(depth)
	case "int", "dec", "float":
		return m.number(kind, depth)
	}
	return m.text(depth)
}

// choice is one of the expressions that take one of several values.
func (m exprMaker) choice(kind string, depth int) plainExpr {
	a, b := m.make(kind, depth-1), m.make(kind, depth-1)
	switch m.rng.IntN(3) {
	case 0:
		c := m.make("bool", depth-1)
		return plainExpr{expr.If(c.e, a.e, b.e), kind, func(row []any) (any, error) {
			v, err := c.eval(row)
			x, errX := a.eval(row)
			y, errY := b.eval(row)
			if v != true {
				x = y
			}
			return x, errors.Join(err, errX, errY)
		}}
	case 1:
		return plainExpr{expr.Coalesce(a.e, b.e), kind, func(row []any) (any, error) {
			x, errX := a.eval(row)
			y, errY := b.eval(row)
			if x == nil {
				x = y
			}
			return x, errors.Join(errX, errY)
		}}
	}
	return plainExpr{a.e.NullIf(b.e), kind, func(row []any) (any, error) {
		x, errX := a.eval(row)
		y, errY := b.eval(row)
		if x != nil && y != nil && compare(x, y) == 0 {
			x = nil
		}
		return x, errors.Join(errX, errY)
	}}
}

// comparable are the kinds whose values can be compared with each other.
func (m exprMaker) pair(depth int) (a, b plainExpr) {
	kinds := [][]string{{"int", "int"}, {"int", "dec"}, {"int", "float"}, {"float", "float"}, {"dec", "dec"}, {"dec", "float"}, {"text", "text"}, {"date", "date"}, {"bool", "bool"}}
	if c, ok := m.column("time"); ok && m.rng.IntN(3) == 0 {
		return c, c
	}
	k := kinds[m.rng.IntN(len(kinds))]
	if m.rng.IntN(2) == 0 {
		k[0], k[1] = k[1], k[0]
	}
	return m.make(k[0], depth), m.make(k[1], depth)
}

func (m exprMaker) condition(depth int) plainExpr {
	switch m.rng.IntN(9) {
	case 0, 1:
		a, b := m.make("bool", depth-1), m.make("bool", depth-1)
		and := m.rng.IntN(2) == 0
		e := a.e.Or(b.e)
		if and {
			e = a.e.And(b.e)
		}
		return plainExpr{e, "bool", func(row []any) (any, error) {
			x, errX := a.eval(row)
			y, errY := b.eval(row)
			switch err := errors.Join(errX, errY); {
			case err != nil:
				return nil, err
			case x == !and || y == !and:
				return !and, nil
			case x == nil || y == nil:
				return nil, nil
			}
			return and, nil
		}}
	case 2:
		a := m.make("bool", depth-1)
		return strict([]plainExpr{a}, "bool", a.e.Not(), func(v []any) (any, error) { return !v[0].(bool), nil })
	case 3:
		if a, ok := m.column(""); ok {
			e, is := a.e.IsNull(), m.rng.IntN(2) == 0
			if !is {
				e = a.e.NotNull()
			}
			return plainExpr{e, "bool", func(row []any) (any, error) {
				v, err := a.eval(row)
				return (v == nil) == is, err
			}}
		}
	case 4:
		return m.in(depth)
	case 5:
		return m.textTest(depth)
	}
	a, b := m.pair(depth - 1)
	ops := []struct {
		e  expr.Expr
		is func(c int) bool
	}{
		{a.e.Eq(b.e), func(c int) bool { return c == 0 }}, {a.e.Ne(b.e), func(c int) bool { return c != 0 }},
		{a.e.Lt(b.e), func(c int) bool { return c < 0 }}, {a.e.Le(b.e), func(c int) bool { return c <= 0 }},
		{a.e.Gt(b.e), func(c int) bool { return c > 0 }}, {a.e.Ge(b.e), func(c int) bool { return c >= 0 }},
	}
	op := ops[m.rng.IntN(len(ops))]
	return strict([]plainExpr{a, b}, "bool", op.e, func(v []any) (any, error) { return op.is(compare(v[0], v[1])), nil })
}

func (m exprMaker) in(depth int) plainExpr {
	kind := []string{"int", "text", "dec", "date", "float"}[m.rng.IntN(5)]
	a := m.make(kind, depth-1)
	list := []plainExpr{m.leaf(kind), m.leaf(kind), m.leaf(kind)}
	return plainExpr{a.e.In(list[0].e, list[1].e, list[2].e), "bool", func(row []any) (any, error) {
		x, err := a.eval(row)
		if err != nil || x == nil {
			return nil, err
		}
		var out any = false
		for _, l := range list {
			switch v, _ := l.eval(row); {
			case v == nil && out == false:
				out = nil
			case v != nil && compare(x, v) == 0:
				out = true
			}
		}
		return out, nil
	}}
}

// like is Like by trying all ways.
func like(s, p string) bool {
	switch {
	case p == "":
		return s == ""
	case p[0] == '%':
		for i := 0; i <= len(s); i++ {
			if (i == len(s) || utf8.RuneStart(s[i])) && like(s[i:], p[1:]) {
				return true
			}
		}
		return false
	case p[0] == '_':
		_, n := utf8.DecodeRuneInString(s)
		return s != "" && like(s[n:], p[1:])
	case p[0] == '\\' && len(p) > 1:
		p = p[1:]
	}
	return s != "" && s[0] == p[0] && like(s[1:], p[1:])
}

func (m exprMaker) textTest(depth int) plainExpr {
	a := m.make("text", depth-1)
	part := texts[m.rng.IntN(len(texts))]
	pattern := []string{"%", "_", "a%", "%b", "%a%", "_b", "a\\%%", "%\\_c%", "", "%e_t%", "日_語", "%%a__%"}[m.rng.IntN(12)]
	switch m.rng.IntN(5) {
	case 0:
		return strict([]plainExpr{a}, "bool", a.e.HasPrefix(part), func(v []any) (any, error) { return strings.HasPrefix(v[0].(string), part), nil })
	case 1:
		return strict([]plainExpr{a}, "bool", a.e.HasSuffix(part), func(v []any) (any, error) { return strings.HasSuffix(v[0].(string), part), nil })
	case 2:
		return strict([]plainExpr{a}, "bool", a.e.Contains(part), func(v []any) (any, error) { return strings.Contains(v[0].(string), part), nil })
	case 3:
		return strict([]plainExpr{a}, "bool", a.e.NotLike(pattern), func(v []any) (any, error) { return !like(v[0].(string), pattern), nil })
	}
	return strict([]plainExpr{a}, "bool", a.e.Like(pattern), func(v []any) (any, error) { return like(v[0].(string), pattern), nil })
}

func (m exprMaker) number(kind string, depth int) plainExpr {
	other := kind
	if kind != "int" && m.rng.IntN(3) == 0 {
		other = "int"
	}
	a, b := m.make(kind, depth-1), m.make(other, depth-1)
	two := []plainExpr{a, b}
	if kind == "float" {
		switch m.rng.IntN(5) {
		case 0:
			a = m.make([]string{"int", "dec", "float"}[m.rng.IntN(3)], depth-1)
			return strict([]plainExpr{a, b}, kind, a.e.Div(b.e), func(v []any) (any, error) { return float(v[0]) / float(v[1]), nil })
		case 1:
			return strict(two, kind, a.e.Sub(b.e), func(v []any) (any, error) { return float(v[0]) - float(v[1]), nil })
		case 2:
			return strict(two, kind, a.e.Mul(b.e), func(v []any) (any, error) { return float(v[0]) * float(v[1]), nil })
		case 3:
			return strict(two[:1], kind, a.e.Neg().Abs(), func(v []any) (any, error) { return math.Abs(float(v[0])), nil })
		}
		return strict(two, kind, a.e.Add(b.e), func(v []any) (any, error) { return float(v[0]) + float(v[1]), nil })
	}
	if kind == "int" {
		if d, ok := m.integer(depth); ok {
			return d
		}
	}
	rat := func(f func(z, x, y *big.Rat) *big.Rat) func(v []any) (any, error) {
		return func(v []any) (any, error) {
			if kind == "dec" { // what goes in is far from the end too
				for _, x := range v {
					if _, err := fits(kind, x.(*big.Rat)); err != nil {
						return nil, err
					}
				}
			}
			return fits(kind, f(new(big.Rat), v[0].(*big.Rat), v[1].(*big.Rat)))
		}
	}
	switch m.rng.IntN(4) {
	case 0:
		return strict(two, kind, a.e.Sub(b.e), rat((*big.Rat).Sub))
	case 1:
		return strict(two, kind, a.e.Mul(b.e), rat((*big.Rat).Mul))
	case 2:
		return strict(two[:1], kind, a.e.Abs(), func(v []any) (any, error) { return fits(kind, new(big.Rat).Abs(v[0].(*big.Rat))) })
	}
	return strict(two, kind, a.e.Add(b.e), rat((*big.Rat).Add))
}

// integer is one of the operations that only integers have, or that give one.
func (m exprMaker) integer(depth int) (plainExpr, bool) {
	switch m.rng.IntN(9) {
	case 0, 1:
		a, b := m.make("int", depth-1), m.make("int", depth-1)
		div := m.rng.IntN(2) == 0
		e := a.e.Mod(b.e)
		if div {
			e = a.e.IntDiv(b.e)
		}
		return strict([]plainExpr{a, b}, "int", e, func(v []any) (any, error) {
			x, y := v[0].(*big.Rat).Num(), v[1].(*big.Rat).Num()
			if y.Sign() == 0 {
				return nil, errFails
			}
			q, r := new(big.Int).QuoRem(x, y, new(big.Int))
			if _, err := fits("int", new(big.Rat).SetInt(q)); err != nil || !div {
				return new(big.Rat).SetInt(r), err
			}
			return new(big.Rat).SetInt(q), nil
		}), true
	case 2:
		a := m.make("text", depth-1)
		return strict([]plainExpr{a}, "int", a.e.Length(), func(v []any) (any, error) { return whole(int64(utf8.RuneCountInString(v[0].(string)))), nil }), true
	case 3:
		a, part := m.make("text", depth-1), texts[m.rng.IntN(len(texts))]
		return strict([]plainExpr{a}, "int", a.e.Position(part), func(v []any) (any, error) {
			before, _, found := strings.Cut(v[0].(string), part)
			if !found {
				return whole(0), nil
			}
			return whole(int64(utf8.RuneCountInString(before)) + 1), nil
		}), true
	case 4:
		if c, ok := m.column([]string{"date", "time"}[m.rng.IntN(2)]); ok {
			name, _ := c.e.Column()
			return datePart(m.rng.IntN(7), c, m.t.fields[m.t.at(name)].Type), true
		}
	}
	return plainExpr{}, false
}

func datePart(part int, c plainExpr, t arrow.DataType) plainExpr {
	unit := big.NewRat(86400, 1)
	if ts, ok := t.(*arrow.TimestampType); ok {
		unit = big.NewRat(int64(ts.Unit.Multiplier()), 1_000_000_000)
	} else {
		part %= 5
	}
	e := []expr.Expr{c.e.Year(), c.e.Month(), c.e.Day(), c.e.Quarter(), c.e.Weekday(), c.e.Hour(), c.e.Second()}[part]
	return strict([]plainExpr{c}, "int", e, func(v []any) (any, error) {
		s := new(big.Rat).Mul(v[0].(*big.Rat), unit)
		d := time.Unix(new(big.Int).Div(s.Num(), s.Denom()).Int64(), 0).UTC()
		day := int(d.Weekday())
		if day == 0 {
			day = 7
		}
		return whole(int64([]int{d.Year(), int(d.Month()), d.Day(), (int(d.Month()) + 2) / 3, day, d.Hour(), d.Second()}[part])), nil
	})
}

func (m exprMaker) text(depth int) plainExpr {
	a := m.make("text", depth-1)
	one := []plainExpr{a}
	switch m.rng.IntN(6) {
	case 0:
		b := m.make("text", depth-1)
		return strict([]plainExpr{a, b}, "text", a.e.Concat(b.e), func(v []any) (any, error) { return v[0].(string) + v[1].(string), nil })
	case 1:
		return strict(one, "text", a.e.Upper(), func(v []any) (any, error) { return strings.ToUpper(v[0].(string)), nil })
	case 2:
		return strict(one, "text", a.e.Lower(), func(v []any) (any, error) { return strings.ToLower(v[0].(string)), nil })
	case 3:
		return strict(one, "text", a.e.Trim(), func(v []any) (any, error) { return strings.Trim(v[0].(string), " "), nil })
	case 4:
		b := m.make("int", depth-1)
		return strict([]plainExpr{b}, "text", b.e.Cast(arrow.BinaryTypes.String), func(v []any) (any, error) { return v[0].(*big.Rat).RatString(), nil })
	}
	from, n := m.rng.IntN(8)-3, m.rng.IntN(5)
	return strict(one, "text", a.e.Substr(from, n), func(v []any) (any, error) {
		var out []rune
		for i, r := range []rune(v[0].(string)) {
			if i+1 >= from && i+1 < from+n {
				out = append(out, r)
			}
		}
		return string(out), nil
	})
}
