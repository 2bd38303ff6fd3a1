package job

import (
	"fmt"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/mutant"
)

// The first answer to a slow attempt that reads a split is to cut it: it gives away the
// end of its split, and a new task of the stage reads that. An attempt is cut once.
//
// What an attempt has given away it does not read any more, whether the coordinator hears
// of it or not. So its result says it too, and a result whose cut is not in the journal is
// taken in together with the cut or not at all. Other attempts at the task, which have
// read the whole, cannot win once the cut is journalled; later ones read what was kept.
const (
	// cutFrom is how long an attempt must still take to be worth a cut.
	cutFrom = 2 * slowFloor
	// cutKeep is the share of what it has not begun that it is to keep.
	cutKeep = 0.5
	// cutWithin is how long an answer is waited for before a copy is started.
	cutWithin = 2 * time.Second
)

// A Cut is what an attempt has given away of its split: it reads Kept alone.
type Cut struct{ Kept, Rest dataflow.Split }

// mayCut says whether a task's split may be divided: nobody has read its output yet, the
// numbers of parts of a sink do not depend on it, and no second run is compared with a
// first one that read more.
func (j *Job) mayCut(t *task) bool {
	if t == nil || t.key.Control() || t.won != nil || t.rerun && !mutant.On("second runs are cut") {
		return false
	}
	s := j.stages[t.key.Stage]
	return j.split(t) != nil && s.plan.Output.Exchange >= 0 && s.plan.MaxTasks == 0 && !j.state.Final()
}

// askCut asks an attempt to give something away.
func (j *Job) askCut(t *task) {
	p := &t.running[0]
	p.pace.asked = j.now
	j.do(AskCut{Attempt{t.key, p.number}, p.worker, cutKeep})
}

// unanswered says that an attempt was asked not long ago and has said nothing.
func (j *Job) unanswered(p pace) bool {
	return p.asked > 0 && !p.answered && time.Duration(j.now-p.asked) < cutWithin
}

// answered takes in what an attempt was asked for. The answer of one that does not run
// any more is of no use.
func (j *Job) answered(e Answered) {
	t := j.task(e.Attempt.Key)
	if t == nil {
		return
	}
	i := t.on(e.Attempt.Number)
	if i < 0 || t.running[i].worker != e.Worker {
		return
	}
	t.running[i].pace.answered = true
	if e.Cut != nil && j.cut(t, e.Attempt, e.Worker, e.Cut) {
		j.advance()
	}
}

// cut makes it so that a task reads what an attempt at it has kept, and a new one the
// rest; false if that cannot be.
func (j *Job) cut(t *task, a Attempt, w Worker, c *Cut) bool {
	if t.cutter == a.Number {
		return false // told twice
	}
	if !j.mayCut(t) || j.stale(t, a.Number) {
		return false
	}
	for i := len(t.running) - 1; i >= 0; i-- {
		if p := t.running[i]; p.number != a.Number && !mutant.On("attempts at the whole win after a cut") {
			j.takeBack(Attempt{t.key, p.number}, p.worker, "another attempt has given a part away")
			j.drop(t, Attempt{t.key, p.number})
		}
	}
	j.unspare(t)
	r := TaskSplit{Attempt: a, Worker: w, Kept: c.Kept, Rest: c.Rest, Floor: j.next}
	if whole := j.split(t); len(r.Rest.Hosts) == 0 {
		r.Rest.Hosts = whole.Hosts
	}
	j.record(r)
	return true
}

// stale says that an attempt has read what its task is not to read any more.
func (j *Job) stale(t *task, number int32) bool {
	return number < t.floor || number < t.cutFloor && number != t.cutter && !mutant.On("attempts at the whole win after a cut")
}

func (j *Job) applySplit(r TaskSplit) {
	s := j.stages[r.Attempt.Stage]
	t := s.tasks[r.Attempt.Index]
	t.cutter, t.cutFloor = r.Attempt.Number, max(t.cutFloor, r.Floor)
	if !mutant.On("what was given away is read again") {
		t.own = &r.Kept
	}
	rest := &task{key: Key{r.Attempt.Stage, len(s.tasks)}, plan: t.plan, own: &r.Rest, cutter: -1}
	s.tasks = append(s.tasks, rest)
	s.idle++
}

// fitsSplit says why a task cannot have been split.
func (j *Job) fitsSplit(r TaskSplit) error {
	if t := j.task(r.Attempt.Key); r.Attempt.Control() || t == nil || t.won != nil || j.split(t) == nil {
		return fmt.Errorf("it had no split to give away")
	}
	return nil
}

// incomplete ends an attempt that has given something away which nobody may read: it
// counts as lost.
func (j *Job) incomplete(t *task, e Done) {
	if t.on(e.Attempt.Number) < 0 {
		j.do(Ack{Attempt: e.Attempt, Worker: e.Worker, Lost: true})
		return
	}
	j.failed(Failure{Attempt: e.Attempt, Worker: e.Worker, Kind: dataflow.InputLost, Message: "it has given away a part of its split that no other task may read"})
}
