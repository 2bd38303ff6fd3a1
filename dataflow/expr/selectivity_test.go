package expr

import (
	"math"
	"testing"
)

func TestSelectivity(t *testing.T) {
	a := Col("a")
	for _, c := range []struct {
		cond Expr
		want float64
	}{
		{Expr{}, 1},
		{Lit(true), 1},
		{Lit(false), 1e-6},
		{a.Eq(1), 0.1},
		{a.Ne(1), 0.9},
		{a.Gt(1), 1.0 / 3},
		{a.Between(1, 2), 1.0 / 9},
		{a.In(1, 2, 3), 0.3},
		{a.In(1, 2, 3, 4, 5, 6, 7, 8, 9), 0.5},
		{a.Eq(1).Or(a.Eq(2)), 0.19},
		{a.Eq(1).Or(a.Eq(2)).Not(), 0.81},
		{a.HasPrefix("x"), 0.1},
		{a.NotNull(), 0.95},
		{All(a.Eq(1), a.Eq(2), a.Eq(3), a.Eq(4), a.Eq(5), a.Eq(6), a.Eq(7)), 1e-6},
	} {
		if got := Selectivity(c.cond); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.cond, got, c.want)
		}
	}
}
