package job

// rehomed: a winner's output lies on another worker now, also or only.
func (j *Job) rehomed(e Rehomed) {
	t := j.task(e.Attempt.Key)
	if t == nil || e.Attempt.Control() || j.settled() || t.won == nil || t.won.Attempt != e.Attempt ||
		t.won.Worker == e.Worker || j.stages[t.key.Stage].plan.Output.Exchange < 0 {
		return
	}
	j.record(OutputMoved(e))
	j.moved(j.stages[t.key.Stage].plan.Output.Exchange)
}

func (j *Job) applyMoved(r OutputMoved) {
	s := j.stages[r.Attempt.Stage]
	t := s.tasks[r.Attempt.Index]
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

// elsewhere says whether an output that could not be read at a worker lies on another
// one by now: who could not read it did not know yet.
func (j *Job) elsewhere(a Attempt, at string) bool {
	if at == "" || a.Control() {
		return false
	}
	t := j.task(a.Key)
	return t != nil && t.won != nil && t.won.Attempt == a && t.won.Worker.ID != at
}
