package job

import (
	"slices"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/mutant"
)

type taskState uint8

const (
	idle    taskState = iota // its inputs may be incomplete
	wanted                   // the shell looks for a place
	running                  // at least one attempt is on a worker
	done                     // won
)

type task struct {
	key     Key
	state   taskState
	plan    Planned
	running []placed // attempts on workers; nearly always at most one
	won     *Win
	former  *Win   // the winner whose output was lost and needed, until another has won
	lost    bool   // won, but nobody holds the output any more; nobody needed it yet
	bad     bool   // lost, because it could not be read
	rerun   bool   // had won before
	before  uint64 // the row hash of then
	summed  bool   // its sizes are in the exchange's totals

	failures, kills, ooms, requeues int
	lone                            int             // kills while it was alone on its worker
	ended                           []int32         // attempts that failed, were lost, or won and were lost: they cannot win
	floor                           int32           // attempts below it have read what is no more: they cannot win
	own                             *dataflow.Split // what it reads once a split was cut, nil: its plan says
	cutter, cutFloor                int32           // attempts below cutFloor have read the whole, but for the cutter, -1: none
	why                             string          // of the last failure
	doom, stack                     string          // why it is not tried again, once it is not
	names                           []string        // of the errors that doom is
	memory                          int64
	alone                           bool
	exclude                         []string
	spare                           int // the copy that is wanted and not launched
	copies                          int // wanted so far
}

type placed struct {
	number int32
	worker Worker
	pace   pace
}

// Win is a task's winner.
type Win struct {
	Attempt Attempt
	Worker  Worker
	Address string
	Result  *Result // without the sizes of partitions
}

// task is nil for a key that names none.
func (j *Job) task(k Key) *task {
	if k.Control() {
		return j.control[k]
	}
	if k.Stage >= len(j.stages) || k.Index < 0 || k.Index >= len(j.stages[k.Stage].tasks) {
		return nil
	}
	return j.stages[k.Stage].tasks[k.Index]
}

func (j *Job) controlTask(k Key) *task {
	t := j.control[k]
	if t == nil {
		t = &task{key: k, plan: Planned{Split: -1, ForwardStage: -1}, cutter: -1}
		j.control[k] = t
		j.keys = append(j.keys, k)
	}
	return t
}

// set changes a task's state and keeps its stage's numbers.
func (j *Job) set(t *task, s taskState) {
	if !t.key.Control() {
		st := j.stages[t.key.Stage]
		st.count(t.state, -1)
		st.count(s, 1)
	}
	t.state = s
}

func (j *Job) want(t *task) { j.wantIn(t, 0) }

func (j *Job) wantIn(t *task, d time.Duration) {
	j.set(t, wanted)
	w := Want{Key: t.key, Memory: t.memory, Alone: t.alone, Exclude: t.exclude, Delay: d}
	if !t.key.Control() {
		w.Hosts, w.Workers = j.near(t)
	}
	j.do(w)
}

// NextAttempt is the number for the next Launched.
func (j *Job) NextAttempt() int32 { return j.next }

func (j *Job) launched(e Launched) {
	t := j.task(e.Attempt.Key)
	j.next = max(j.next, e.Attempt.Number+1)
	if j.next > j.limit-reserveStep/2 {
		j.record(AttemptsReserved{j.limit + reserveStep})
	}
	if t.key.Stage == StagePrepare {
		j.sinks[t.key.Index].asked = true
	}
	t.running = append(t.running, placed{number: e.Attempt.Number, worker: e.Worker})
	if t.spare == e.Copy {
		t.spare = 0
	}
	j.set(t, running)
	if !t.key.Control() {
		if s := j.stages[t.key.Stage]; s.started == 0 {
			s.started = j.now
		}
		if e.Double {
			j.double(t, e.Worker)
		}
	}
}

func (j *Job) adopted(e Adopted) {
	t := j.task(e.Attempt.Key)
	switch {
	case t == nil, t.state == done, j.dead(e.Attempt.Key), j.stale(t, e.Attempt.Number):
		j.takeBack(e.Attempt, e.Worker, "not needed any more")
		return
	case t.on(e.Attempt.Number) >= 0:
		return // told twice
	case len(t.running) > 0:
		j.takeBack(e.Attempt, e.Worker, "another attempt runs")
		return
	case mutant.On("running tasks are not adopted"):
		return
	}
	if t.state == wanted {
		j.do(Unwant{Key: t.key})
	}
	j.next = max(j.next, e.Attempt.Number+1)
	t.running = append(t.running, placed{number: e.Attempt.Number, worker: e.Worker})
	j.set(t, running)
	if !t.key.Control() {
		if s := j.stages[t.key.Stage]; s.started == 0 {
			s.started = j.now
		}
	}
}

