package streaming

import (
	"fmt"
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"

	df "github.com/divisi-data/divisi/dataflow"
)

// aggregateReducer is the name of the built-in reducer: a mapper prints
// "FUNCTION:KEY", a tab, and a value, and gets KEY, a tab, and what the function makes
// of the key's values.
const aggregateReducer = "aggregate"

// aggregates are its functions. Values come in the order of their bytes.
var aggregates = map[string]func(values iter.Seq[string]) (string, error){
	"LongValueSum": func(values iter.Seq[string]) (string, error) {
		var sum big.Int
		for v := range values {
			n, err := long(v)
			if err != nil {
				return "", err
			}
			sum.Add(&sum, big.NewInt(n))
		}
		if !sum.IsInt64() {
			return "", fmt.Errorf("the sum %s is no 64-bit integer", &sum)
		}
		return sum.String(), nil
	},
	"LongValueMax": best(long, func(a, b int64) bool { return a > b }),
	"LongValueMin": best(long, func(a, b int64) bool { return a < b }),
	"DoubleValueSum": func(values iter.Seq[string]) (string, error) {
		sum := 0.0
		for v := range values {
			n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				return "", fmt.Errorf("%q is no number", v)
			}
			sum += n
		}
		return javaDouble(sum), nil
	},
	"StringValueMax": best(text, func(a, b string) bool { return a > b }),
	"StringValueMin": best(text, func(a, b string) bool { return a < b }),
	"UniqValueCount": func(values iter.Seq[string]) (string, error) {
		n, last := 0, ""
		for v := range values {
			if n == 0 || v != last {
				n, last = n+1, v
			}
		}
		return strconv.Itoa(n), nil
	},
}

// javaDouble prints a number as Java's Double.toString does: shortest, with a point, and
// with an exponent where it is below a thousandth or from ten millions on.
func javaDouble(f float64) string {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+") + "inity"
	case abs == 0 || abs >= 1e-3 && abs < 1e7:
		text := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return digits + "E" + strconv.Itoa(n)
}

func long(v string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no 64-bit integer", v)
	}
	return n, nil
}

func text(v string) (string, error) { return v, nil }

func best[T any](parse func(string) (T, error), better func(a, b T) bool) func(iter.Seq[string]) (string, error) {
	return func(values iter.Seq[string]) (string, error) {
		var found T
		first := true
		for v := range values {
			n, err := parse(v)
			if err != nil {
				return "", err
			}
			if first || better(n, found) {
				found, first = n, false
			}
		}
		return fmt.Sprint(found), nil
	}
}

// aggregate reduces by those functions.
func (r *resolved) aggregate(mapped df.Dataset[string]) df.Dataset[string] {
	pairs := df.Map(mapped, func(line string) df.Pair[string, string] {
		key, value, _ := r.mapOut.cut(line)
		return df.KV(key, value)
	}).Named("keys")
	groups := df.GroupByKeySorted(pairs, func(v string) string { return v }, df.Partitions(r.Reduces))
	return df.MapGroupsTask(groups, func(t *df.Task) func(string, iter.Seq[string], df.Emit[string]) {
		return func(k string, values iter.Seq[string], emit df.Emit[string]) {
			name, key, _ := strings.Cut(k, ":")
			f, ok := aggregates[name]
			if !ok {
				t.Fail(fmt.Errorf("the key %q names no function of the reducer aggregate", k))
			}
			v, err := f(values)
			if err != nil {
				t.Fail(fmt.Errorf("key %q: %w", k, err))
			}
			emit(key + r.text + v)
		}
	}).Named("aggregate")
}
