package coordinator

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/internal/version"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// workerState is the loop's side of one incarnation of a worker.
type workerState struct {
	id       string
	reg      *divisipb.Register
	session  *session // nil while its stream is broken
	seen     job.Instant
	detached job.Instant // since when it has no stream
	draining bool
	grace    int64 // of the drain, milliseconds
	quiet    bool  // it has said nothing for a while
	beat     *divisipb.Heartbeat
	progress map[taskKey]*divisipb.TaskProgress
	told     map[string]*told // by job
	partial  map[taskKey]*divisipb.TaskResult

	done, failed int64
	score        float64 // of failures, decaying
	scored       job.Instant
	excluded     bool
	checked      job.Instant
	leaving      *leaving // since it said that it is drained
}

type taskKey struct {
	job string
	job.Attempt
}

// told is what a worker knows of a job.
type told struct {
	spec     bool
	versions map[int]int64 // of exchanges
}

func (w *workerState) who() job.Worker {
	return job.Worker{ID: w.id, Incarnation: w.reg.GetIncarnation()}
}

// session is the sending half of a worker's stream. What is queued is sent in order by
// the stream's own goroutine.
type session struct {
	mu     sync.Mutex
	queue  []*divisipb.ToWorker
	bytes  int
	wake   chan struct{}
	done   chan struct{} // closed when the session is over
	reason error
	epoch  uint64
	worker *workerState // the loop's
	begun  bool         // Welcome was sent, which is the first; the loop's
}

// sessionBytesMax is how much may be queued for a worker that does not read.
const sessionBytesMax = 256 << 20

func newSession(epoch uint64) *session {
	return &session{wake: make(chan struct{}, 1), done: make(chan struct{}), epoch: epoch}
}