// dead says that the job's state leaves no use for a task.
func (j *Job) dead(k Key) bool {
	if k.Stage == StageClean {
		return j.phase != cleaning
	}
	return j.state.Final()
}

func (t *task) on(number int32) int {
	return slices.IndexFunc(t.running, func(p placed) bool { return p.number == number })
}

func (j *Job) done(e Done) {
	j.accounted(e.Attempt, e.Worker)
	t := j.task(e.Attempt.Key)
	if t != nil && t.won != nil && t.won.Attempt == e.Attempt && t.won.Worker == e.Worker && !t.lost && !mutant.On("no arbiter") {
		j.do(Ack{Attempt: e.Attempt, Worker: e.Worker}) // told twice
		return
	}
	if t == nil || t.state == done && !(t.won != nil && mutant.On("no arbiter")) || j.dead(e.Attempt.Key) && !mutant.On("tasks win after the end") ||
		e.Attempt.Number >= j.limit || j.stale(t, e.Attempt.Number) || slices.Contains(t.ended, e.Attempt.Number) {
		j.drop(t, e.Attempt)
		j.do(Ack{Attempt: e.Attempt, Worker: e.Worker, Lost: true})
		return
	}
	if t.key.Control() {
		j.controlDone(t, e)
		return
	}
	cut := false
	if e.Result.Cut != nil && t.cutter != e.Attempt.Number && !mutant.On("a cut that was not heard of does not count") {
		if cut = j.cut(t, e.Attempt, e.Worker, e.Result.Cut); !cut {
			j.incomplete(t, e)
			return
		}
	}
	if t.rerun && t.before != e.Result.RowHash && !mutant.On("other rows are not noticed") && !j.tolerate(t, e) {
		return
	}
	j.settle(t, e.Attempt, "another attempt has won")
	j.record(TaskWon(e))
	j.do(Ack{Attempt: e.Attempt, Worker: e.Worker})
	s := j.stages[t.key.Stage]
	if s.plan.Output.Exchange >= 0 {
		j.moved(s.plan.Output.Exchange)
	}
	if s.done == len(s.tasks) || cut {
		j.advance()
	}
}

// settle takes a task off the shell's and the workers' hands, but for one attempt.
func (j *Job) settle(t *task, but Attempt, why string) {
	if t.state == wanted {
		j.do(Unwant{Key: t.key})
	}
	j.unspare(t)
	for _, p := range t.running {
		if p.number != but.Number {
			j.takeBack(Attempt{t.key, p.number}, p.worker, why)
		}
	}
	t.running = nil
}

// drop forgets that an attempt runs.
func (j *Job) drop(t *task, a Attempt) bool {
	if t == nil {
		return false
	}
	i := t.on(a.Number)
	if i < 0 {
		return false
	}
	t.running = slices.Delete(t.running, i, i+1)
	return true
}

func (j *Job) controlDone(t *task, e Done) {
	j.settle(t, e.Attempt, "another attempt was done first")
	j.set(t, done)
	i := t.key.Index
	switch t.key.Stage {
	case StageSplits:
		j.record(SplitsKnown{Source: i, Splits: e.Result.Splits})
	case StagePrepare:
		j.record(SinkPrepared{Sink: i, Prepared: e.Result.Prepared})
		j.do(Prepared{i})
	case StagePublish:
		j.record(SinkPublished{i})
	case StageClean:
		j.record(SinkCleaned{Sink: i})
	}
	j.do(Ack{Attempt: e.Attempt, Worker: e.Worker})
	switch t.key.Stage {
	case StagePublish:
		j.publishedOne()
	case StageClean:
		j.cleanedOne()
	default:
		j.advance()
	}
}

// near is where a task's input lies.
func (j *Job) near(t *task) (hosts, workers []string) {
	s := j.stages[t.key.Stage]
	if sp := j.split(t); sp != nil {
		return sp.Hosts, nil
	}
	if t.plan.ForwardStage >= 0 {
		if p := j.task(Key{t.plan.ForwardStage, t.plan.ForwardIndex}); p != nil && p.won != nil && !p.lost {
			return nil, []string{p.won.Worker.ID}
		}
		return nil, nil
	}
	return nil, j.heaviest(s.plan, t.plan.Lo, t.plan.Hi)
}

func (j *Job) split(t *task) *dataflow.Split {
	if t.own != nil {
		return t.own
	}
	if t.key.Control() || t.plan.Split < 0 {
		return nil
	}
	src := j.stages[t.key.Stage].source()
	if src < 0 || t.plan.Split >= len(j.sources[src].splits) {
		return nil
	}
	return &j.sources[src].splits[t.plan.Split]
}

func addName(names []string, n string) []string {
	if n == "" || slices.Contains(names, n) {
		return names
	}
	return append(slices.Clip(names), n)
}
