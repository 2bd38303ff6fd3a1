package job

import (
	"fmt"
	"slices"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

// Status is what there is to say of a job. It shares nothing with the machine.
type Status struct {
	State          State
	Error, Stack   string
	Names          []string // of the errors that Error is
	Started, Ended Instant
	Stages         []StageStatus
	Counters       map[string]int64
	Stats          Stats // sums over winners
	Tasks          int64
	Attempts       int64
	Retries        int64
	Copies         int64 // attempts started beside slow ones
	RecordsIn      int64 // read from sources
	RecordsOut     int64 // written to sinks
	Cleaned        bool
	OutputsCleaned bool   // Cleaned, but that workers may still have files of it
	GaveUp         string // what could not be cleaned, and why
	Unclean        string // what could not be cleaned so far, and why
	Waiting        string // what it waits for, when nothing of it runs
}

// StageStatus is what there is to say of a stage.
type StageStatus struct {
	Name           string
	State          string // waiting, running, done
	Why            string // how it was divided
	Tasks          int
	Done           int
	Running        int
	Wanted         int
	FailedAttempts int
	Stats          Stats
	Ops            []plan.OpStats // of the plan's operators; sums over winners
	Started, Ended Instant
}

// State of the job.
func (j *Job) State() State { return j.state }

// Over says that the job has ended and nothing is left of it.
func (j *Job) Over() bool { return j.phase == over }

// Settled says that the job has ended and its outputs stay as they are: at most the
// workers have something left of it.
func (j *Job) Settled() bool { return j.phase == ending || j.phase == over }

// Plan of the job.
func (j *Job) Plan() *plan.Plan { return j.plan }

// Status of the job; with stages as well.
func (j *Job) Status(stages bool) Status {
	st := Status{
		State: j.state, Error: j.err, Stack: j.stack, Names: j.names, Started: j.started, Ended: j.ended,
		Counters: map[string]int64{}, Attempts: j.attempts, Retries: j.retries, Copies: j.copies, Cleaned: j.Over(), OutputsCleaned: j.Settled(),
	}
	runs := 0
	for i, s := range j.stages {
		st.Stats.add(s.stats, 1)
		// A sampling stage looks at rows that another one will read in earnest.
		sampling := s.plan.MaxTasks > 0
		if !sampling {
			addCounters(st.Counters, s.counters, 1)
		}
		st.Tasks += int64(len(s.tasks))
		st.Attempts += int64(s.running)
		runs += s.running
		if s.source() >= 0 && !sampling {
			st.RecordsIn += s.stats.RowsIn
		}
		if s.plan.Output.Sink >= 0 {
			st.RecordsOut += s.stats.RowsOut
		}
		if stages {
			st.Stages = append(st.Stages, j.stageStatus(i))
		}
	}
	for i, s := range j.sinks {
		if s.gaveUp != "" {
			st.GaveUp = fmt.Sprintf("sink %d (%s): %s", i, j.plan.Sinks[i].Name, s.gaveUp)
		} else if s.unclean != "" && !s.cleaned {
			st.Unclean = fmt.Sprintf("sink %d (%s): %s", i, j.plan.Sinks[i].Name, s.unclean)
		}
	}
	if runs == 0 && !st.Cleaned {
		st.Waiting = j.waiting()
	}
	return st
}

func (j *Job) stageStatus(i int) StageStatus {
	s := j.stages[i]
	ss := StageStatus{
		Name: s.plan.Name, State: "waiting", Why: s.why, Tasks: len(s.tasks), Done: s.done, Running: s.running,
		Wanted: s.wanted, FailedAttempts: s.failed, Stats: s.stats, Started: s.started,
		Ops: slices.Clone(s.ops),
	}
	switch {
	case s.planned && s.done == len(s.tasks):
		ss.State, ss.Ended = "done", s.ended
	case s.running > 0 || s.done > 0:
		ss.State = "running"
	}
	return ss
}

// waiting says what has to happen next.
func (j *Job) waiting() string {
	switch j.phase {
	case stopping:
		return "task hosts are being ended"
	case cleaning:
		return "outputs are being cleaned of what attempts left"
	case ending:
		return "workers are dropping its blocks and files"
	}
	if j.state == Publishing {
		return "its output is being published"
	}
	for i, s := range j.sources {
		if !s.known {
			return fmt.Sprintf("the splits of source %d (%s) are being listed", i, j.plan.Sources[i].Name)
		}
	}
	for i, s := range j.sinks {
		if !s.ready {
			return fmt.Sprintf("sink %d (%s) is being prepared", i, j.plan.Sinks[i].Name)
		}
	}
	return "its tasks wait for slots"
}

// Progress of a stage: tasks, how many are done and run.
func (j *Job) Progress(stage int) (tasks, done, running int) {
	s := j.stages[stage]
	return len(s.tasks), s.done, s.running
}

// Task is what an attempt has to be told.
type Task struct {
	Planned
	Part     int             // number of the part it writes to a sink
	Split    *dataflow.Split // of a stage that reads a source
	Memory   int64
	Versions map[int]int64 // of the exchanges it reads
}

// Task by its key; of control tasks there is nothing to tell but the key.
func (j *Job) Task(k Key) Task {
	t := j.task(k)
	if t == nil || k.Control() {
		return Task{Planned: Planned{ForwardStage: -1}}
	}
	s := j.stages[k.Stage].plan
	out := Task{Planned: t.plan, Split: j.split(t), Memory: t.memory, Part: s.Output.PartBase + k.Index, Versions: map[int]int64{}}
	for _, in := range s.Inputs {
		if in.Mode != plan.BySplit {
			out.Versions[in.Exchange] = j.Version(in.Exchange)
		}
	}
	return out
}

// Receipts of a sink's winners, in order of their parts.
func (j *Job) Receipts(sink int) [][]byte {
	var all [][]byte
	for _, s := range j.stages { // parts are numbered by stage, then task
		if s.plan.Output.Sink == sink {
			for _, t := range s.tasks {
				if t.won != nil {
					if mutant.On("a receipt is forgotten") && t.key.Index == 2 {
						continue
					}
					all = append(all, t.won.Result.Receipt)
				}
			}
		}
	}
	return all
}

// PreparedSinks is what sinks said, for those that have.
func (j *Job) PreparedSinks() map[int][]byte {
	all := map[int][]byte{}
	for i, s := range j.sinks {
		if s.ready {
			all[i] = s.prepared
		}
	}
	return all
}

// Held lists the winners whose outputs the machine believes to lie on workers, by
// worker. Empty when no output matters any more.
func (j *Job) Held() map[Worker][]Attempt {
	held := map[Worker][]Attempt{}
	if j.settled() {
		return held
	}
	for _, s := range j.stages {
		if s.plan.Output.Exchange < 0 {
			continue
		}
		for _, t := range s.tasks {
			if t.won != nil && !t.lost {
				held[t.won.Worker] = append(held[t.won.Worker], t.won.Attempt)
			}
		}
	}
	return held
}

// Needed lists the outputs on a worker that some task has still to read, in order.
func (j *Job) Needed(w Worker) []Attempt {
	var all []Attempt
	if j.settled() {
		return nil
	}
	for _, s := range j.stages {
		x := s.plan.Output.Exchange
		if x < 0 || s.done == 0 || !j.unread(x) {
			continue
		}
		for _, t := range s.tasks {
			if t.won != nil && !t.lost && t.won.Worker == w {
				all = append(all, t.won.Attempt)
			}
		}
	}
	return all
}

// unread says whether some task has still to read an exchange.
func (j *Job) unread(exchange int) bool {
	for _, c := range j.ex[exchange].plan.Consumers {
		if s := j.stages[c]; !s.planned || s.done < len(s.tasks) {
			return true
		}
	}
	return false
}

// Holds says whether an attempt's output is a winner's that still may be needed.
func (j *Job) Holds(a Attempt) bool {
	t := j.task(a.Key)
	return !j.settled() && t != nil && t.won != nil && !t.lost && t.won.Attempt == a
}

// Active lists the attempts on workers and where they are.
func (j *Job) Active() map[Attempt]Worker {
	all := map[Attempt]Worker{}
	j.eachRunning(func(a Attempt, w Worker) { all[a] = w })
	return all
}

// Runs says whether an attempt is still wanted of the worker that it was given to.
func (j *Job) Runs(a Attempt) bool {
	t := j.task(a.Key)
	return t != nil && t.on(a.Number) >= 0
}

// ActiveOn lists the attempts on a worker, in order.
func (j *Job) ActiveOn(w Worker) []Attempt {
	var all []Attempt
	j.eachRunning(func(a Attempt, on Worker) {
		if on == w {
			all = append(all, a)
		}
	})
	return all
}

func (j *Job) eachRunning(f func(Attempt, Worker)) {
	for _, k := range j.keys {
		for _, p := range j.control[k].running {
			f(Attempt{k, p.number}, p.worker)
		}
	}
	for _, s := range j.stages {
		if s.running == 0 {
			continue
		}
		for _, t := range s.tasks {
			for _, p := range t.running {
				f(Attempt{t.key, p.number}, p.worker)
			}
		}
	}
}

// Winner of a task, or nil.
func (j *Job) Winner(k Key) *Win {
	if t := j.task(k); t != nil {
		return t.won
	}
	return nil
}
