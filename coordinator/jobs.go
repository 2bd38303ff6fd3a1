package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// jobState is the shell's side of a job.
type jobState struct {
	id        string
	req       *divisipb.SubmitRequest // as journalled, with the id
	job       *job.Job                // nil once only the summary is kept
	submitted int64                   // wall clock
	final     *divisipb.JobStatus     // once job is nil

	events   []*divisipb.Event // the last of them
	failures []failureNote     // the last of them

	placed map[job.Attempt]sched.ID            // attempts that the scheduler counts
	where  map[job.Attempt]*divisipb.Placement // why attempts run where they do, until they end
	levels map[string]int64                    // of tasks that were done
	won    map[int]uint64                      // by stage, the last record of a win since the start
	ending *ending
	ended  job.Instant // when the end began, to give up cleaning

	dirty    bool
	watchers map[chan struct{}]bool
	// For those who follow it: closed when its outputs stay as they are, and when it is over.
	settled, gone chan struct{}
}

// ending is a round of EndJob and its answers.
type ending struct {
	hostsOnly bool
	wait      map[string]bool // ids of workers that have not answered
}

type failureNote struct {
	attempt job.Attempt
	worker  string
	tail    string
}

// newJobState makes a job of a submit whose id is chosen.
func (s *state) newJobState(req *divisipb.SubmitRequest, at int64) (*jobState, error) {
	p, err := plan.Parse(req.GetJob().GetPlan())
	if err != nil {
		return nil, err
	}
	if err := job.Check(p); err != nil {
		return nil, err
	}
	id := req.GetJob().GetId()
	return &jobState{
		id: id, req: req, submitted: at, placed: map[job.Attempt]sched.ID{}, where: map[job.Attempt]*divisipb.Placement{}, levels: map[string]int64{}, won: map[int]uint64{}, watchers: map[chan struct{}]bool{}, settled: make(chan struct{}), gone: make(chan struct{}),
		job: job.New(job.Spec{ID: id, Plan: p, Memory: req.GetJob().GetMemoryBytes(), Epoch: s.epoch, Begun: job.Instant(at), TaskBytes: s.c.cfg.TaskBytes}),
	}, nil
}

func archivedJob(a *divisipb.JobArchived) *jobState {
	return &jobState{
		id: a.GetStatus().GetId(), req: a.GetRequest(), submitted: a.GetStatus().GetSubmittedUnixNanos(),
		final: a.GetStatus(), events: a.GetEvents(), watchers: map[chan struct{}]bool{}, settled: make(chan struct{}), gone: make(chan struct{}),
	}
}

// enter makes a job known.
func (s *state) enter(js *jobState) {
	s.jobs[js.id] = js
	s.order = append(s.order, js)
	if k := js.req.GetIdempotencyKey(); k != "" {
		if !mutant.On("submits are not recognised") {
			s.keys[submitKey(js.req)] = js.id
		}
	}
}

func submitKey(r *divisipb.SubmitRequest) string {
	return r.GetOwner() + "\x00" + r.GetIdempotencyKey()
}

// close keeps only the summary.
func (js *jobState) close() {
	if js.job != nil {
		js.final = js.status(true, nil)
		js.job = nil
	}
}

func (js *jobState) archive() *divisipb.JournalRecord {
	events := js.events[max(0, len(js.events)-archivedEvents):]
	return &divisipb.JournalRecord{
		UnixNanos: js.final.GetEndedUnixNanos(), Job: js.id,
		Body: &divisipb.JournalRecord_JobArchived{JobArchived: &divisipb.JobArchived{Request: js.req, Status: js.final, Events: events}},
	}
}

// over says that the job has ended and its end is complete.
func (js *jobState) over() bool { return js.job == nil || js.job.Over() }