func (s *session) send(m *divisipb.ToWorker) {
	m.Epoch = s.epoch
	s.mu.Lock()
	if s.reason == nil {
		s.queue = append(s.queue, m)
		s.bytes += proto.Size(m)
	}
	tooMuch := s.bytes > sessionBytesMax
	s.mu.Unlock()
	if tooMuch {
		s.end(status.Error(codes.ResourceExhausted, "the worker does not read what it is sent"))
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) take() []*divisipb.ToWorker {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queue
	s.queue, s.bytes = nil, 0
	return q
}

// end closes the session. The first reason is the worker's.
func (s *session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == nil {
		s.reason = reason
		close(s.done)
	}
}

// register takes in a worker that comes, or comes back.
func (s *state) register(r *divisipb.Register, ses *session) error {
	if r.GetProtocol() != version.Protocol {
		return status.Errorf(codes.FailedPrecondition, "worker %s speaks protocol %d (%s), this coordinator %d (%s): use the same release on both", r.GetWorker(), r.GetProtocol(), r.GetVersion(), version.Protocol, version.String())
	}
	if r.GetWorker() == "" || r.GetIncarnation() == "" || r.GetSlots() <= 0 {
		return status.Errorf(codes.InvalidArgument, "a worker needs an id, an incarnation and slots: %q, %q, %d", r.GetWorker(), r.GetIncarnation(), r.GetSlots())
	}
	who := job.Worker{ID: r.GetWorker(), Incarnation: r.GetIncarnation()}
	if s.departed[who] && !mutant.On("given up incarnations are welcome") {
		return status.Errorf(codes.Aborted, "incarnation %s of worker %s was given up and its tasks moved: start a new one", who.Incarnation, who.ID)
	}
	w := s.workers[who.ID]
	anew := w != nil && w.who() != who && !mutant.On("incarnations are ignored")
	if (w == nil || anew) && s.expected[who] == nil {
		s.append(&divisipb.JournalRecord{Body: &divisipb.JournalRecord_WorkerJoined{WorkerJoined: &divisipb.WorkerJoined{
			Worker: who.ID, Incarnation: who.Incarnation, Host: r.GetHost(), Rack: r.GetRack(), Address: r.GetExchangeAddress(), Slots: r.GetSlots(),
		}}})
	}
	if anew {
		if !mutant.On("what a worker left is inherited too late") {
			s.inherit(who, w.who(), r)
		}
		s.lose(w, "it was started anew")
		w = nil
	}
	if w == nil {
		w = &workerState{id: who.ID, scored: s.clock()}
		s.workers[who.ID] = w
		i, _ := slices.BinarySearchFunc(s.members, who.ID, func(o *workerState, id string) int { return strings.Compare(o.id, id) })
		s.members = slices.Insert(s.members, i, w)
		delete(s.expected, who)
		s.log.Info("worker joined", "worker", who.ID, "incarnation", who.Incarnation, "slots", r.GetSlots(), "exchange", r.GetExchangeAddress())
	} else if w.session != nil {
		w.session.end(status.Error(codes.Aborted, "another stream of the same worker took over"))
	}
	w.reg, w.session, w.seen, w.quiet, ses.worker = r, ses, s.clock(), false, w
	w.draining = w.draining || r.GetDraining()
	w.told, w.partial, w.progress = map[string]*told{}, map[taskKey]*divisipb.TaskResult{}, map[taskKey]*divisipb.TaskProgress{}
	s.schedule(w)
	for _, js := range slices.Clone(s.order) {
		if !js.over() {
			s.step(js, job.Slots{Slots: s.slots()})
		}
	}
	// From now on, not only once it is welcomed: a job may go on before that.
	for _, js := range s.order {
		if js.ending != nil && !js.over() {
			js.ending.wait[w.id] = true
		}
	}
	jobs := jobsOf(r)
	s.out(func() { s.welcome(w, ses, jobs) })
	s.reconcile(w)
	r.Running, r.Held, r.UnackedResults, r.UnackedFailures = nil, nil, nil, nil // may be very much
	// A worker of the same name that was there before the restart is not this one.
	for _, e := range s.expectedOf(who.ID) {
		if mutant.On("incarnations are ignored") {
			break
		}
		s.giveUp(e, "it was started anew")
	}
	return nil
}

// jobsOf lists the jobs of which a worker has anything, in order.
func jobsOf(r *divisipb.Register) []string {
	named := map[string]bool{}
	for _, h := range r.GetHeld() {
		named[h.GetJob()] = true
	}
	for _, t := range r.GetRunning() {
		named[t.GetJob()] = true
	}
	return slices.Sorted(maps.Keys(named))
}

// welcome is the first message; with it the worker learns what it may drop of jobs.
func (s *state) welcome(w *workerState, ses *session, jobs []string) {
	msg := &divisipb.Welcome{
		Cluster: s.cluster, Worker: w.id,
		HeartbeatMillis: s.c.cfg.Heartbeat.Milliseconds(), LeaseMillis: s.c.cfg.Lease.Milliseconds(),
	}
	for _, id := range jobs {
		if js := s.jobs[id]; js == nil || js.over() {
			msg.ForgetJobs = append(msg.ForgetJobs, id)
		}
	}
	ses.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_Welcome{Welcome: msg}})
	ses.begun = true
	for _, js := range s.order {
		if js.ending != nil && !js.over() {
			s.sendEnd(js, w)
		}
	}
	if w.draining && !w.reg.GetDraining() { // its stream broke before it was told
		ses.send(w.drainMessage())
	}
}

