package coordinator

import (
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

const (
	kindUnknown    = dataflow.Unknown
	kindUser       = dataflow.User
	kindTransient  = dataflow.Transient
	kindWorkerLost = dataflow.WorkerLost
	kindCorrupt    = dataflow.Corrupt
	kindCanceled   = dataflow.Canceled
	kindDiskFull   = dataflow.DiskFull
)

// tell sends a message to a worker once the journal has all it follows from; not if
// that incarnation has gone or has no stream: it is told when it comes back.
func (s *state) tell(who job.Worker, m *divisipb.ToWorker) { s.out(s.telling(who, m)) }

func (s *state) telling(who job.Worker, m *divisipb.ToWorker) func() {
	return func() {
		if w := s.workers[who.ID]; w != nil && w.who() == who && w.session != nil {
			w.session.send(m)
		}
	}
}

// assign launches what the scheduler finds places for.
func (s *state) assign() {
	if s.holding || s.broken != nil {
		return
	}
	launched := s.sched.Assign(sched.Instant(s.clock()))
	for _, a := range launched {
		js, w := s.jobs[a.Task.Job], s.workers[a.Worker]
		at := job.Attempt{Key: job.Key{Stage: a.Task.Stage, Index: a.Task.Index}, Number: js.job.NextAttempt()}
		s.counts.attempts++
		s.counts.levels[a.Level]++
		js.placed[at] = a.Task
		if !at.Control() {
			js.where[at] = placement(a, js.job.Task(at.Key))
		}
		s.step(js, job.Launched{Attempt: at, Worker: w.who(), Copy: a.Task.Copy, Double: s.c.cfg.CopyAll})
		launch := func() { s.launch(js, w, at) }
		if at.Control() {
			s.out(launch)
		} else {
			s.outAhead(js.winsRead(at.Stage), launch)
		}
	}
	if s.c.cfg.CopyAll && len(launched) > 0 {
		s.assign() // the copies
	}
}

// winsRead is the last record of a win of those whose outputs a stage's tasks read, 0: there
// is none since the start. What others have made is durable before it is read; that other
// tasks of the reading stage have ended need not be before the next begins.
func (js *jobState) winsRead(stage int) uint64 {
	last, p := uint64(0), js.job.Plan()
	for _, in := range p.Stages[stage].Inputs {
		if in.Mode == plan.BySplit {
			continue
		}
		for _, from := range p.Exchanges[in.Exchange].Producers {
			last = max(last, js.won[from])
		}
	}
	return last
}

// launch sends an attempt to its worker, and before it what it has to know.
func (s *state) launch(js *jobState, w *workerState, a job.Attempt) {
	if w.session == nil || js.job == nil || s.workers[w.id] != w {
		return // it is found missing when the worker comes back, or lost with it
	}
	if !js.job.Runs(a) && !mutant.On("a waiting launch outlives its job") {
		return // it was cancelled, or its job has ended, while this waited for the journal
	}
	t := s.introduce(js, w)
	what := js.job.Task(a.Key)
	spec := &divisipb.TaskSpec{
		Id: toTaskID(js.id, a), Kind: kindOf(a.Key), MemoryBytes: what.Memory, Part: int32(what.Part),
		PartitionLo: int32(what.Lo), PartitionHi: int32(what.Hi), ForwardStage: int32(what.ForwardStage), ForwardIndex: int32(what.ForwardIndex),
		Share: int32(what.Share), ShareOf: int32(what.Of),
	}
	if what.Split != nil {
		spec.Split = toSplit(*what.Split)
	}
	if a.Control() {
		spec.Target = int32(a.Index)
	}
	switch a.Stage {
	case job.StageSplits:
		spec.Slots = int32(s.sched.Slots())
	case job.StagePublish:
		spec.Receipts = js.job.Receipts(a.Index)
	}
	if len(what.Versions) > 0 {
		spec.ExchangeVersions = make(map[int32]int64, len(what.Versions))
	}
	for x := range len(js.job.Plan().Exchanges) {
		if _, reads := what.Versions[x]; reads {
			spec.ExchangeVersions[int32(x)] = s.locate(js, w, t, x)
		}
	}
	for _, page := range spec.Pages(receiptBytesMax) {
		w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_Launch{Launch: &divisipb.Launch{Task: page}}})
	}
}

