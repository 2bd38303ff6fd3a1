package job

import (
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

// outputsLost takes note of winners' outputs that nobody holds, and runs again what is
// still needed of them.
func (j *Job) outputsLost(e OutputsLost) {
	if j.settled() {
		return
	}
	gone := false
	for _, a := range e.Attempts {
		if t := j.task(a.Key); t != nil && !a.Control() && t.won != nil && t.won.Attempt == a {
			gone = j.forget(t) || gone
			t.bad = t.bad || t.lost && e.Unreadable
		}
	}
	if gone {
		j.revive(e.Why)
	}
}

// settled says that no output between stages matters any more.
func (j *Job) settled() bool {
	return j.state == Publishing && !mutant.On("cancelled while publishing") || j.state.Final()
}

// forget marks a winner's output as held by nobody.
func (j *Job) forget(t *task) bool {
	s := j.stages[t.key.Stage]
	if t.lost || s.plan.Output.Exchange < 0 {
		return false
	}
	t.lost, t.bad = true, false
	s.lost++
	return true
}

func (j *Job) workerLost(e WorkerLost) {
	j.strayedTo(e.Worker)
	var again []*task
	lose := func(t *task) {
		for i := len(t.running) - 1; i >= 0; i-- {
			if p := t.running[i]; p.worker == e.Worker {
				a := Attempt{t.key, p.number}
				j.drop(t, a)
				if j.dead(t.key) {
					continue
				}
				j.record(TaskFailed{Failure: Failure{Attempt: a, Worker: e.Worker, Kind: dataflow.WorkerLost, Message: e.Why}, Next: t.memory, Alone: t.alone})
				again = append(again, t)
			}
		}
	}
	for _, k := range j.keys {
		lose(j.control[k])
	}
	gone := false
	for _, s := range j.stages {
		if s.running > 0 {
			for _, t := range s.tasks {
				if len(t.running) > 0 {
					lose(t)
				}
			}
		}
		gone = j.forgetWorker(s, e.Worker) || gone
	}
	for _, t := range again {
		if len(t.running) == 0 && t.state == running {
			j.unspare(t)
			j.set(t, idle)
		}
	}
	if gone {
		j.revive(fmt.Sprintf("worker %s: %s", e.Worker.ID, e.Why))
	}
	for _, t := range again {
		if j.dead(t.key) {
			continue
		}
		if t.requeues >= maxRequeues {
			j.end(Failed, fmt.Sprintf("task %s/%s was lost %d times, the last time: %s", j.spec.ID, t.key, t.requeues, e.Why), "")
			return
		}
		if t.state == idle { // revive may have asked for it already
			j.again(t, dataflow.WorkerLost)
		}
	}
}

// forgetWorker marks all outputs of a stage that lay on a worker.
func (j *Job) forgetWorker(s *stage, w Worker) bool {
	x := s.plan.Output.Exchange
	if x < 0 || j.settled() {
		return false
	}
	gone := false
	for _, t := range s.tasks {
		if t.won != nil && !t.lost && t.won.Worker == w {
			gone = j.forget(t)
		}
	}
	delete(j.ex[x].held, w.ID)
	return gone
}

// revive runs again those producers whose output is lost and still needed: by stages
// that are not done, which by this may become more, from the last to the first.
func (j *Job) revive(why string) {
	for i := len(j.stages) - 1; i >= 0; i-- {
		s := j.stages[i]
		if s.planned && s.done == len(s.tasks) {
			continue
		}
		for _, in := range s.plan.Inputs {
			if in.Mode == plan.BySplit {
				continue
			}
			for _, p := range j.plan.Exchanges[in.Exchange].Producers {
				if j.stages[p].lost == 0 {
					continue
				}
				for _, t := range j.stages[p].tasks {
					if t.lost && !(p == 0 && i < len(j.stages)-1 && mutant.On("losses do not cascade")) && (in.Mode != plan.ByForward || j.needs(s, t.key)) {
						j.record(OutputLost{Attempt: t.won.Attempt, Why: why, Unreadable: t.bad})
					}
				}
			}
		}
	}
	for i, s := range j.stages {
		if s.wanted+s.running > 0 && !j.ready(i) {
			for _, t := range s.tasks {
				j.unspare(t)
				if t.state == wanted {
					j.do(Unwant{Key: t.key})
					j.set(t, idle)
				}
			}
		}
	}
	j.advance()
}

// needs says whether a task of s that is not done reads the producer's output.
func (j *Job) needs(s *stage, producer Key) bool {
	if !s.planned {
		return true
	}
	for _, t := range s.tasks {
		if t.won == nil && t.plan.ForwardStage == producer.Stage && t.plan.ForwardIndex == producer.Index {
			return true
		}
	}
	return false
}

// misses says whether an output of the producing stage that a task of s has yet to read
// is lost.
func (j *Job) misses(s *stage, producer int) bool {
	if !s.planned {
		return true
	}
	for _, t := range s.tasks {
		if t.won == nil && t.plan.ForwardStage == producer && j.stages[producer].tasks[t.plan.ForwardIndex].lost {
			return true
		}
	}
	return false
}

// tolerate deals with a second run that gave other rows than the first. If a consumer
// has already finished with the first ones the job fails; otherwise those that have
// begun begin again.
func (j *Job) tolerate(t *task, e Done) bool {
	s := j.stages[t.key.Stage]
	if s.plan.Output.Exchange < 0 {
		return true
	}
	x := &j.plan.Exchanges[s.plan.Output.Exchange]
	for _, c := range x.Consumers {
		if j.stages[c].done > 0 {
			j.drop(t, e.Attempt)
			j.do(Ack{Attempt: e.Attempt, Worker: e.Worker, Lost: true})
			j.end(Failed, fmt.Sprintf("stage %d (%s), task %s/%s: %v than the first, which others have already read; look for clocks, random numbers or outside state in its functions",
				s.plan.ID, s.plan.Name, j.spec.ID, e.Attempt, dataflow.ErrNonDeterminism), "", dataflow.ErrorNames(dataflow.ErrNonDeterminism)...)
			return false
		}
	}
	for _, c := range x.Consumers {
		for _, r := range j.stages[c].tasks {
			if r.state != running {
				continue
			}
			j.settle(r, Attempt{Number: -1}, "an input has changed")
			j.set(r, idle)
		}
	}
	return true
}
