package ops

import (
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/dataflow"
)

// Groups whose aggregates grow with their rows may outgrow memory although no group is
// new. Then the states of all groups are spilled by the hash of their keys, and groups are
// begun anew. Once that has happened in a pass over some rows, no group of it is whole: what
// is left at the end is spilled too, and the next passes merge states and then the rows
// that found no room, hash by hash.

// grown is what an aggregate does about groups that grow.
type grown struct {
	watched []*sketches
	held    int64 // reserved for what watched hold beside bytesEach

	schema  *arrow.Schema // of states: keys, then one column of each aggregate
	states  *scatter
	merging bool              // the input at hand is a run of states
	after   dataflow.SpillRun // rows that follow it
}

func (g *grown) watch(acc accumulator) {
	if s, ok := acc.(*sketches); ok {
		g.watched = append(g.watched, s)
	}
}

// bytes is what groups hold beside bytesEach.
func (g *grown) bytes() int64 {
	var n int64
	for _, s := range g.watched {
		n += s.extra()
	}
	return n
}

func (g *grown) close() error {
	var err error
	if g.states != nil {
		g.states.abort()
		g.states = nil
	}
	if g.after != nil {
		err = g.after.Remove()
		g.after = nil
	}
	return err
}

// aggRuns are spilled states and rows of the same part of the hashes; nil is without any.
type aggRuns struct {
	states, rows dataflow.SpillRun
	level        int
}

func (r aggRuns) remove() error {
	var err error
	for _, run := range []dataflow.SpillRun{r.states, r.rows} {
		if run != nil {
			err = errors.Join(err, run.Remove())
		}
	}
	return err
}

// fit asks for memory for what groups have grown by. Where there is none, groups come out
// or are spilled; but one alone is small and stays.
func (s *aggStream) fit() error {
	more := s.grown.bytes() - s.grown.held
	if more <= 0 || s.mem.try(more) {
		s.grown.held += max(more, 0)
		return nil
	}
	if s.Mode == "partial" {
		s.full = true
		return nil
	}
	if s.groups.n <= 2 {
		return nil
	}
	return s.shed()
}

// shed spills the states of all groups and forgets them.
func (s *aggStream) shed() error {
	hashes := make([]uint64, 0, s.batchRows())
	for from := 1; from < s.groups.n; {
		to := min(from+s.batchRows(), s.groups.n)
		cols, err := s.stateColumns(from, to)
		if err != nil {
			return err
		}
		hashes = hashes[:0]
		for g := from; g < to; g++ {
			hashes = append(hashes, s.groups.hashKey(s.groups.keys[g*s.groups.width:(g+1)*s.groups.width]))
		}
		err = s.spillStates(cols, to-from, hashes, nil)
		for _, c := range cols {
			c.Release()
		}
		if err != nil {
			return err
		}
		from = to
	}
	s.forget()
	return nil
}

func (s *aggStream) stateColumns(from, to int) (cols []arrow.Array, err error) {
	defer func() {
		if err != nil {
			for _, c := range cols {
				c.Release()
			}
		}
	}()
	for c := range s.Keys {
		a, err := s.groups.emit(s.env.Alloc, c, from, to)
		if err != nil {
			return cols, err
		}
		cols = append(cols, a)
	}
	for _, acc := range s.accs {
		a, err := stateOf(acc, s.env.Alloc, from, to)
		if err != nil {
			return cols, userError("aggregate", err)
		}
		cols = append(cols, a)
	}
	return cols, nil
}

// spillStates spills rows of states, or those of them that sel names.
func (s *aggStream) spillStates(cols []arrow.Array, n int, hashes []uint64, sel []int32) error {
	g := &s.grown
	if g.schema == nil {
		fields := append([]arrow.Field{}, s.inner.Fields()[:len(s.Keys)]...)
		for i, c := range cols[len(s.Keys):] {
			fields = append(fields, arrow.Field{Name: s.Aggs[i].Name, Type: c.DataType(), Nullable: true})
		}
		g.schema = arrow.NewSchema(fields, nil)
	}
	if g.states == nil {
		g.states = newScatter(s.env, "aggregate", s.level%scatterLevels)
	}
	b := array.NewRecordBatch(g.schema, cols, int64(n))
	defer b.Release()
	return g.states.add(b, hashes, sel)
}

// merge puts states into the groups that gids names.
func (s *aggStream) merge(states []arrow.Array) error {
	for i, acc := range s.accs {
		if err := mergeState(acc, s.gids, states[i]); err != nil {
			return err
		}
	}
	return s.fit()
}

// goOn says whether there is more to be read before groups are whole: the rows behind
// states. Where there is not, but groups were spilled, so are those that are left.
func (s *aggStream) goOn() (more bool, err error) {
	g := &s.grown
	if g.after != nil {
		if err := s.in.Close(); err != nil {
			return false, err
		}
		in, err := openRun(g.after)
		g.after = nil
		if err != nil {
			return false, err
		}
		s.in, g.merging = in, false
		return true, nil
	}
	if g.states != nil {
		return false, s.shed()
	}
	return false, nil
}

// endPass notes what was spilled in the pass that is over.
func (s *aggStream) endPass() (err error) {
	var runs [scatterRuns]aggRuns
	defer func() {
		if err != nil {
			for _, r := range runs {
				err = errors.Join(err, r.remove())
			}
		}
	}()
	for _, half := range []struct {
		of  **scatter
		run func(r *aggRuns) *dataflow.SpillRun
	}{
		{&s.over, func(r *aggRuns) *dataflow.SpillRun { return &r.rows }},
		{&s.grown.states, func(r *aggRuns) *dataflow.SpillRun { return &r.states }},
	} {
		if *half.of == nil {
			continue
		}
		all, err := (*half.of).finish()
		*half.of = nil
		if err != nil {
			return err
		}
		for i, run := range all {
			*half.run(&runs[i]) = run
		}
	}
	for i, r := range runs {
		if r.rows != nil || r.states != nil {
			r.level = s.level + 1
			s.pending = append(s.pending, r)
			runs[i] = aggRuns{}
		}
	}
	return nil
}

// nextPass opens the runs that were noted last.
func (s *aggStream) nextPass() error {
	last := s.pending[len(s.pending)-1]
	s.pending = s.pending[:len(s.pending)-1]
	s.level, s.spilled, s.ended = last.level, true, false
	first := last.rows
	if s.grown.merging = last.states != nil; s.grown.merging {
		first, s.grown.after = last.states, last.rows
	}
	in, err := openRun(first)
	if err != nil {
		return err
	}
	s.in = in
	return nil
}

// stateOf is what an accumulator knows of groups, in a form that mergeState takes.
func stateOf(acc accumulator, mem memory.Allocator, from, to int) (arrow.Array, error) {
	if s, ok := acc.(*sketches); ok {
		return s.state(mem, from, to)
	}
	return acc.emit(mem, from, to)
}

func mergeState(acc accumulator, gids []int32, a arrow.Array) error {
	switch acc := acc.(type) {
	case *sketches:
		return acc.merge(gids, a)
	case *counts:
		for i, n := range a.(*array.Int64).Int64Values() {
			acc.n[gids[i]] += n
		}
		return nil
	}
	return acc.update(gids, a)
}