// note adds a record to what is told of the job.
func (js *jobState) note(seq uint64, r *divisipb.JournalRecord) {
	js.events = append(js.events, eventOf(seq, r))
	if len(js.events) > eventsMax*5/4 {
		js.events = slices.Clone(js.events[len(js.events)-eventsMax:])
	}
	if l := r.GetTaskWon().GetPlacement().GetLevel(); l != "" {
		js.levels[l]++
	}
	if f := r.GetTaskFailed(); f != nil {
		js.failures = append(js.failures, failureNote{fromTaskID(f.GetFailure().GetId()), f.GetWorker(), f.GetFailure().GetLogTail()})
		if len(js.failures) > failuresMax*5/4 {
			js.failures = slices.Clone(js.failures[len(js.failures)-failuresMax:])
		}
	}
	js.dirty = true
}

// carry carries out what a job's machine asks for.
func (s *state) carry(js *jobState, now job.Instant, actions []job.Action) {
	for _, a := range actions {
		s.act(js, now, a)
	}
	js.dirty = true
}

func (s *state) act(js *jobState, now job.Instant, a job.Action) {
	switch a := a.(type) {
	case job.Journal:
		r := toRecord(js.id, a.Record)
		r.UnixNanos = int64(now) // as the machine knows it
		js.place(a.Record, r)
		seq := s.last
		if !unwritten(a.Record) {
			seq = s.append(r)
			if won := r.GetTaskWon(); won != nil {
				js.won[int(won.GetResult().GetId().GetStage())] = seq
			}
		}
		s.tally(js.id, a.Record)
		// The journal's goroutine reads r until it is durable; so does note.
		s.later(func() { js.note(seq, r) })
		if _, over := a.Record.(job.Cleaned); over {
			s.out(func() { s.over(js) })
		}
	case job.Want:
		t := sched.Task{
			ID: sched.ID{Job: js.id, Stage: a.Key.Stage, Index: a.Key.Index, Copy: a.Copy}, Spare: a.Copy > 0, Hosts: a.Hosts, Workers: a.Workers,
			Memory: a.Memory, Alone: a.Alone && !a.Key.Control(), Exclude: a.Exclude, NoSlot: a.Key.Control(),
		}
		if a.Delay > 0 {
			s.delayed = append(s.delayed, delayed{s.clock() + job.Instant(a.Delay), t})
			return
		}
		s.sched.Add(t)
	case job.Unwant:
		id := sched.ID{Job: js.id, Stage: a.Key.Stage, Index: a.Key.Index, Copy: a.Copy}
		s.sched.Remove(id)
		s.delayed = slices.DeleteFunc(s.delayed, func(d delayed) bool { return d.task.ID == id })
	case job.CancelAttempt:
		s.release(js, a.Attempt)
		s.tell(a.Worker, &divisipb.ToWorker{Body: &divisipb.ToWorker_CancelTask{CancelTask: &divisipb.CancelTask{Id: toTaskID(js.id, a.Attempt), Why: a.Why}}})
	case job.AskCut:
		s.tell(a.Worker, &divisipb.ToWorker{Body: &divisipb.ToWorker_CutTask{CutTask: &divisipb.CutTask{Id: toTaskID(js.id, a.Attempt), Keep: a.Keep}}})
	case job.Ack:
		s.later(s.telling(a.Worker, &divisipb.ToWorker{Body: &divisipb.ToWorker_Ack{Ack: &divisipb.Ack{Task: toTaskID(js.id, a.Attempt), Lost: a.Lost}}}))
	case job.Moved:
		s.out(func() { s.sendMoved(js, a.Exchange) })
	case job.Prepared:
		s.out(func() { s.sendPrepared(js, a.Sink) })
	case job.EndJob:
		s.endJob(js, a.HostsOnly)
	default:
		panic(fmt.Sprintf("coordinator: no such action: %T", a))
	}
}

// unwritten is false but for defects that the simulator is to find.
func unwritten(r job.Record) bool {
	switch r.(type) {
	case job.TaskWon:
		return mutant.On("winners are not journalled")
	case job.TaskSplit:
		return mutant.On("cuts are not journalled")
	}
	return false
}

// place adds to the record of a winner why it ran where it did.
func (js *jobState) place(rec job.Record, r *divisipb.JournalRecord) {
	switch rec := rec.(type) {
	case job.TaskWon:
		r.GetTaskWon().Placement = js.where[rec.Attempt]
		delete(js.where, rec.Attempt)
	case job.TaskFailed:
		delete(js.where, rec.Attempt)
	}
}

