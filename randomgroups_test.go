package divisi_test

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	df "github.com/divisi-data/divisi/dataflow"
)

// An aggregate is one of the aggregates over the values of an expression.
type aggregate struct {
	agg df.Agg
	// of is its value of those of some rows, nulls among them.
	of func(vs []any) (any, error)
}

// aggregates are random ones, with the expression that each looks at.
func (m stepMaker) aggregates(t *plainTable, n int, window bool) (aggs []aggregate, args []plainExpr) {
	for i := range n {
		name := fmt.Sprintf("a%d", m.rng.IntN(1000)*10+i)
		e, _ := exprMaker{m.rng, t}.column("")
		if m.rng.IntN(3) == 0 {
			e = exprMaker{m.rng, t}.make(kinds[m.rng.IntN(len(kinds))], 1)
		}
		a, ok := m.aggregate(name, e, t, window)
		if !ok {
			continue
		}
		aggs, args = append(aggs, a), append(args, e)
	}
	return aggs, args
}

func notNull(vs []any) []any {
	return slices.DeleteFunc(slices.Clone(vs), func(v any) bool { return v == nil })
}

func different(vs []any) (out []any) {
	seen := map[string]bool{}
	for _, v := range notNull(vs) {
		if k := same(v); !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	return out
}

// total is a sum, null of nothing.
func total(vs []any, kind string) (any, error) {
	vs = notNull(vs)
	if len(vs) == 0 {
		return nil, nil
	}
	if kind == "float" {
		f := 0.0
		for _, v := range vs {
			f += v.(float64)
		}
		return f, nil
	}
	sum, most := new(big.Rat), new(big.Rat) // the most that some of them can come to, either way
	for _, v := range vs {
		sum.Add(sum, v.(*big.Rat))
		most.Add(most, new(big.Rat).Abs(v.(*big.Rat)))
	}
	if kind == "int" && !most.Num().IsInt64() || most.Cmp(new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(28), nil))) > 0 {
		return nil, errSkip
	}
	return sum, nil
}

func (m stepMaker) aggregate(name string, e plainExpr, t *plainTable, window bool) (aggregate, bool) {
	column, isColumn := e.e.Column()
	adds := e.kind == "int" || e.kind == "dec" || e.kind == "float" && isColumn && t.exact[column]
	extreme := func(sign int) func(vs []any) (any, error) {
		return func(vs []any) (any, error) {
			var best any
			for _, v := range notNull(vs) {
				if best == nil || compare(v, best)*sign > 0 {
					best = v
				}
			}
			return best, nil
		}
	}
	ordered := e.kind != "other"
	switch n := m.rng.IntN(8); {
	case n == 0:
		return aggregate{df.CountRows(name), func(vs []any) (any, error) { return whole(int64(len(vs))), nil }}, true
	case n == 1:
		return aggregate{df.CountOf(name, e.e), func(vs []any) (any, error) { return whole(int64(len(notNull(vs)))), nil }}, true
	case n == 2 && adds:
		return aggregate{df.SumOf(name, e.e), func(vs []any) (any, error) { return total(vs, e.kind) }}, true
	case n == 3 && adds:
		return aggregate{df.AvgOf(name, e.e), func(vs []any) (any, error) {
			sum, err := total(vs, map[string]string{"int": "dec", "dec": "dec", "float": "float"}[e.kind])
			if sum == nil || err != nil {
				return nil, err
			}
			return float(sum) / float64(len(notNull(vs))), nil
		}}, true
	case n == 4 && ordered:
		return aggregate{df.MinOf(name, e.e), extreme(-1)}, true
	case n == 5 && ordered:
		return aggregate{df.MaxOf(name, e.e), extreme(1)}, true
	case n == 6 && ordered && !window:
		return aggregate{df.DistinctOf(name, e.e), func(vs []any) (any, error) { return whole(int64(len(different(vs)))), nil }}, true
	case n == 7 && adds && !window:
		return aggregate{df.SumDistinctOf(name, e.e), func(vs []any) (any, error) { return total(different(vs), e.kind) }}, true
	}
	return aggregate{}, false
}

func (m stepMaker) group(s *plainStep, t *plainTable) error {
	names := m.columns(t, m.rng.IntN(4))
	aggs, args := m.aggregates(t, 1+m.rng.IntN(4), false)
	if len(aggs) == 0 {
		return errSkip
	}
	keys := make([]any, len(names))
	s.out = &plainTable{exact: map[string]bool{}}
	for i, n := range names {
		keys[i] = n
		s.out.fields = append(s.out.fields, t.fields[t.at(n)])
		s.out.exact[n] = t.exact[n]
	}
	var all []df.Agg
	for _, a := range aggs {
		all = append(all, a.agg)
		s.out.fields = append(s.out.fields, arrow.Field{})
	}
	groups := t.groupsBy(names)
	if len(names) == 0 && len(groups) == 0 {
		groups = [][][]any{nil}
	}
	for _, g := range groups {
		var row []any
		for _, n := range names {
			row = append(row, g[0][t.at(n)])
		}
		for i, a := range aggs {
			vs, err := evaluated(t.like(g), args[i])
			if err != nil {
				return err
			}
			v, err := a.of(vs)
			if err != nil {
				return err
			}
			row = append(row, v)
		}
		s.out.rows = append(s.out.rows, row)
	}
	says := ""
	for i, a := range aggs {
		says += fmt.Sprintf(" %v of %s", a.agg, args[i].e)
	}
	s.says = fmt.Sprintf("GroupBy(%v).Agg(%s)", names, says)
	s.build = func(in []df.Table) df.Table { return in[0].GroupBy(keys...).Agg(all...) }
	return nil
}
