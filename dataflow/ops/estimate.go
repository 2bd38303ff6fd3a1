package ops

import "github.com/divisi-data/divisi/dataflow/expr"

// What operators guess of their rows (dataflow.Estimator): rules of thumb, which know
// nothing of the values.

// groupShare is how many groups there are for a row.
const groupShare = 0.1

func groups(rows float64) float64 { return max(1, rows*groupShare) }

// Estimate implements dataflow.Estimator.
func (s selection) Estimate(in ...float64) float64 { return in[0] * expr.Selectivity(s.Where) }

// Estimate implements dataflow.Estimator.
func (a *aggregate) Estimate(in ...float64) float64 {
	if len(a.Keys) == 0 {
		return 1
	}
	if a.Mode == "final" && a.Where.IsZero() {
		return max(1, in[0]) // mostly of groups that are gathered already
	}
	return groups(in[0] * expr.Selectivity(a.Where))
}

// Estimate implements dataflow.Estimator: each row of the larger side has one partner.
func (j *hashJoin) Estimate(in ...float64) float64 {
	switch j.Type {
	case "semi", "anti":
		return max(1, in[left]/2)
	}
	return max(in[left], in[right])
}

// Estimate implements dataflow.Estimator.
func (u unique) Estimate(in ...float64) float64 { return groups(in[0]) }

// Estimate implements dataflow.Estimator.
func (l limit) Estimate(in ...float64) float64 { return min(in[0], float64(l.N)) }

// Estimate implements dataflow.Estimator.
func (t topN) Estimate(in ...float64) float64 { return min(in[0], float64(t.N)) }

// Estimate implements dataflow.Estimator.
func (s sorting) Estimate(in ...float64) float64 { return in[0] }

// Estimate implements dataflow.Estimator.
func (w window) Estimate(in ...float64) float64 { return in[0] }

// Estimate implements dataflow.Estimator.
func (p project) Estimate(in ...float64) float64 { return in[0] }