// reconcile compares what a worker says it runs and holds with what is believed of it.
func (s *state) reconcile(w *workerState) {
	who := w.who()
	// First what it holds: a failure for want of an output that is here is none to act on.
	held, runs := map[taskKey]bool{}, map[taskKey]bool{}
	for _, h := range w.reg.GetHeld() {
		for _, t := range h.GetTasks() {
			held[taskKey{h.GetJob(), fromTaskID(t)}] = true
			s.found(w, s.jobs[h.GetJob()], t)
		}
	}
	for _, t := range w.reg.GetRunning() {
		js := s.jobs[t.GetJob()]
		if js == nil || js.over() {
			continue
		}
		a := fromTaskID(t)
		s.step(js, job.Adopted{Attempt: a, Worker: who})
		// One that was launched before the stream broke has its place, a copy under another name.
		if _, counted := js.placed[a]; js.job.Active()[a] == who && (!counted || mutant.On("a copy that is met again is counted twice")) {
			id := sched.ID{Job: js.id, Stage: a.Stage, Index: a.Index}
			js.placed[a] = id
			s.sched.Place(id, w.id, a.Control())
		}
	}
	for _, r := range w.reg.GetUnackedResults() {
		s.result(w, r)
	}
	for _, f := range w.reg.GetUnackedFailures() {
		s.failure(w, f)
	}
	for _, r := range w.reg.GetUnackedResults() {
		k := taskKey{r.GetId().GetJob(), fromTaskID(r.GetId())}
		held[k], runs[k] = true, true // it may be but the first part of a result
	}
	for _, t := range w.reg.GetRunning() {
		runs[taskKey{t.GetJob(), fromTaskID(t)}] = true
	}
	for _, js := range slices.Clone(s.order) {
		if js.over() {
			continue
		}
		var lost []job.Attempt
		for _, a := range js.job.Held()[who] {
			if !held[taskKey{js.id, a}] {
				lost = append(lost, a)
			}
		}
		if len(lost) > 0 {
			s.step(js, job.OutputsLost{Attempts: lost, Why: fmt.Sprintf("worker %s came back without it", w.id)})
		}
		for _, a := range js.job.ActiveOn(who) {
			if !runs[taskKey{js.id, a}] && !mutant.On("launches that never came are not missed") {
				s.release(js, a)
				s.step(js, job.Failure{Attempt: a, Worker: who, Kind: kindWorkerLost, Message: fmt.Sprintf("worker %s came back without it", w.id)})
			}
		}
	}
}

// schedule tells the scheduler of a worker as it is now.
func (s *state) schedule(w *workerState) {
	s.sched.SetWorker(sched.Worker{
		ID: w.id, Host: w.reg.GetHost(), Rack: w.reg.GetRack(), Slots: int(w.reg.GetSlots()), Memory: w.reg.GetMemoryBytes(),
		Closed: w.draining || w.excluded || w.quiet || w.session == nil, Full: w.beat.GetDiskLow() != "",
	})
}

// lose is the one way in which a worker is lost, whatever the cause.
func (s *state) lose(w *workerState, why string) {
	s.log.Warn("worker lost", "worker", w.id, "incarnation", w.reg.GetIncarnation(), "why", why)
	s.counts.lostWorkers++
	if w.session != nil {
		w.session.end(status.Errorf(codes.Aborted, "worker %s was given up: %s", w.id, why))
		w.session = nil
	}
	delete(s.workers, w.id)
	s.members = slices.DeleteFunc(s.members, func(o *workerState) bool { return o == w })
	s.sched.RemoveWorker(w.id)
	s.giveUp(w.who(), why)
}

// giveUp journals that an incarnation will not come back, and tells the jobs.
func (s *state) giveUp(who job.Worker, why string) {
	delete(s.expected, who)
	rec := &divisipb.JournalRecord{Body: &divisipb.JournalRecord_WorkerLeft{WorkerLeft: &divisipb.WorkerLeft{Worker: who.ID, Incarnation: who.Incarnation, Why: why}}}
	kept := clone(rec) // rec is the journal's once it is queued
	if mutant.On("given up incarnations are not journalled") {
		s.departed[who] = true
	} else {
		s.depart(who, s.append(rec), kept)
	}
	for _, js := range slices.Clone(s.order) {
		if js.over() {
			continue
		}
		for _, a := range js.job.ActiveOn(who) {
			s.release(js, a)
		}
		if !mutant.On("jobs do not hear of lost workers") {
			s.step(js, job.WorkerLost{Worker: who, Why: why})
		}
		s.endedOn(js, who.ID)
	}
}

// depart remembers that an incarnation may not come back.
func (s *state) depart(who job.Worker, seq uint64, rec *divisipb.JournalRecord) {
	s.departed[who] = true
	s.departedOrder = append(s.departedOrder, departure{who, seq, rec})
	if len(s.departedOrder) > departedMax {
		delete(s.departed, s.departedOrder[0].worker)
		s.departedOrder = slices.Delete(s.departedOrder, 0, 1)
	}
}

