package job

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/mutant"
)

// A Record is a fact or decision that survives a restart.
type Record interface{ String() string }

type (
	// SplitsKnown of a source.
	SplitsKnown struct {
		Source int
		Splits []dataflow.Split
	}
	// SinkPrepared with what attempts need to know.
	SinkPrepared struct {
		Sink     int
		Prepared []byte
	}
	// StagePlanned fixes a stage's tasks.
	StagePlanned struct {
		Stage int
		Tasks []Planned
		Why   string
	}
	// TaskWon: the one winner of a task.
	TaskWon struct {
		Attempt Attempt
		Worker  Worker
		Address string
		Result  *Result
	}
	// TaskFailed: an attempt ended otherwise; what the next one gets.
	TaskFailed struct {
		Failure
		Counted bool
		Next    int64 // memory of the next attempt, bytes
		Alone   bool
	}
	// OutputLost: a winner's output is gone and needed, its task runs again.
	OutputLost struct {
		Attempt    Attempt
		Why        string
		Unreadable bool // where it lay: it is damaged
	}
	// TaskSlow: an attempt is far behind others of its stage.
	TaskSlow struct {
		Attempt Attempt
		Worker  Worker
		Why     string
		Copy    bool // another is started beside it
	}
	// TaskSplit: an attempt reads Kept alone from now on, and so do later ones at its task;
	// a new task, the stage's last, reads Rest.
	TaskSplit struct {
		Attempt    Attempt
		Worker     Worker
		Kept, Rest dataflow.Split
		Floor      int32 // attempts at the task below it, but for this one, have read the whole
	}
	// OutputMoved: a winner's output lies on another worker now.
	OutputMoved struct {
		Attempt Attempt
		Worker  Worker
		Address string
	}
	// AttemptsReserved: numbers below Limit may have been used.
	AttemptsReserved struct{ Limit int32 }
	// PublishBegan: the winners are final.
	PublishBegan struct{}
	// SinkPublished.
	SinkPublished struct{ Sink int }
	// Ended: the job's final state.
	Ended struct {
		State State
		Error string
		Stack string
		Names []string // of the errors that it is
	}
	// SinkCleaned, or given up.
	SinkCleaned struct {
		Sink   int
		GaveUp string
	}
	// Cleaned: nothing is left.
	Cleaned struct{}
)

// Planned is what a task reads.
type Planned struct {
	Split        int // index into the source's splits, -1: none
	Lo, Hi       int // partitions [Lo, Hi)
	ForwardStage int // the producer task, -1: none
	ForwardIndex int
	// Of a shared input it reads the producers whose index is Share modulo Of; Of 0: all.
	Share, Of int
}

func (r SplitsKnown) String() string {
	return fmt.Sprintf("splits of source %d: %d", r.Source, len(r.Splits))
}
func (r SinkPrepared) String() string { return fmt.Sprintf("sink %d prepared", r.Sink) }

func (r StagePlanned) String() string {
	return fmt.Sprintf("stage %d: %d tasks (%s)", r.Stage, len(r.Tasks), r.Why)
}

func (r TaskWon) String() string { return fmt.Sprintf("won %s on %s", r.Attempt, r.Worker.ID) }

func (r TaskFailed) String() string {
	s := fmt.Sprintf("failed %s on %s: %s: %s", r.Attempt, r.Worker.ID, r.Kind, r.Message)
	if r.Killed {
		s += ", host killed"
	}
	if !r.Counted {
		s += ", not counted"
	}
	return s
}

func (r OutputLost) String() string { return fmt.Sprintf("output of %s lost: %s", r.Attempt, r.Why) }

func (r TaskSlow) String() string {
	s := fmt.Sprintf("slow %s on %s: %s", r.Attempt, r.Worker.ID, r.Why)
	if r.Copy {
		s += "; copied"
	}
	return s
}

func (r TaskSplit) String() string {
	return fmt.Sprintf("split %s on %s: it keeps %s, another reads %s", r.Attempt, r.Worker.ID, r.Kept.ID, r.Rest.ID)
}

func (r OutputMoved) String() string {
	return fmt.Sprintf("output of %s moved to %s", r.Attempt, r.Worker.ID)
}

func (r AttemptsReserved) String() string { return fmt.Sprintf("attempts below %d reserved", r.Limit) }
func (r PublishBegan) String() string     { return "publish began" }
func (r SinkPublished) String() string    { return fmt.Sprintf("sink %d published", r.Sink) }

