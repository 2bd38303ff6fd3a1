package divisi_test

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"

	df "github.com/divisi-data/divisi/dataflow"
)

// A frame is the rows that a function sees from the row at hand; it gives the first
// and what is behind the last one.
type frame func(rows [][]any, at int) (from, to int)

// window is functions over partitions in an order.
func (m stepMaker) window(s *plainStep, t *plainTable) error {
	if !m.flat(t) {
		return errSkip
	}
	parts := m.columns(t, m.rng.IntN(3))
	order := m.order(t, m.rng.IntN(3))
	full := m.rng.IntN(2) == 0 && len(order) > 0
	if full { // no two rows that differ are alike in the order
		for _, f := range t.fields {
			order = append(order, orderColumn{f.Name, false})
		}
	}
	spec := df.Over(parts...)
	if len(order) > 0 {
		spec = spec.OrderBy(options(order)...)
	}
	see, says := m.frame(&spec, t, order, full)
	s.out = &plainTable{fields: slices.Clone(t.fields), exact: map[string]bool{}}
	for n, e := range t.exact {
		s.out.exact[n] = e
	}
	var fns []df.WindowFunction
	var values []func(rows [][]any, at int) (any, error)
	add := func(name string, f df.WindowFunction, v func(rows [][]any, at int) (any, error)) {
		fns, values = append(fns, f), append(values, v)
		s.out.fields = append(s.out.fields, arrow.Field{Name: name})
	}
	aggs, args := m.aggregates(t, 1+m.rng.IntN(3), true)
	for i, a := range aggs {
		says += fmt.Sprintf(" %v of %s", a.agg, args[i].e)
		add("", a.agg, func(rows [][]any, at int) (any, error) {
			from, to := see(rows, at)
			vs, err := evaluated(t.like(rows[from:max(from, to)]), args[i])
			if err != nil {
				return nil, err
			}
			return a.of(vs)
		})
	}
	if full {
		m.inOrder(t, see, add)
	}
	if len(order) > 0 {
		alike := func(a, b []any) bool { return t.orders(a, b, order) == 0 }
		add("rank", df.Rank("rank"), func(rows [][]any, at int) (any, error) {
			n := at
			for n > 0 && alike(rows[n-1], rows[at]) {
				n--
			}
			return whole(int64(n) + 1), nil
		})
		add("dense", df.DenseRank("dense"), func(rows [][]any, at int) (any, error) {
			n := int64(1)
			for i := range at {
				if !alike(rows[i], rows[i+1]) {
					n++
				}
			}
			return whole(n), nil
		})
	}
	if len(fns) == 0 {
		return errSkip
	}
	if t.at("rank") >= 0 || t.at("row") >= 0 {
		return errSkip
	}
	for _, g := range t.groupsBy(parts) {
		g = t.like(g).sorted(order)
		for i, row := range g {
			row = slices.Clone(row)
			for _, v := range values {
				x, err := v(g, i)
				if err != nil {
					return err
				}
				row = append(row, x)
			}
			s.out.rows = append(s.out.rows, row)
		}
	}
	s.says = fmt.Sprintf("Window(Over%v.OrderBy%v, %s, ordered functions %v)", parts, order, says, full)
	s.build = func(in []df.Table) df.Table { return in[0].Window(spec, fns...) }
	return nil
}

// inOrder adds the functions that tell rows apart by their order.
func (m stepMaker) inOrder(t *plainTable, see frame, add func(string, df.WindowFunction, func([][]any, int) (any, error))) {
	c, _ := exprMaker{m.rng, t}.column("")
	n := m.rng.IntN(4)
	at := func(rows [][]any, i int) (any, error) {
		if i < 0 || i >= len(rows) {
			return nil, nil
		}
		return c.eval(rows[i])
	}
	add("row", df.RowNumber("row"), func(_ [][]any, i int) (any, error) { return whole(int64(i) + 1), nil })
	add("lag", df.Lag("lag", c.e, n), func(rows [][]any, i int) (any, error) { return at(rows, i-n) })
	add("lead", df.Lead("lead", c.e, n), func(rows [][]any, i int) (any, error) { return at(rows, i+n) })
	add("first", df.FirstOf("first", c.e), func(rows [][]any, i int) (any, error) {
		from, to := see(rows, i)
		if from >= to {
			return nil, nil
		}
		return at(rows, from)
	})
	add("last", df.LastOf("last", c.e), func(rows [][]any, i int) (any, error) {
		from, to := see(rows, i)
		if from >= to {
			return nil, nil
		}
		return at(rows, to-1)
	})
	tiles := 1 + m.rng.IntN(5)
	add("tile", df.Ntile("tile", tiles), func(rows [][]any, i int) (any, error) {
		large, size := len(rows)%tiles, len(rows)/tiles
		if i < large*(size+1) {
			return whole(int64(i/(size+1)) + 1), nil
		}
		return whole(int64((i-large)/size) + 1), nil
	})
}

// frame sets the frame of a window.
func (m stepMaker) frame(spec *df.WindowSpec, t *plainTable, order []orderColumn, full bool) (frame, string) {
	if len(order) == 0 {
		return func(rows [][]any, _ int) (int, int) { return 0, len(rows) }, "all"
	}
	if full && m.rng.IntN(3) > 0 {
		a, b := m.rng.IntN(9)-4, m.rng.IntN(9)-4
		a, b = min(a, b), max(a, b)
		bound := func(n int) df.FrameBound {
			switch {
			case n < 0:
				return df.Preceding(-n)
			case n > 0:
				return df.Following(n)
			}
			return df.CurrentRow()
		}
		from, to := bound(a), bound(b)
		if m.rng.IntN(4) == 0 {
			from, a = df.Unbounded(), -mostRows
		}
		if m.rng.IntN(4) == 0 {
			to, b = df.Unbounded(), mostRows
		}
		*spec = spec.Rows(from, to)
		return func(rows [][]any, i int) (int, int) {
			return min(max(0, i+a), len(rows)), max(0, min(len(rows), i+b+1))
		}, fmt.Sprintf("rows %d to %d", a, b)
	}
	if i := t.at(order[0].name); len(order) == 1 && kindOf(t.fields[i].Type) == "int" && m.rng.IntN(2) == 0 {
		a, b := m.rng.IntN(6), m.rng.IntN(6)
		*spec = spec.Range(df.Preceding(a), df.Following(b))
		return func(rows [][]any, at int) (from, to int) {
			first := true
			for k, row := range rows {
				in := row[i] == nil && rows[at][i] == nil
				if row[i] != nil && rows[at][i] != nil {
					d := new(big.Rat).Sub(row[i].(*big.Rat), rows[at][i].(*big.Rat))
					if order[0].descending {
						d.Neg(d)
					}
					in = d.Cmp(whole(int64(-a))) >= 0 && d.Cmp(whole(int64(b))) <= 0
				}
				if in && first {
					from, first = k, false
				}
				if in {
					to = k + 1
				}
			}
			return from, to
		}, fmt.Sprintf("range %d to %d", -a, b)
	}
	return func(rows [][]any, at int) (int, int) {
		for at < len(rows)-1 && t.orders(rows[at], rows[at+1], order) == 0 {
			at++
		}
		return 0, at + 1
	}, "default"
}