// detach notes that a worker's stream has ended; it has a moment to come back.
func (s *state) detach(ses *session) {
	if w := ses.worker; w != nil && w.session == ses {
		w.session, w.detached = nil, s.clock()
		s.schedule(w)
	}
}

func (s *state) detachAll() {
	for _, w := range s.members {
		if w.session != nil {
			w.session.end(status.Error(codes.Unavailable, errStopping.Error()))
		}
	}
}

var errStaleEpoch = errors.New("stale epoch")

// message takes in what a worker says.
func (s *state) message(ses *session, m *divisipb.FromWorker) error {
	w := ses.worker
	if w == nil || w.session != ses {
		return status.Error(codes.Aborted, "this stream is not the worker's any more")
	}
	if m.GetEpoch() != s.epoch {
		return status.Errorf(codes.Aborted, "%v: worker %s speaks to epoch %d, this is %d", errStaleEpoch, w.id, m.GetEpoch(), s.epoch)
	}
	w.seen = s.clock()
	if w.quiet {
		w.quiet = false
		s.schedule(w)
	}
	switch b := m.GetBody().(type) {
	case *divisipb.FromWorker_Heartbeat:
		s.heartbeat(w, b.Heartbeat)
	case *divisipb.FromWorker_Result:
		s.result(w, b.Result)
	case *divisipb.FromWorker_Failure:
		s.failure(w, b.Failure)
	case *divisipb.FromWorker_TaskCut:
		if js := s.jobs[b.TaskCut.GetId().GetJob()]; js != nil && !js.over() {
			s.step(js, job.Answered{Attempt: fromTaskID(b.TaskCut.GetId()), Worker: w.who(), Cut: fromCut(b.TaskCut.GetCut())})
		}
	case *divisipb.FromWorker_JobGone:
		js := s.jobs[b.JobGone.GetJob()]
		if js != nil && js.ending != nil && (js.ending.hostsOnly || !b.JobGone.GetHostsOnly()) {
			s.endedOn(js, w.id)
		}
	case *divisipb.FromWorker_Drained:
		s.leave(w, s.clock())
	case *divisipb.FromWorker_BlocksAdopted:
		s.adopted(w, b.BlocksAdopted)
	case *divisipb.FromWorker_BlocksLost:
		lost := map[string][]job.Attempt{}
		for _, t := range b.BlocksLost.GetTasks() {
			lost[t.GetJob()] = append(lost[t.GetJob()], fromTaskID(t))
		}
		for _, js := range slices.Clone(s.order) {
			if a := lost[js.id]; a != nil {
				s.step(js, job.OutputsLost{Attempts: a, Why: fmt.Sprintf("worker %s has lost it", w.id)})
			}
		}
	default:
		return status.Errorf(codes.InvalidArgument, "worker %s sent a %T", w.id, b)
	}
	return nil
}

func (s *state) heartbeat(w *workerState, h *divisipb.Heartbeat) {
	low, draining := w.beat.GetDiskLow(), w.draining
	w.beat = h
	w.draining = w.draining || h.GetDraining()
	if low != h.GetDiskLow() {
		s.log.Warn("a worker's disks", "worker", w.id, "low", h.GetDiskLow())
	}
	if low != h.GetDiskLow() || draining != w.draining {
		s.schedule(w)
	}
	for _, id := range h.GetJobs() {
		if js := s.jobs[id]; (js == nil || js.over()) && w.session != nil {
			w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_EndJob{EndJob: &divisipb.EndJob{Job: id}}})
		}
	}
	clear(w.progress)
	for _, t := range h.GetTasks() {
		w.progress[taskKey{t.GetId().GetJob(), fromTaskID(t.GetId())}] = t
		if js := s.jobs[t.GetId().GetJob()]; js != nil {
			js.dirty = true
		}
	}
	if w.session != nil {
		w.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_Ack{Ack: &divisipb.Ack{Heartbeat: h.GetSequence()}}})
	}
}