func (r Ended) String() string {
	if r.Error != "" {
		return fmt.Sprintf("%s: %s", r.State, r.Error)
	}
	return r.State.String()
}

func (r SinkCleaned) String() string {
	if r.GaveUp != "" {
		return fmt.Sprintf("clean of sink %d given up: %s", r.Sink, r.GaveUp)
	}
	return fmt.Sprintf("sink %d cleaned", r.Sink)
}

func (r Cleaned) String() string { return "cleaned" }

// Replay makes a fact of an earlier life so. It fails on a record that cannot follow
// what was replayed before: another program's, or a defect.
func (j *Job) Replay(at Instant, r Record) (err error) {
	if err := j.fits(r); err != nil {
		return fmt.Errorf("job %s: %s: %w", j.spec.ID, r, err)
	}
	j.now = at
	j.apply(r)
	return nil
}

func (j *Job) fits(r Record) error {
	inside := func(i, n int, what string) error {
		if i < 0 || i >= n {
			return fmt.Errorf("%s %d of %d", what, i, n)
		}
		return nil
	}
	known := func(k Key) error {
		if k.Control() {
			return nil
		}
		if err := inside(k.Stage, len(j.stages), "stage"); err != nil {
			return err
		}
		return inside(k.Index, len(j.stages[k.Stage].tasks), "task")
	}
	switch r := r.(type) {
	case SplitsKnown:
		return inside(r.Source, len(j.sources), "source")
	case SinkPrepared:
		return inside(r.Sink, len(j.sinks), "sink")
	case SinkPublished:
		return inside(r.Sink, len(j.sinks), "sink")
	case SinkCleaned:
		return inside(r.Sink, len(j.sinks), "sink")
	case StagePlanned:
		if err := inside(r.Stage, len(j.stages), "stage"); err != nil {
			return err
		}
		if j.stages[r.Stage].planned {
			return fmt.Errorf("planned twice")
		}
	case TaskWon:
		if err := known(r.Attempt.Key); err != nil {
			return err
		}
		if t := j.task(r.Attempt.Key); t == nil || t.won != nil {
			return fmt.Errorf("a second winner")
		}
	case TaskFailed:
		return known(r.Attempt.Key)
	case TaskSlow:
		return known(r.Attempt.Key)
	case TaskSplit:
		if err := known(r.Attempt.Key); err != nil {
			return err
		}
		return j.fitsSplit(r)
	case OutputMoved:
		if err := known(r.Attempt.Key); err != nil {
			return err
		}
		t := j.task(r.Attempt.Key)
		if r.Attempt.Control() || t == nil || j.stages[t.key.Stage].plan.Output.Exchange < 0 {
			return fmt.Errorf("it had no output to move")
		}
		if w := cmp.Or(t.won, t.former); w == nil || w.Attempt != r.Attempt {
			return fmt.Errorf("it had no output to move")
		}
	case OutputLost:
		if err := known(r.Attempt.Key); err != nil {
			return err
		}
		if t := j.task(r.Attempt.Key); t == nil || t.won == nil || t.won.Attempt != r.Attempt {
			return fmt.Errorf("it had not won")
		}
	}
	return nil
}

// apply changes the durable state, the same in Step and in Replay; it asks for nothing.
func (j *Job) apply(r Record) {
	switch r := r.(type) {
	case SplitsKnown:
		j.sources[r.Source].splits, j.sources[r.Source].known = r.Splits, true
	case SinkPrepared:
		j.sinks[r.Sink].prepared, j.sinks[r.Sink].ready = r.Prepared, true
	case StagePlanned:
		j.stages[r.Stage].setTasks(r, j.now)
		if len(r.Tasks) > 0 && j.state == Pending {
			j.state = Running
		}
	case TaskWon:
		j.applyWon(r)
	case TaskFailed:
		if k := r.Attempt.Key; k.Stage == StageClean {
			j.sinks[k.Index].unclean = r.Message
		}
		j.applyFailed(r)
	case OutputLost:
		j.applyLost(r)
	case TaskSlow:
		if r.Copy {
			j.copies++
		}
	case TaskSplit:
		j.applySplit(r)
	case OutputMoved:
		j.applyMoved(r)
	case AttemptsReserved:
		j.limit = max(j.limit, r.Limit)
	case PublishBegan:
		j.state = Publishing
	case SinkPublished:
		j.sinks[r.Sink].published = true
	case Ended:
		j.state, j.err, j.stack, j.names, j.ended = r.State, r.Error, r.Stack, r.Names, j.now
	case SinkCleaned:
		j.sinks[r.Sink].cleaned, j.sinks[r.Sink].gaveUp = true, r.GaveUp
	case Cleaned:
		j.phase = over
	default:
		panic(fmt.Sprintf("job: no such record: %T", r))
	}
}