// introduce tells a worker of a job it does not know yet.
func (s *state) introduce(js *jobState, w *workerState) *told {
	t := w.told[js.id]
	if t == nil {
		t = &told{versions: map[int]int64{}}
		w.told[js.id] = t
	}
	if !t.spec {
		t.spec = true
		spec := clone(js.req.GetJob())
		spec.Prepared = map[int32][]byte{}
		for i, p := range js.job.PreparedSinks() {
			spec.Prepared[int32(i)] = p
		}
		if s.c.secrets != nil {
			s.c.secrets.reveal(spec.Env)
		}
		w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_Job{Job: spec}})
	}
	return t
}

// locate tells a worker what it does not know yet of where an exchange's blocks lie.
func (s *state) locate(js *jobState, w *workerState, t *told, exchange int) int64 {
	blocks, reset, version := js.job.Locations(exchange, t.versions[exchange])
	if t.versions[exchange] == version || mutant.On("locations are told once") && t.versions[exchange] > 0 {
		return version
	}
	t.versions[exchange] = version
	at := version - int64(len(blocks))
	for first := true; first || len(blocks) > 0; first = false {
		n := min(len(blocks), blocksPerChunk)
		at += int64(n)
		m := &divisipb.Locations{Job: js.id, Exchange: int32(exchange), Version: at, Reset_: reset && first}
		if reset && n < len(blocks) {
			m.Version = 0 // who waits for a version of before must not take a part for all
		}
		for _, b := range blocks[:n] {
			l := &divisipb.BlockLocation{Task: toTaskID(js.id, b.Attempt), Worker: b.Worker.ID, Incarnation: b.Worker.Incarnation, Address: b.Address}
			if o := s.workers[b.Worker.ID]; o != nil && o.who() == b.Worker {
				l.Machine, l.DataDir = o.reg.GetMachine(), o.reg.GetDataDir()
			}
			m.Blocks = append(m.Blocks, l)
		}
		blocks = blocks[n:]
		w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_Locations{Locations: m}})
	}
	return version
}

// sendMoved tells workers with readers of an exchange what has changed.
func (s *state) sendMoved(js *jobState, exchange int) {
	if js.job == nil {
		return
	}
	for _, w := range s.members {
		if t := w.told[js.id]; t != nil && w.session != nil && t.versions[exchange] > 0 {
			s.locate(js, w, t, exchange)
		}
	}
}

func (s *state) sendPrepared(js *jobState, sink int) {
	if js.job == nil {
		return
	}
	said := js.job.PreparedSinks()[sink]
	for _, w := range s.members {
		if t := w.told[js.id]; t != nil && t.spec && w.session != nil && !mutant.On("what a sink prepared is not told") {
			w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_JobUpdate{JobUpdate: &divisipb.JobUpdate{Job: js.id, Prepared: map[int32][]byte{int32(sink): said}}}})
		}
	}
}

// sendEnd asks a worker to end a job, or its hosts.
func (s *state) sendEnd(js *jobState, w *workerState) {
	if w.session == nil || !w.session.begun {
		return // it is told when it comes back, after its welcome
	}
	if !js.ending.hostsOnly {
		delete(w.told, js.id)
	}
	w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_EndJob{EndJob: &divisipb.EndJob{Job: js.id, HostsOnly: js.ending.hostsOnly}}})
}

// quietAfter is how long a worker may say nothing before it gets no new tasks and what runs
// there gets copies elsewhere, in halves of a heartbeat: two are missed and a half. It may be
// stopped, and its lease is much longer.
const quietAfter = 5

