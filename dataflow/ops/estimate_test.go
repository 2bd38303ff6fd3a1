package ops

import (
	"testing"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

func TestEstimates(t *testing.T) {
	keys := []dataflow.SortKey{{Column: 0}}
	third := expr.Col("n").Gt(1)
	for _, c := range []struct {
		name string
		op   dataflow.Operator
		in   []float64
		want float64
	}{
		{"select", op(t, "select", args{"where": third}), []float64{900}, 300},
		{"partial", aggregated(t, "partial", third, []string{"k"}, allAggs...), []float64{900}, 30},
		{"final", aggregated(t, "final", expr.Expr{}, []string{"k"}, allAggs...), []float64{30}, 30},
		{"no keys", aggregated(t, "final", expr.Expr{}, nil, allAggs...), []float64{900}, 1},
		{"inner", join(t, "inner", "auto", []int{0}, []int{0}), []float64{900, 10}, 900},
		{"left", join(t, "left", "auto", []int{0}, []int{0}), []float64{9, 10}, 10},
		{"semi", join(t, "semi", "auto", []int{0}, []int{0}), []float64{900, 9000}, 450},
		{"anti", join(t, "anti", "auto", []int{0}, []int{0}), []float64{1, 9000}, 1},
		{"limit", op(t, "limit", args{"n": 10}), []float64{900}, 10},
		{"topn", op(t, "topn", args{"n": 1000, "keys": keys}), []float64{900}, 900},
		{"sort", op(t, "sort", args{"keys": keys}), []float64{900}, 900},
		{"unique", op(t, "unique", args{"columns": []int{0}}), []float64{900}, 90},
		{"project", op(t, "project", args{"columns": []int{0}}), []float64{900}, 900},
	} {
		e, ok := c.op.(dataflow.Estimator)
		if !ok {
			t.Errorf("%s does not guess", c.name)
			continue
		}
		if got := e.Estimate(c.in...); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%s of %v: %v, want %v", c.name, c.in, got, c.want)
		}
	}
}
