package expr

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// The oracle evaluates an expression for one row, with math/big, package time and
// regular expressions instead of kernels. A value is nil, bool, *big.Rat, float64,
// string, or a time.Time; its type comes from the bound expression.

var errOracle = errors.New("fails")

func oracle(e Expr, b arrow.RecordBatch, row int, typeOf func(Expr) arrow.DataType) (any, error) {
	eval := func(e Expr) (any, error) { return oracle(e, b, row, typeOf) }
	n := e.n
	switch n.op {
	case opCol:
		return cell(b.Column(b.Schema().FieldIndices(n.name)[0]), row), nil
	case opLit:
		if n.lit.null {
			return nil, nil
		}
		bound, err := Bind(b.Schema(), e)
		if err != nil {
			return nil, err
		}
		ev := bound.Evaluator(testAlloc)
		out, err := ev.Eval(b.NewSlice(0, 1), nil)
		if err != nil {
			return nil, err
		}
		defer out[0].Release()
		return cell(out[0], 0), nil
	case "and", "or":
		x, errX := eval(n.args[0])
		if errX != nil {
			return nil, errX
		}
		if x == (n.op == "or") {
			return x, nil
		}
		y, errY := eval(n.args[1])
		if errY != nil {
			return nil, errY
		}
		switch {
		case y == (n.op == "or"):
			return y, nil
		case x == nil || y == nil:
			return nil, nil
		}
		return n.op == "and", nil
	case "case":
		for i := 0; i+1 < len(n.args); i += 2 {
			c, err := eval(n.args[i])
			if err != nil {
				return nil, err
			}
			if c == true {
				return eval(n.args[i+1])
			}
		}
		return eval(n.args[len(n.args)-1])
	case "coalesce":
		for _, a := range n.args {
			v, err := eval(a)
			if err != nil || v != nil {
				return v, err
			}
		}
		return nil, nil
	case "isnull":
		v, err := eval(n.args[0])
		return v == nil, err
	}
	args := make([]any, len(n.args))
	for i, a := range n.args {
		v, err := eval(a)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	if n.op == "in" {
		if args[0] == nil {
			return nil, nil
		}
		var out any = false
		for _, v := range args[1:] {
			switch {
			case v == nil && out == false:
				out = nil
			case v != nil && oracleOrder(args[0], v) == 0:
				return true, nil
			}
		}
		return out, nil
	}
	for _, a := range args {
		if a == nil {
			return nil, nil
		}
	}
	return oracleStrict(n, args, typeOf(e))
}

func asFloat(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case *big.Rat:
		f, _ := v.Float64()
		return f
	}
	panic(fmt.Sprintf("%T", v))
}

