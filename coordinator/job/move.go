package job

// rehomed: a winner's output lies on another worker now, also or only. One that was lost
// and runs again wins by that, unless the second run has ended: the same rows are there
// without it.
func (j *Job) rehomed(e Rehomed) {
	t := j.task(e.Attempt.Key)
	if t == nil || e.Attempt.Control() || j.settled() || j.stages[t.key.Stage].plan.Output.Exchange < 0 {
		return
	}
	switch {
	case t.won != nil && t.won.Attempt == e.Attempt && t.won.Worker != e.Worker:
		j.record(OutputMoved(e))
	case t.won == nil && t.former != nil && t.former.Attempt == e.Attempt && !j.stale(t, e.Attempt.Number):
		j.settle(t, e.Attempt, "the output that was lost is there again")
		j.record(OutputMoved(e))
		j.advance()
	default:
		return
	}
	j.moved(j.stages[t.key.Stage].plan.Output.Exchange)
}

func (j *Job) applyMoved(r OutputMoved) {
	s := j.stages[r.Attempt.Stage]
	t := s.tasks[r.Attempt.Index]
	if t.won == nil {
		j.applyFound(t)
	}
	w := *t.won
	w.Worker, w.Address = r.Worker, r.Address
	t.won = &w
	if t.lost {
		t.lost = false
		s.lost--
	}
	x := j.ex[s.plan.Output.Exchange]
	x.log = append(x.log, t.won)
}

// elsewhere says whether an output that could not be read at an address lies at another
// one by now: who could not read it did not know yet.
func (j *Job) elsewhere(a Attempt, at string) bool {
	if at == "" || a.Control() {
		return false
	}
	t := j.task(a.Key)
	return t != nil && t.won != nil && t.won.Attempt == a && !t.lost && t.won.Address != at
}
