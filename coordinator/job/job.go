// Package job is the life of one job, from its submission to the last file it leaves
// behind, as a pure machine: events in, actions out. It does no I/O, reads no clock,
// starts no goroutine and depends on no map's order, so that a life can be replayed,
// simulated and printed.
//
// What must survive a restart is a Record. A machine changes its durable state only by
// applying records, in Step when something happens and in Replay when a journal is read,
// so that both lead to the same state.
package job

import (
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

// Instant is nanoseconds of the caller's clock, which never runs backwards.
type Instant int64

// Limits of what is tried again.
const (
	maxFailures = 4   // counted failures of a task before the job fails
	maxPublish  = 8   // of a publish, which is not given up lightly
	maxClean    = 5   // of a clean, before it is given up
	maxKills    = 4   // hosts that die under a task before it is poison
	crowdKills  = 2   // of those, before it gets a worker to itself
	maxRequeues = 100 // attempts of a task that end without counting
	reserveStep = 4096
	epochShift  = 32
	targetBytes = 64 << 20 // of neighbouring partitions that are joined into a task
	smallBytes  = 1 << 20  // a task of less is not worth its own start
	smallShare  = targetBytes / smallBytes
)

// Spec is what is known of a job when it is submitted.
type Spec struct {
	ID     string
	Plan   *plan.Plan
	Memory int64  // of each task host, bytes; 0: the worker's choice
	Epoch  uint64 // the coordinator's when the job was submitted or replayed
	// TaskBytes is how much of the partitions before it a task is to read, 0: 64 MiB. A 64th
	// of it is worth a task where a slot is idle.
	TaskBytes int64
	Begun     Instant
}

// State is where a job stands.
type State uint8

// The states of a job. The last three are final.
const (
	Pending State = iota + 1
	Running
	Publishing
	Succeeded
	Failed
	Canceled
)

var stateNames = [...]string{"", "pending", "running", "publishing", "succeeded", "failed", "canceled"}

func (s State) String() string { return stateNames[s] }

// Final says that the job's result will not change any more.
func (s State) Final() bool { return s >= Succeeded }

// phase is what remains to be done after a job's end.
type phase uint8

const (
	living   phase = iota
	stopping       // the hosts are being killed
	cleaning       // control tasks remove what attempts left in outputs
	ending         // workers drop blocks, files and artifacts
	over
)

// A Job is the machine. It is used by one goroutine.
type Job struct {
	spec    Spec
	plan    *plan.Plan
	state   State
	phase   phase
	err     string
	stack   string
	names   []string // of the errors that err is
	slots   int      // in the cluster, to plan stages by
	next    int32    // attempt number
	limit   int32    // attempt numbers below it are reserved in the journal
	stages  []*stage
	sources []*source
	sinks   []*sink
	ex      []*exchange
	control map[Key]*task // control tasks, by key; never ranged over
	keys    []Key         // of control, in order of creation
	strays  map[Attempt]Worker
	resumed bool // there may be strays of an earlier life
	started Instant
	ended   Instant

	attempts, retries, copies int64

	now Instant  // of the step under way
	out []Action // of the step under way
}

type source struct {
	splits []dataflow.Split
	known  bool
}

type sink struct {
	asked     bool // a Prepare may have run
	ready     bool // prepared
	prepared  []byte
	published bool
	cleaned   bool
	gaveUp    string
	unclean   string // why the last clean failed
}

// New is a job that nothing has happened to yet. Step it with Submitted, or Replay its
// records and then call Resume.
func New(s Spec) *Job {
	j := &Job{spec: s, plan: s.Plan, state: Pending, started: s.Begun, limit: reserveStep, control: map[Key]*task{}, strays: map[Attempt]Worker{}}
	for i := range s.Plan.Exchanges {
		j.ex = append(j.ex, newExchange(&s.Plan.Exchanges[i], s.Epoch))
	}
	for range s.Plan.Sources {
		j.sources = append(j.sources, &source{})
	}
	for range s.Plan.Sinks {
		j.sinks = append(j.sinks, &sink{})
	}
	for i := range s.Plan.Stages {
		j.stages = append(j.stages, &stage{plan: &s.Plan.Stages[i], counters: map[string]int64{}})
	}
	return j
}

// Check refuses a plan that the machine could not carry out.
func Check(p *plan.Plan) error {
	if p.Version > plan.Version {
		return fmt.Errorf("the plan has version %d, this coordinator understands up to %d", p.Version, plan.Version)
	}
	if len(p.Stages) == 0 || len(p.Sinks) == 0 {
		return fmt.Errorf("the plan has %d stages and %d sinks: it does nothing", len(p.Stages), len(p.Sinks))
	}
	if len(p.Stages) > 10_000 {
		return fmt.Errorf("the plan has %d stages, at most 10000 are allowed", len(p.Stages))
	}
	for i := range p.Stages {
		if err := checkStage(p, i); err != nil {
			return fmt.Errorf("stage %d: %w", i, err)
		}
	}
	for i, x := range p.Exchanges {
		if x.ID != i || x.Partitions < 0 || x.Partitions > 1<<20 || x.Kind != dataflow.Forward && x.Partitions == 0 {
			return fmt.Errorf("exchange %d: id %d, %d partitions", i, x.ID, x.Partitions)
		}
		if len(x.Producers) == 0 {
			return fmt.Errorf("exchange %d has no producers", i)
		}
		for _, s := range x.Producers {
			if s < 0 || s >= len(p.Stages) || p.Stages[s].Output.Exchange != i {
				return fmt.Errorf("exchange %d: stage %d is no producer of it", i, s)
			}
		}
	}
	return nil
}

func checkStage(p *plan.Plan, i int) error {
	s := &p.Stages[i]
	if s.ID != i {
		return fmt.Errorf("its id is %d", s.ID)
	}
	if len(s.Inputs) == 0 {
		return fmt.Errorf("it reads nothing")
	}
	partitions := -1
	for _, in := range s.Inputs {
		if in.Mode == plan.BySplit {
			if in.Source < 0 || in.Source >= len(p.Sources) {
				return fmt.Errorf("it reads source %d of %d", in.Source, len(p.Sources))
			}
			continue
		}
		if in.Exchange < 0 || in.Exchange >= len(p.Exchanges) {
			return fmt.Errorf("it reads exchange %d of %d", in.Exchange, len(p.Exchanges))
		}
		x := p.Exchanges[in.Exchange]
		for _, producer := range x.Producers {
			if producer >= i {
				return fmt.Errorf("it reads what the later stage %d writes", producer)
			}
		}
		if in.Mode == plan.ByPartition {
			if partitions >= 0 && partitions != x.Partitions {
				return fmt.Errorf("its inputs have %d and %d partitions", partitions, x.Partitions)
			}
			partitions = x.Partitions
		}
	}
	switch o := s.Output; {
	case o.Exchange >= 0 && o.Sink >= 0, o.Exchange < 0 && o.Sink < 0:
		return fmt.Errorf("it writes to exchange %d and sink %d: exactly one is meant to be -1", o.Exchange, o.Sink)
	case o.Exchange >= len(p.Exchanges), o.Sink >= len(p.Sinks):
		return fmt.Errorf("it writes to exchange %d, sink %d: no such thing", o.Exchange, o.Sink)
	}
	return nil
}

// Step takes in an event and says what is to be done about it, in order. What follows a
// Journal action is to be done only once its record is durable.
func (j *Job) Step(now Instant, e Event) []Action {
	j.now, j.out = now, nil
	switch e := e.(type) {
	case Submitted:
		j.slots = e.Slots
		j.begin()
	case Slots:
		j.slots = e.Slots
	case Launched:
		j.launched(e)
	case Adopted:
		j.adopted(e)
	case Done:
		j.done(e)
	case Failure:
		j.failed(e)
	case OutputsLost:
		j.outputsLost(e)
	case WorkerLost:
		j.workerLost(e)
	case Rehomed:
		j.rehomed(e)
	case Observed:
		j.observed(e)
	case Answered:
		j.answered(e)
	case Cancel:
		j.cancel(e)
	case Gone:
		j.gone(e)
	case Abandon:
		j.abandon(e)
	default:
		panic(fmt.Sprintf("job: no such event: %T", e))
	}
	out := j.out
	j.out = nil
	return out
}

// Resume says what is to be done after Replay by a coordinator of a later epoch.
// Winners' outputs are taken to be held until OutputsLost or WorkerLost says otherwise.
func (j *Job) Resume(now Instant, epoch uint64, slots int) []Action {
	j.now, j.out, j.slots = now, nil, slots
	j.next, j.resumed = j.limit, true
	if mutant.On("attempt numbers are used again") {
		j.next = 0
	}
	for _, x := range j.ex {
		x.rebase(epoch)
	}
	for _, s := range j.sinks {
		s.asked = true // perhaps: launches are not journalled
	}
	switch {
	case j.phase == over:
	case j.state.Final():
		j.stop()
	case j.doomed() != nil:
		// The journal ends between the failure that was one too many and the end.
		t := j.doomed()
		j.end(Failed, t.doom, t.stack, t.names...)
	default:
		j.begin()
	}
	out := j.out
	j.out = nil
	return out
}

// doomed is a task that is not tried again, or nil.
func (j *Job) doomed() *task {
	for _, k := range j.keys {
		if t := j.control[k]; t.doom != "" {
			return t
		}
	}
	for _, s := range j.stages {
		for _, t := range s.tasks {
			if t.doom != "" {
				return t
			}
		}
	}
	return nil
}

func (j *Job) do(a Action) { j.out = append(j.out, a) }

// record journals a fact and makes it so.
func (j *Job) record(r Record) {
	j.do(Journal{r})
	j.apply(r)
}

// begin asks for what every job starts with, then goes on as far as it can.
func (j *Job) begin() {
	for i, s := range j.sources {
		if !s.known {
			j.want(j.controlTask(Key{StageSplits, i}))
		}
	}
	for i, s := range j.sinks {
		if !s.ready {
			j.want(j.controlTask(Key{StagePrepare, i}))
		}
	}
	j.advance()
}

// advance starts the stages that can start and publishes when all are done.
func (j *Job) advance() {
	if j.state.Final() {
		return
	}
	all := true
	for i, s := range j.stages {
		if s.planned && s.done == len(s.tasks) {
			continue
		}
		if !j.ready(i) {
			all = all && s.plan.Output.Sink >= 0 && mutant.On("published before all is done")
			continue
		}
		if !s.planned {
			tasks, why := j.planStage(i)
			j.record(StagePlanned{Stage: i, Tasks: tasks, Why: why})
			if len(tasks) > 0 && j.state == Pending {
				j.state = Running
			}
		}
		if s.done == len(s.tasks) {
			continue
		}
		all = false
		for _, t := range s.tasks {
			if t.state == idle {
				j.want(t)
			}
		}
	}
	if all {
		j.publish()
	}
}

// ready says whether a stage's tasks can be known and run.
func (j *Job) ready(i int) bool {
	s := j.stages[i].plan
	if s.Output.Sink >= 0 && !j.sinks[s.Output.Sink].ready {
		return false
	}
	for _, in := range s.Inputs {
		if in.Mode == plan.BySplit {
			if !j.sources[in.Source].known {
				return false
			}
			continue
		}
		for _, p := range j.plan.Exchanges[in.Exchange].Producers {
			ps := j.stages[p]
			if !ps.planned || ps.done < len(ps.tasks) || ps.lost > 0 && (in.Mode != plan.ByForward || j.misses(j.stages[i], p)) {
				return false
			}
		}
	}
	return true
}