func oracleOrder(x, y any) int {
	switch x := x.(type) {
	case bool:
		return int(b2u(x)) - int(b2u(y.(bool)))
	case string:
		return strings.Compare(x, y.(string))
	case time.Time:
		return x.Compare(y.(time.Time))
	case *big.Rat:
		if y, ok := y.(*big.Rat); ok {
			return x.Cmp(y)
		}
	}
	a, b := asFloat(x), asFloat(y)
	an, bn := math.IsNaN(a), math.IsNaN(b)
	switch {
	case an || bn:
		return int(b2u(an)) - int(b2u(bn))
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func oracleStrict(n *node, args []any, t arrow.DataType) (any, error) {
	switch n.op {
	case "eq":
		return oracleOrder(args[0], args[1]) == 0, nil
	case "ne":
		return oracleOrder(args[0], args[1]) != 0, nil
	case "lt":
		return oracleOrder(args[0], args[1]) < 0, nil
	case "le":
		return oracleOrder(args[0], args[1]) <= 0, nil
	case "gt":
		return oracleOrder(args[0], args[1]) > 0, nil
	case "ge":
		return oracleOrder(args[0], args[1]) >= 0, nil
	case "not":
		return !args[0].(bool), nil
	case "add", "sub", "mul", "div":
		if t.ID() == arrow.FLOAT64 {
			return floatOps[n.op](asFloat(args[0]), asFloat(args[1])), nil
		}
		x, y, z := args[0].(*big.Rat), args[1].(*big.Rat), new(big.Rat)
		switch n.op {
		case "add":
			z.Add(x, y)
		case "sub":
			z.Sub(x, y)
		case "mul":
			z.Mul(x, y)
		}
		return z, oracleFits(z, t)
	case "neg":
		if f, ok := args[0].(float64); ok {
			return -f, nil
		}
		z := new(big.Rat).Neg(args[0].(*big.Rat))
		return z, oracleFits(z, t)
	case "abs":
		if f, ok := args[0].(float64); ok {
			return math.Abs(f), nil
		}
		z := new(big.Rat).Abs(args[0].(*big.Rat))
		return z, oracleFits(z, t)
	case "idiv", "mod":
		x, y := args[0].(*big.Rat).Num(), args[1].(*big.Rat).Num()
		if y.Sign() == 0 {
			return nil, errOracle
		}
		q, r := new(big.Int).QuoRem(x, y, new(big.Int))
		if n.op == "mod" {
			q = r
		}
		z := new(big.Rat).SetInt(q)
		return z, oracleFits(z, t)
	case "like":
		var p strings.Builder
		for i, pat := 0, []rune(args[1].(string)); i < len(pat); i++ {
			switch {
			case pat[i] == '%':
				p.WriteString("(?s:.*)")
			case pat[i] == '_':
				p.WriteString("(?s:.)")
			case pat[i] == '\\' && i+1 < len(pat):
				i++
				fallthrough
			default:
				p.WriteString(regexp.QuoteMeta(string(pat[i])))
			}
		}
		return regexp.MustCompile("^" + p.String() + "$").MatchString(args[0].(string)), nil
	case "substr":
		from, count := args[1].(*big.Rat).Num().Int64(), args[2].(*big.Rat).Num().Int64()
		if count < 0 {
			return nil, errOracle
		}
		from = max(from, math.MinInt32) // what lies further before cannot be reached
		out, at := "", int64(1)
		for _, r := range args[0].(string) {
			if at >= from && at-from < count {
				out += string(r)
			}
			at++
		}
		return out, nil
	case "position":
		x, y := []rune(args[0].(string)), []rune(args[1].(string))
		for i := 0; i+len(y) <= len(x); i++ {
			if string(x[i:i+len(y)]) == string(y) {
				return big.NewRat(int64(i+1), 1), nil
			}
		}
		return new(big.Rat), nil
	case "length":
		return big.NewRat(int64(len([]rune(args[0].(string)))), 1), nil
	case "upper":
		return strings.ToUpper(args[0].(string)), nil
	case "lower":
		return strings.ToLower(args[0].(string)), nil
	case "trim":
		return strings.Trim(args[0].(string), " "), nil
	case "concat":
		out := ""
		for _, a := range args {
			out += a.(string)
		}
		return out, nil
	case "year":
		return big.NewRat(int64(args[0].(time.Time).Year()), 1), nil
	case "month":
		return big.NewRat(int64(args[0].(time.Time).Month()), 1), nil
	case "day":
		return big.NewRat(int64(args[0].(time.Time).Day()), 1), nil
	case "weekday":
		return big.NewRat(int64(args[0].(time.Time).Weekday()+6)%7+1, 1), nil
	case "hour":
		return big.NewRat(int64(args[0].(time.Time).Hour()), 1), nil
	case "truncate":
		x := args[0].(time.Time)
		y, m, d := x.Date()
		switch args[1] {
		case "year":
			return time.Date(y, 1, 1, 0, 0, 0, 0, x.Location()), nil
		case "month":
			return time.Date(y, m, 1, 0, 0, 0, 0, x.Location()), nil
		case "week":
			return time.Date(y, m, d-(int(x.Weekday())+6)%7, 0, 0, 0, 0, x.Location()), nil
		}
		return time.Date(y, m, d, 0, 0, 0, 0, x.Location()), nil
	case "adddays":
		return args[0].(time.Time).AddDate(0, 0, int(args[1].(*big.Rat).Num().Int64())), nil
	case "addmonths":
		x := args[0].(time.Time)
		first := x.AddDate(0, 0, 1-x.Day()).AddDate(0, int(args[1].(*big.Rat).Num().Int64()), 0)
		last := first.AddDate(0, 1, -1).Day()
		return first.AddDate(0, 0, min(x.Day(), last)-1), nil
	case "cast":
		return oracleCast(args[0], t)
	}
	panic("the oracle does not know " + n.op)
}

func oracleFits(z *big.Rat, t arrow.DataType) error {
	p, s := digits(t)
	if t.ID() == arrow.INT64 {
		if !z.Num().IsInt64() {
			return errOracle
		}
		return nil
	}
	limit := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(p-s)), nil))
	if new(big.Rat).Abs(z).Cmp(limit) >= 0 {
		return errOracle
	}
	return nil
}

func oracleCast(v any, t arrow.DataType) (any, error) {
	switch t.ID() {
	case arrow.FLOAT64:
		if s, ok := v.(string); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
			if err != nil {
				return nil, errOracle
			}
			return f, nil
		}
		return asFloat(v), nil
	case arrow.DECIMAL128, arrow.INT32:
		r, ok := v.(*big.Rat)
		if f, float := v.(float64); float {
			r, ok = new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
		}
		if s, text := v.(string); text {
			if strings.ContainsAny(s, "/eExX_") {
				return nil, errOracle
			}
			r, ok = new(big.Rat).SetString(strings.TrimSpace(s))
		}
		if !ok {
			return nil, errOracle
		}
		_, s := digits(t)
		z, _ := new(big.Rat).SetString(r.FloatString(s)) // rounds half away from zero
		if t.ID() == arrow.INT32 {
			if !z.Num().IsInt64() || z.Num().Int64() != int64(int32(z.Num().Int64())) {
				return nil, errOracle
			}
			return z, nil
		}
		return z, oracleFits(z, t)
	}
	panic(t)
}

// cell is a value as the oracle has it.
func cell(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Int8:
		return big.NewRat(int64(a.Value(i)), 1)
	case *array.Int32:
		return big.NewRat(int64(a.Value(i)), 1)
	case *array.Int64:
		return big.NewRat(a.Value(i), 1)
	case *array.Uint64:
		return new(big.Rat).SetInt(new(big.Int).SetUint64(a.Value(i)))
	case *array.Float64:
		return a.Value(i)
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Decimal128:
		t := a.DataType().(*arrow.Decimal128Type)
		return new(big.Rat).SetFrac(a.Value(i).BigInt(), pow10(int(t.Scale)).BigInt())
	case *array.String:
		return a.Value(i)
	case *array.Binary:
		return string(bytes.Clone(a.Value(i)))
	case *array.Date32:
		return a.Value(i).ToTime()
	case *array.Timestamp:
		return inZone(int64(a.Value(i)), a.DataType().(*arrow.TimestampType))
	case *array.Null:
		return nil
	}
	panic(a.DataType())
}

func show(v any) string {
	switch v := v.(type) {
	case *big.Rat:
		return v.RatString()
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case float64:
		if v == 0 {
			return "0"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}