func (j *Job) applyWon(r TaskWon) {
	s := j.stages[r.Attempt.Stage]
	t := s.tasks[r.Attempt.Index]
	j.attempts++
	if t.rerun && t.before != r.Result.RowHash {
		j.applyChanged(s, r.Attempt.Number)
	}
	if s.started == 0 { // replayed: launches are not journalled
		s.started = j.now - Instant(r.Result.Stats.WallNanos)
	}
	j.set(t, done)
	t.won, t.former, t.lost = &Win{Attempt: r.Attempt, Worker: r.Worker, Address: r.Address, Result: r.Result}, nil, false
	s.done++
	s.ended = j.now
	s.stats.add(r.Result.Stats, 1)
	s.addOps(r.Result.Ops, 1)
	addCounters(s.counters, r.Result.Counters, 1)
	if x := s.plan.Output.Exchange; x >= 0 {
		j.ex[x].won(t)
	}
}

// applyChanged: a second run gave other rows than the first. Attempts that read the first
// one's are older than the second: a reader is launched only when its inputs have won.
func (j *Job) applyChanged(s *stage, number int32) {
	if s.plan.Output.Exchange < 0 {
		return
	}
	for _, c := range j.plan.Exchanges[s.plan.Output.Exchange].Consumers {
		for _, t := range j.stages[c].tasks {
			t.floor = max(t.floor, number)
		}
	}
}

func (j *Job) applyLost(r OutputLost) {
	s := j.stages[r.Attempt.Stage]
	t := s.tasks[r.Attempt.Index]
	j.retries++
	t.before, t.rerun = t.won.Result.RowHash, true
	t.ended = append(t.ended, r.Attempt.Number)
	s.stats.add(t.won.Result.Stats, -1)
	s.addOps(t.won.Result.Ops, -1)
	addCounters(s.counters, t.won.Result.Counters, -1)
	if t.lost {
		s.lost--
	}
	j.set(t, idle)
	t.won, t.former, t.lost = nil, t.won, false
	if r.Unreadable && !mutant.On("what could not be read is found again") {
		t.former = nil
	}
	s.done--
}

// applyFound takes a winner back whose output was lost and is there after all.
func (j *Job) applyFound(t *task) {
	s := j.stages[t.key.Stage]
	t.won, t.former = t.former, nil
	t.ended = slices.DeleteFunc(t.ended, func(n int32) bool { return n == t.won.Attempt.Number })
	s.stats.add(t.won.Result.Stats, 1)
	s.addOps(t.won.Result.Ops, 1)
	addCounters(s.counters, t.won.Result.Counters, 1)
	j.set(t, done)
	s.done++
	s.ended = j.now
}

func addCounters(to, from map[string]int64, sign int64) {
	for k, v := range maps.All(from) {
		if to[k] += sign * v; to[k] == 0 && sign < 0 {
			delete(to, k)
		}
	}
}

func (j *Job) applyFailed(r TaskFailed) {
	var t *task
	if r.Attempt.Control() {
		t = j.controlTask(r.Attempt.Key)
	} else {
		t = j.task(r.Attempt.Key)
		j.attempts++
		j.stages[r.Attempt.Stage].failed++
	}
	t.why = r.Message
	lone := t.alone
	t.memory, t.alone = r.Next, r.Alone
	t.ended = append(t.ended, r.Attempt.Number)
	switch {
	case r.Kind == dataflow.OutOfMemory:
		t.ooms++
	case r.Killed:
		t.kills++
		if lone {
			t.lone++
		}
	case r.Counted:
		t.failures++
	default:
		t.requeues++
	}
	if r.Counted {
		t.exclude = addName(t.exclude, r.Worker.ID)
	}
	t.doom, t.stack, t.names = j.hopeless(t, r.Failure), r.Stack, r.Names
	if t.doom == "" && !r.Attempt.Control() {
		j.retries++
	}
}
