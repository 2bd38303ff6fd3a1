package dataflow

import "context"

// Optional abilities of sources and operators: a guess, before anything runs, of how many
// rows come out. Plans that are explained show it beside what came out in the end.
type (
	// A RowEstimator is a Source that knows about how many rows it has, without reading
	// them all. It answers 0 where it has no idea.
	RowEstimator interface {
		EstimateRows(ctx context.Context) (float64, error)
	}
	// An Estimator is an Operator that guesses its rows by those of its inputs, each of
	// which is more than 0. It answers 0 where it has no idea.
	Estimator interface {
		Estimate(in ...float64) float64
	}
)