// tick does what is due.
func (s *state) tick() {
	now := s.clock()
	due := false
	for _, d := range s.delayed {
		if d.at <= now {
			s.sched.Add(d.task)
			due = true
		}
	}
	if due {
		s.delayed = slices.DeleteFunc(s.delayed, func(d delayed) bool { return d.at <= now })
	}
	for _, w := range slices.Clone(s.members) {
		switch {
		case w.session == nil && now-w.detached > job.Instant(s.c.cfg.Reattach):
			s.lose(w, "its stream broke and it did not come back")
		case w.session != nil && now-w.seen > job.Instant(s.c.cfg.Lease) && !mutant.On("silence is no loss"):
			s.lose(w, "it was silent for longer than its lease of "+s.c.cfg.Lease.String())
		case w.session != nil && !w.quiet && now-w.seen > quietAfter*job.Instant(s.c.cfg.Heartbeat)/2 && s.replaceable(w),
			w.quiet && !s.replaceable(w):
			w.quiet = !w.quiet
			s.schedule(w)
		case w.excluded && (w.scoreAt(now) < exclusionScore/2 || !s.replaceable(w)):
			w.excluded = false
			s.schedule(w)
		}
		if w.leaving != nil && w.session != nil && now-w.checked >= job.Instant(s.c.cfg.Heartbeat) {
			w.checked = now
			s.leave(w, now)
		}
	}
	s.observe(now)
	s.hold(now)
	s.abandon(now)
}

// slept forgives the time in which this process itself did not run: what workers said
// meanwhile has not been read yet, and nobody's lease may end by it.
func (s *state) slept(now job.Instant) {
	gap := now - s.ticked
	first := s.ticked == 0
	s.ticked = now
	if first || gap <= max(job.Instant(s.c.cfg.Heartbeat), 5*job.Instant(tickEvery)) {
		return
	}
	s.log.Warn("this process did not run for a while", "for", time.Duration(gap).Round(time.Millisecond))
	for _, w := range s.members {
		w.seen = min(now, w.seen+gap)
		w.detached = min(now, w.detached+gap)
	}
	s.hopeful += gap
}

// hold ends the wait for workers after a restart.
func (s *state) hold(now job.Instant) {
	if !s.holding && len(s.expected) == 0 {
		return
	}
	if len(s.expected) > 0 {
		if now < s.hopeful {
			return
		}
		for len(s.expected) > 0 {
			s.giveUp(s.firstExpected(), "it did not come back after the coordinator's restart")
		}
	}
	if s.holding {
		s.holding = false
		for _, js := range slices.Clone(s.order) {
			if js.ending != nil {
				s.endedOn(js, "")
			}
		}
	}
}

// expectedOf lists the incarnations of a worker that are waited for, in order.
func (s *state) expectedOf(id string) []job.Worker {
	var all []job.Worker
	for w := range s.expected {
		if w.ID == id {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b job.Worker) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return all
}

func (s *state) firstExpected() job.Worker {
	var first job.Worker
	for w := range s.expected {
		if first.ID == "" || w.ID < first.ID || w.ID == first.ID && w.Incarnation < first.Incarnation {
			first = w
		}
	}
	return first
}

// abandon gives up cleaning up after jobs when there is no worker to do it on.
func (s *state) abandon(now job.Instant) {
	if len(s.members) > 0 || s.holding {
		return
	}
	for _, js := range slices.Clone(s.order) {
		if js.ended > 0 && !js.over() && now-js.ended > job.Instant(s.c.cfg.CleanWait) {
			s.step(js, job.Abandon{Why: "no worker was there to clean up on for " + s.c.cfg.CleanWait.String()})
		}
	}
}

// nextTick is how long nothing is due.
func (s *state) nextTick() time.Duration {
	now := s.clock()
	d := tickEvery
	if w := job.Instant(s.sched.NextWake()); w > 0 {
		d = min(d, time.Duration(w-now))
	}
	for _, l := range s.delayed {
		d = min(d, time.Duration(l.at-now))
	}
	return max(d, time.Millisecond)
}
