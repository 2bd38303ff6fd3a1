package plan

import (
	"errors"
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
)

// Open builds a stage's operators in a task and returns the stream of its output
// rows; closing it closes all. input opens the stage's input of that position: all
// of BySplit, ByPartition and ByForward, and those Whole ones that are an operator's
// direct input (the others are asked for through env.Side).
func (p *Program) Open(env *dataflow.Env, stage int, input func(i int) (dataflow.Stream, error)) (dataflow.Stream, error) {
	return p.OpenMetered(env, stage, nil, input)
}

// OpenMetered is Open; what each of the stage's Ops does is counted by m, which may be
// nil.
func (p *Program) OpenMetered(env *dataflow.Env, stage int, m *Meter, input func(i int) (dataflow.Stream, error)) (dataflow.Stream, error) {
	if stage < 0 || stage >= len(p.trees) {
		return nil, &dataflow.Error{Op: "plan.Open", Kind: dataflow.Fatal, Err: fmt.Errorf("no stage %d in a plan of %d", stage, len(p.trees))}
	}
	return open(env, p.trees[stage], m, input)
}

func open(env *dataflow.Env, t *tree, m *Meter, input func(i int) (dataflow.Stream, error)) (dataflow.Stream, error) {
	if t.op == nil {
		s, err := input(t.input)
		if err != nil {
			return nil, err
		}
		return m.stream(t.id, s), nil
	}
	in := make([]dataflow.Stream, 0, len(t.in))
	for _, sub := range t.in {
		s, err := open(env, sub, m, input)
		if err != nil {
			for _, s := range in {
				err = errors.Join(err, s.Close())
			}
			return nil, err
		}
		in = append(in, s)
	}
	own, opened := m.env(env, t)
	s, err := t.op.Open(own, in...)
	opened()
	if err != nil {
		return nil, err
	}
	s = m.stream(t.id, s)
	if env.Check {
		return check(env, s, t.node)
	}
	return s, nil
}
