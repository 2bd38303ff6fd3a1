package expr

import (
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// An Expr is an expression over the columns of a row. It is immutable and a small
// value; what is wrong with it is reported by Bind. The zero Expr is none.
type Expr struct{ n *node }

type node struct {
	op   string
	name string         // of a column, or a registered function
	lit  literal        // of a literal
	typ  arrow.DataType // of a cast
	args []Expr
	err  error // what was wrong with a builder's arguments
}

const (
	opCol = "col"
	opLit = "lit"
)

func call(op string, args ...Expr) Expr { return Expr{&node{op: op, args: args}} }

func broken(format string, args ...any) Expr {
	return Expr{&node{op: opLit, err: fmt.Errorf(format, args...)}}
}

// IsZero reports whether e is no expression at all.
func (e Expr) IsZero() bool { return e.n == nil }

// Col is the column of a name.
func Col(name string) Expr { return Expr{&node{op: opCol, name: name}} }

// Of makes an expression of a value: an Expr is itself, anything else is Lit of it.
func Of(v any) Expr {
	if e, ok := v.(Expr); ok {
		return e
	}
	return Lit(v)
}

// Add is the sum. Its argument, as that of the other methods, is an Expr or a value
// for Lit.
func (e Expr) Add(v any) Expr { return call("add", e, Of(v)) }

// Sub is the difference.
func (e Expr) Sub(v any) Expr { return call("sub", e, Of(v)) }

// Mul is the product.
func (e Expr) Mul(v any) Expr { return call("mul", e, Of(v)) }

// Div is the quotient as a float64; division by zero gives an infinity or NaN.
func (e Expr) Div(v any) Expr { return call("div", e, Of(v)) }

// IntDiv is the quotient of integers without its fraction. Division by zero fails.
func (e Expr) IntDiv(v any) Expr { return call("idiv", e, Of(v)) }

// Mod is the remainder of IntDiv; it has the sign of e.
func (e Expr) Mod(v any) Expr { return call("mod", e, Of(v)) }

// Neg is the value with the other sign.
func (e Expr) Neg() Expr { return call("neg", e) }

// Abs is the value without its sign.
func (e Expr) Abs() Expr { return call("abs", e) }

// Eq is e = v.
func (e Expr) Eq(v any) Expr { return call("eq", e, Of(v)) }

// Ne is e <> v.
func (e Expr) Ne(v any) Expr { return call("ne", e, Of(v)) }

// Lt is e < v.
func (e Expr) Lt(v any) Expr { return call("lt", e, Of(v)) }

// Le is e <= v.
func (e Expr) Le(v any) Expr { return call("le", e, Of(v)) }

// Gt is e > v.
func (e Expr) Gt(v any) Expr { return call("gt", e, Of(v)) }

// Ge is e >= v.
func (e Expr) Ge(v any) Expr { return call("ge", e, Of(v)) }

// Between is lo <= e and e <= hi.
func (e Expr) Between(lo, hi any) Expr { return e.Ge(lo).And(e.Le(hi)) }

// And is false where either is, else null where either is.
func (e Expr) And(v any) Expr { return call("and", e, Of(v)) }

// Or is true where either is, else null where either is.
func (e Expr) Or(v any) Expr { return call("or", e, Of(v)) }

// Not turns true and false around.
func (e Expr) Not() Expr { return call("not", e) }

// All is true where all are; of none it is true.
func All(es ...Expr) Expr {
	if len(es) == 0 {
		return Lit(true)
	}
	out := es[0]
	for _, e := range es[1:] {
		out = out.And(e)
	}
	return out
}

// IsNull is true for null and false for anything else.
func (e Expr) IsNull() Expr { return call("isnull", e) }

// NotNull is false for null and true for anything else.
func (e Expr) NotNull() Expr { return e.IsNull().Not() }

// In is true where e equals one of the values, else null where one of them is null.
func (e Expr) In(values ...any) Expr {
	args := []Expr{e}
	for _, v := range values {
		args = append(args, Of(v))
	}
	return call("in", args...)
}

// Like matches text against a pattern in which % stands for any text and _ for any
// one character; a backslash takes the next character literally.
func (e Expr) Like(pattern string) Expr { return call("like", e, Lit(pattern)) }

// NotLike is Like turned around.
func (e Expr) NotLike(pattern string) Expr { return e.Like(pattern).Not() }

// Matches is true where a regular expression of Go's syntax matches some of the text.
func (e Expr) Matches(pattern string) Expr { return call("matches", e, Lit(pattern)) }

// HasPrefix is true where text begins with prefix.
func (e Expr) HasPrefix(prefix string) Expr { return call("like", e, Lit(likeQuote(prefix)+"%")) }

// HasSuffix is true where text ends with suffix.
func (e Expr) HasSuffix(suffix string) Expr { return call("like", e, Lit("%"+likeQuote(suffix))) }

// Contains is true where part occurs in the text.
func (e Expr) Contains(part string) Expr { return call("like", e, Lit("%"+likeQuote(part)+"%")) }

// Substr is n characters of text from the character numbered from on; the first is
// 1. Characters before the first count but are none, as in SQL.
func (e Expr) Substr(from, n any) Expr { return call("substr", e, Of(from), Of(n)) }

// Position is the number of the first character of part in the text, 0 where it
// does not occur.
func (e Expr) Position(part any) Expr { return call("position", e, Of(part)) }

// Length is the number of characters of text, or of bytes of binary.
func (e Expr) Length() Expr { return call("length", e) }

// Upper is text in capitals.
func (e Expr) Upper() Expr { return call("upper", e) }

// Lower is text in small letters.
func (e Expr) Lower() Expr { return call("lower", e) }

// Trim is text without spaces at its ends.
func (e Expr) Trim() Expr { return call("trim", e) }

// TrimLeft is text without spaces at its beginning.
func (e Expr) TrimLeft() Expr { return call("ltrim", e) }

// TrimRight is text without spaces at its end.
func (e Expr) TrimRight() Expr { return call("rtrim", e) }

// Concat is text and more text.
func (e Expr) Concat(more ...any) Expr {
	args := []Expr{e}
	for _, v := range more {
		args = append(args, Of(v))
	}
	return call("concat", args...)
}

// A part of a date or timestamp, as int64. Timestamps with a zone are looked at in it.

// Year of a date or timestamp.
func (e Expr) Year() Expr { return call("year", e) }

// Month is 1 to 12.
func (e Expr) Month() Expr { return call("month", e) }

// Day of the month, from 1.
func (e Expr) Day() Expr { return call("day", e) }

// Quarter is 1 to 4.
func (e Expr) Quarter() Expr { return call("quarter", e) }

// Weekday is 1 for Monday to 7 for Sunday.
func (e Expr) Weekday() Expr { return call("weekday", e) }

// Hour of a timestamp.
func (e Expr) Hour() Expr { return call("hour", e) }

// Minute of a timestamp.
func (e Expr) Minute() Expr { return call("minute", e) }

// Second of a timestamp, without its fraction.
func (e Expr) Second() Expr { return call("second", e) }

// Truncate is the beginning of the "year", "quarter", "month", "week" (its Monday),
// "day", "hour", "minute" or "second" that a date or timestamp lies in.
func (e Expr) Truncate(unit string) Expr { return call("truncate", e, Lit(unit)) }

// AddMonths is a date or timestamp so many months later; a day that the month does
// not have becomes its last.
func (e Expr) AddMonths(n any) Expr { return call("addmonths", e, Of(n)) }

// AddDays is a date or timestamp so many days later.
func (e Expr) AddDays(n any) Expr { return call("adddays", e, Of(n)) }

// Coalesce is the first of the values that is not null.
func Coalesce(es ...any) Expr {
	args := make([]Expr, len(es))
	for i, e := range es {
		args[i] = Of(e)
	}
	return call("coalesce", args...)
}

// NullIf is null where e equals v, else e.
func (e Expr) NullIf(v any) Expr { return If(e.Eq(v), Expr{}, e) }

// If is then where cond is true, and otherwise where it is false or null. A zero
// Expr stands for null.
func If(cond Expr, then, otherwise any) Expr { return Case().When(cond, then).Else(otherwise) }

// Cases is a CASE being built.
type Cases struct{ args []Expr }

// Case begins one: Case().When(...).When(...).Else(...).
func Case() Cases { return Cases{} }

// When adds a branch: the value where cond is true and was for no branch before.
func (c Cases) When(cond Expr, value any) Cases {
	return Cases{append(slices.Clip(c.args), cond, orNull(value))}
}

// Else is the value where no branch is taken.
func (c Cases) Else(value any) Expr {
	return call("case", append(slices.Clip(c.args), orNull(value))...)
}

// End is Else with null.
func (c Cases) End() Expr { return c.Else(Expr{}) }

func orNull(v any) Expr {
	if e := Of(v); !e.IsZero() {
		return e
	}
	return Null(arrow.Null)
}

// Cast is the value as another type. A number that does not fit, or text that does
// not read as the type, is an error; decimals are rounded half away from zero.
func (e Expr) Cast(t arrow.DataType) Expr { return Expr{&node{op: "cast", typ: t, args: []Expr{e}}} }

// Call is a function that was registered with Register.
func Call(name string, args ...any) Expr {
	n := &node{op: "call", name: name}
	for _, a := range args {
		n.args = append(n.args, Of(a))
	}
	return Expr{n}
}
