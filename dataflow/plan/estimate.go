package plan

import (
	"context"
	"errors"

	"github.com/divisi-data/divisi/dataflow"
)

// Estimate sets the Estimate of each Op of the plan, where its source or operator has an
// idea. It may look at the sources' data, but not for long. An error is about a source,
// and harmless: its rows stay unknown.
func (p *Program) Estimate(ctx context.Context) error {
	var errs []error
	sources := make([]float64, len(p.sources))
	for i, s := range p.sources {
		e, ok := s.(dataflow.RowEstimator)
		if !ok {
			continue
		}
		n, err := e.EstimateRows(ctx)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		sources[i] = n
	}
	for i := range p.Plan.Stages { // producers come before consumers
		s := &p.Plan.Stages[i]
		p.estimate(s, p.trees[i], sources)
	}
	return errors.Join(errs...)
}

// estimate guesses how many rows come out of a tree of a stage.
func (p *Program) estimate(s *Stage, t *tree, sources []float64) float64 {
	n := 0.0
	if t.op == nil {
		in := s.Inputs[t.input]
		if in.Mode == BySplit {
			n = sources[in.Source]
		} else {
			n = p.produced(in.Exchange)
		}
	} else {
		in, known := make([]float64, len(t.in)), true
		for i, sub := range t.in {
			in[i] = p.estimate(s, sub, sources)
			known = known && in[i] > 0
		}
		if e, ok := t.op.(dataflow.Estimator); ok && known {
			n = e.Estimate(in...)
		}
	}
	s.Ops[t.id].Estimate = n
	return n
}

// produced is how many rows cross an exchange, 0 if that is not known of all its
// producers.
func (p *Program) produced(exchange int) float64 {
	n := 0.0
	for _, id := range p.Plan.Exchanges[exchange].Producers {
		ops := p.Plan.Stages[id].Ops
		last := ops[len(ops)-1].Estimate
		if last == 0 {
			return 0
		}
		n += last
	}
	return n
}
