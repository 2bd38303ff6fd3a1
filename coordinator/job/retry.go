package job

import (
	"fmt"
	"slices"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/mutant"
)

// counted says whether a failure counts against the task's budget.
func counted(k dataflow.Kind) bool {
	switch k {
	case dataflow.InputLost, dataflow.WorkerLost, dataflow.Canceled:
		return mutant.On("lost workers count against tasks")
	}
	return true
}

func (j *Job) failed(e Failure) {
	j.accounted(e.Attempt, e.Worker)
	t := j.task(e.Attempt.Key)
	known := j.drop(t, e.Attempt)
	stale := !known && (e.Attempt.Number >= j.limit || e.Kind == dataflow.Canceled) // a cancel of ours among them
	if t == nil || t.state == done || j.dead(e.Attempt.Key) || slices.Contains(t.ended, e.Attempt.Number) || stale {
		j.do(Ack{Attempt: e.Attempt, Worker: e.Worker, Lost: true})
		return
	}
	if t.state == running && len(t.running) == 0 {
		j.set(t, idle)
	}
	r := TaskFailed{Failure: e, Counted: counted(e.Kind) || e.Killed, Next: t.memory, Alone: t.alone}
	switch {
	case e.Kind == dataflow.OutOfMemory && t.ooms == 0:
		r.Next = 2 * max(t.memory, e.Memory, e.Stats.PeakMemory)
	case e.Kind == dataflow.OutOfMemory:
		r.Alone = true
	case e.Killed && t.kills+1 >= crowdKills: // which of the host's tasks did it is seen only of one that is alone
		r.Alone = true
	}
	kind := e.Kind
	if kind == dataflow.DiskFull && slices.Contains(t.exclude, e.Worker.ID) {
		kind = dataflow.Transient // there is nowhere else: wait for room
	}
	j.record(r)
	j.do(Ack{Attempt: e.Attempt, Worker: e.Worker, Lost: true})
	if t.doom != "" {
		j.giveUpOn(t)
		return
	}
	var lost []Attempt
	for i, a := range e.Lost {
		if i >= len(e.LostAt) || !j.elsewhere(a, e.LostAt[i]) {
			lost = append(lost, a)
		}
	}
	if len(lost) > 0 && !mutant.On("a failed fetch does not run the producer again") {
		j.outputsLost(OutputsLost{Attempts: lost, Why: fmt.Sprintf("%s could not read it", e.Attempt), Unreadable: true})
		if j.state.Final() {
			return
		}
	}
	j.again(t, kind)
}

// giveUpOn ends the job for a task that is not tried again, or the cleaning of a sink.
func (j *Job) giveUpOn(t *task) {
	if t.key.Stage == StageClean {
		j.giveUp(t.key.Index, t.doom)
		return
	}
	j.end(Failed, t.doom, t.stack, t.names...)
}

// again asks for another attempt unless one runs or the inputs are incomplete.
func (j *Job) again(t *task, k dataflow.Kind) {
	if len(t.running) > 0 || t.state == done {
		return
	}
	j.unspare(t)           // what is wanted now is no copy
	if t.state == wanted { // with what is known now
		j.do(Unwant{Key: t.key})
		j.set(t, idle)
	}
	if !t.key.Control() && !j.ready(t.key.Stage) {
		return
	}
	j.wantIn(t, j.pause(t, k))
}

// pause grows with the failures that may pass.
func (j *Job) pause(t *task, k dataflow.Kind) time.Duration {
	switch k {
	case dataflow.WorkerLost, dataflow.Canceled, dataflow.OutOfMemory, dataflow.DiskFull:
		return 0
	case dataflow.InputLost:
		return min(time.Duration(t.requeues)*50*time.Millisecond, 2*time.Second)
	}
	n := max(t.failures, t.kills)
	if n == 0 {
		return 0
	}
	return min(100*time.Millisecond<<(2*(n-1)), 10*time.Second)
}

// hopeless says why a task is not tried again, or "".
func (j *Job) hopeless(t *task, e Failure) string {
	name := fmt.Sprintf("task %s/%s", j.spec.ID, e.Attempt)
	if sp := j.split(t); sp != nil {
		name += fmt.Sprintf(" (split %s)", sp.ID)
	}
	budget := maxFailures
	switch t.key.Stage {
	case StagePublish:
		budget = maxPublish
	case StageClean:
		if t.failures+t.kills+t.ooms >= maxClean {
			return e.Message
		}
		budget = maxClean
	}
	alone := ""
	if t.lone > 0 {
		alone = fmt.Sprintf(", %d of them alone on its worker", t.lone)
	}
	switch {
	case (e.Kind == dataflow.User || e.Kind == dataflow.Fatal || e.Kind == dataflow.Poison) && !mutant.On("user errors are tried again"):
		return e.Message
	case t.ooms >= 3:
		return fmt.Sprintf("%s ran out of memory %d times, at last alone on its worker: %s", name, t.ooms, e.Message)
	case j.poison(t) && !mutant.On("retried for ever"):
		return fmt.Sprintf("%s killed its process %d times%s (poison): %s", name, t.kills, alone, e.Message)
	case t.failures >= budget && !mutant.On("retried for ever"):
		return fmt.Sprintf("%s failed %d times, the last time: %s", name, t.failures, e.Message)
	case t.requeues >= maxRequeues:
		return fmt.Sprintf("%s was lost %d times, the last time: %s", name, t.requeues, e.Message)
	}
	return ""
}

// poison says whether a task is to blame for the hosts that died under it. Others that
// ran in those hosts, or somebody outside, may be, so it has to have been alone when the
// last ones did. Control tasks share a host but with each other and take no slot that
// could be theirs alone.
func (j *Job) poison(t *task) bool {
	return t.kills >= maxKills && (t.key.Control() || t.lone >= maxKills-crowdKills)
}