func (s *state) tally(id string, r job.Record) {
	switch r := r.(type) {
	case job.TaskWon:
		s.counts.won++
	case job.TaskFailed:
		s.counts.failures++
	case job.TaskSlow:
		if r.Copy {
			s.counts.copies++
		}
	case job.TaskSplit:
		s.counts.splits++
	case job.Ended:
		switch r.State {
		case job.Succeeded:
			s.counts.succeeded++
		case job.Failed:
			s.counts.failed++
		case job.Canceled:
			s.counts.canceled++
		}
	case job.SinkCleaned:
		if r.GaveUp != "" {
			s.log.Warn("an output could not be cleaned of what attempts left", "job", id, "sink", r.Sink, "why", r.GaveUp)
		}
	}
}

// release gives back what an attempt took in the scheduler's books.
func (s *state) release(js *jobState, a job.Attempt) {
	if id, ok := js.placed[a]; ok && !(a.Index == 1 && mutant.On("slots are not given back")) {
		delete(js.placed, a)
		s.sched.Done(id)
	}
}

// endJob tells every worker and waits for their answers.
func (s *state) endJob(js *jobState, hostsOnly bool) {
	js.ending = &ending{hostsOnly: hostsOnly, wait: map[string]bool{}}
	if js.ended == 0 {
		js.ended = s.clock()
	}
	for a, id := range js.placed {
		if a.Stage != job.StageClean || !hostsOnly {
			s.sched.Done(id)
			delete(js.placed, a)
		}
	}
	clear(js.where)
	e := js.ending
	for _, w := range s.members {
		e.wait[w.id] = true
	}
	s.out(func() {
		for _, w := range s.members {
			if e == js.ending && e.wait[w.id] {
				s.sendEnd(js, w)
			}
		}
		s.endedOn(js, "")
	})
}

// endedOn notes an answer, or the loss of a worker, and goes on when there are no more
// to wait for.
func (s *state) endedOn(js *jobState, worker string) {
	e := js.ending
	if e == nil {
		return
	}
	delete(e.wait, worker)
	if len(e.wait) > 0 && !(e.hostsOnly && mutant.On("the end of hosts is not waited for")) || s.holding {
		return
	}
	js.ending = nil
	s.step(js, job.Gone{HostsOnly: e.hostsOnly})
}

// over is the end of all that is done for a job.
func (s *state) over(js *jobState) {
	s.sched.RemoveJob(js.id)
	js.dirty = true
	kept, machines := 0, 0
	for _, o := range slices.Backward(s.order) {
		if !o.over() {
			continue
		}
		if o.job != nil {
			if machines++; machines > machinesMax {
				o.close()
			}
		}
		if kept++; kept > endedJobsMax && len(o.watchers) == 0 {
			s.forget(o)
		}
	}
}

func (s *state) forget(js *jobState) {
	delete(s.jobs, js.id)
	if k := submitKey(js.req); s.keys[k] == js.id {
		delete(s.keys, k)
	}
	s.order = slices.DeleteFunc(s.order, func(o *jobState) bool { return o == js })
}

// find a job by its id or an unambiguous beginning of it.
func (s *state) find(id string) (*jobState, error) {
	if js := s.jobs[id]; js != nil {
		return js, nil
	}
	var found []string
	if id != "" {
		for _, js := range s.order {
			if strings.HasPrefix(js.id, id) {
				found = append(found, js.id)
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no job %q", id)
	case 1:
		return s.jobs[found[0]], nil
	}
	return nil, fmt.Errorf("%q is the beginning of %d jobs: %s", id, len(found), strings.Join(found[:min(len(found), 5)], ", "))
}

// closeOnce is for channels that only the state's goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// tellWatchers wakes those who follow a job that has changed.
func (s *state) tellWatchers() {
	for _, js := range s.order {
		if !js.dirty {
			continue
		}
		js.dirty = false
		if js.over() || js.job.Settled() {
			closeOnce(js.settled)
		}
		if js.over() {
			closeOnce(js.gone)
		}
		for c := range js.watchers {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}