// result takes in a result, whose parts may come in several messages.
func (s *state) result(w *workerState, r *divisipb.TaskResult) {
	key := taskKey{r.GetId().GetJob(), fromTaskID(r.GetId())}
	if p := w.partial[key]; p != nil && !mutant.On("only the last part of a result counts") {
		r.Splits = append(p.Splits, r.Splits...)
		delete(w.partial, key)
	}
	if len(r.Splits) > splitsMax {
		s.failure(w, &divisipb.TaskFailure{Id: r.GetId(), TaskKind: r.GetKind(), ErrorKind: int32(kindUser), Message: fmt.Sprintf("the source has more than %d splits: make them larger", splitsMax)})
		return
	}
	if r.GetMore() {
		w.partial[key] = r
		return
	}
	js := s.jobs[key.job]
	if js == nil || js.over() {
		s.dismiss(w, r.GetId())
		return
	}
	w.done++
	s.release(js, key.Attempt)
	s.step(js, job.Done{Attempt: key.Attempt, Worker: w.who(), Address: w.reg.GetExchangeAddress(), Result: fromResult(r)})
}

func (s *state) failure(w *workerState, f *divisipb.TaskFailure) {
	js := s.jobs[f.GetId().GetJob()]
	if js == nil || js.over() {
		s.dismiss(w, f.GetId())
		return
	}
	if f.GetCorrupt() {
		s.counts.corrupt++
		s.log.Warn("shuffle blocks are damaged", "job", js.id, "reader", fromTaskID(f.GetId()), "what", f.GetMessage())
	}
	e := fromFailure(f)
	e.Worker = w.who()
	if !f.GetCorrupt() {
		s.patient(js, &e)
	}
	if slots := int64(w.reg.GetSlots()); slots > 0 {
		e.Memory = w.reg.GetMemoryBytes() / slots
	}
	delete(w.partial, taskKey{js.id, e.Attempt})
	if e.Kind != kindCanceled {
		w.failed++
	}
	s.blame(w, e)
	s.release(js, e.Attempt)
	s.step(js, e)
}

// patient leaves out of a failure what lies on a worker whose stream has just broken: it
// may come back in a moment with all that it has, and if not, it is lost with the worker.
func (s *state) patient(js *jobState, e *job.Failure) {
	var lost []job.Attempt
	var at []string
	for i, a := range e.Lost {
		if won := js.job.Winner(a.Key); won != nil && won.Attempt == a && i < len(e.LostAt) {
			if o := s.workers[won.Worker.ID]; o != nil && o.who() == won.Worker && o.session == nil {
				continue
			}
		}
		lost = append(lost, a)
		if i < len(e.LostAt) {
			at = append(at, e.LostAt[i])
		}
	}
	e.Lost, e.LostAt = lost, at
}

// dismiss acknowledges what no job waits for.
func (s *state) dismiss(w *workerState, t *divisipb.TaskID) {
	s.tell(w.who(), &divisipb.ToWorker{Body: &divisipb.ToWorker_Ack{Ack: &divisipb.Ack{Task: t, Lost: true}}})
}

// blame excludes a worker on which much fails that may be its fault, while there are
// others; the memory of it halves every minute.
func (s *state) blame(w *workerState, e job.Failure) {
	switch e.Kind {
	case kindTransient, kindUnknown, kindDiskFull, kindCorrupt:
	default:
		return
	}
	now := s.clock()
	w.score = w.scoreAt(now) + 1
	w.scored = now
	if w.score >= exclusionScore && !w.excluded && s.replaceable(w) {
		s.log.Warn("worker excluded for a while: much fails on it", "worker", w.id, "last", e.Message)
		w.excluded = true
		s.schedule(w)
	}
}

// replaceable says whether another worker takes tasks.
func (s *state) replaceable(w *workerState) bool {
	return slices.ContainsFunc(s.members, func(o *workerState) bool {
		return o != w && o.session != nil && !o.draining && !o.excluded && !o.quiet
	})
}

func (w *workerState) scoreAt(now job.Instant) float64 {
	return w.score * math.Exp2(-float64(now-w.scored)/float64(exclusionDecay))
}
