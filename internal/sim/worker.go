package sim

import (
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A worker is a model of the daemon: what it keeps and tells, without processes and
// files. It follows worker/session.go, tasks.go and jobs.go.
type worker struct {
	w       *world
	id      string
	inc     string
	slots   int
	up      bool
	paused  bool
	life    int   // counts processes
	drift   int64 // by how many thousandths its clock is too fast
	backlog []func()
	wait    int64 // until the next try to reach the coordinator

	conn     *conn // nil: none
	welcomed bool
	heard    int64
	epoch    uint64 // the highest it was welcomed with

	jobs  map[string]*wjob
	disk  map[string]*wjob // what the process before left
	tasks []*wtask
	queue []*wtask
	busy  int
	drain bool

	cutUp, cutDown bool             // messages to, from the coordinator do not come through
	apart          map[*worker]bool // blocks of these cannot be had
}

type wjob struct {
	id       string
	def      *jobDef
	host     *whost
	prepared map[int32]string
	told     map[int32]*locations
	outputs  []*block
}

type locations struct {
	version int64
	blocks  map[[2]int32]location // by producing stage and index: the latest winner's
}

type location struct {
	task    attempt
	worker  string
	address string // an incarnation has one of its own
}

// A block is the output of an attempt, by partition.
type block struct {
	of      attempt
	parts   [][]uint64
	corrupt bool
}

// attempt names one, cluster-wide.
type attempt struct {
	job                  string
	stage, index, number int32
}

func attemptOf(t *divisipb.TaskID) attempt {
	return attempt{t.GetJob(), t.GetStage(), t.GetIndex(), t.GetAttempt()}
}

func (a attempt) id() *divisipb.TaskID {
	return &divisipb.TaskID{Job: a.job, Stage: a.stage, Index: a.index, Attempt: a.number}
}

func (a attempt) String() string {
	return fmt.Sprintf("%s/%d/%d.%d", a.job, a.stage, a.index, a.number)
}

type wtask struct {
	id       attempt
	spec     *divisipb.TaskSpec
	job      *wjob
	host     *whost
	slot     bool
	canceled string
	reads    span          // of a source
	read     bool          // it has
	cut      *divisipb.Cut // what it gave away before
	results  []*divisipb.TaskResult
	failure  *divisipb.TaskFailure
}

func (t *wtask) control() bool { return t.id.stage < 0 }

// post gives the process something to do, now or when it runs again.
func (k *worker) post(life int, f func()) {
	switch {
	case !k.up || k.life != life:
	case k.paused:
		k.backlog = append(k.backlog, func() { k.post(life, f) })
	default:
		f()
	}
}

// clock is the worker's own.
func (k *worker) clock() int64 { return drifted(k.w.now, k.drift) }

// after is post after some time.
func (k *worker) after(d int64, f func()) {
	life := k.life
	k.w.after(undrifted(d, k.drift), func() { k.post(life, f) })
}

// start begins a process, under a new incarnation, with the outputs that the one before
// left in its folder.
func (k *worker) start() {
	if k.up {
		return
	}
	k.life++
	k.up, k.paused, k.backlog = true, false, nil
	k.inc = k.id + "#" + k.w.name(3)
	k.w.say("%s: starts as %s", k.id, k.inc)
	k.conn, k.welcomed, k.epoch, k.wait, k.drain = nil, false, 0, 50*ms, false
	k.jobs, k.tasks, k.queue, k.busy = map[string]*wjob{}, nil, nil, 0
	for _, j := range k.disk {
		k.keep(j)
	}
	k.disk = nil
	k.dial()
}

// keep makes a job of another's outputs, if it has any.
func (k *worker) keep(j *wjob) {
	if len(j.outputs) > 0 {
		k.jobs[j.id] = &wjob{id: j.id, def: j.def, outputs: j.outputs, prepared: map[int32]string{}, told: map[int32]*locations{}}
	}
}

// crash ends the process and with it its hosts.
func (k *worker) crash(powerLoss bool) {
	if !k.up {
		return
	}
	k.w.say("%s: dies", k.id)
	k.up = false
	if k.conn != nil {
		k.conn.closeAtWorker(!powerLoss)
		k.conn = nil
	}
	for _, j := range k.jobs {
		if j.host != nil {
			j.host.dead = true
		}
	}
	if k.disk = k.jobs; powerLoss { // what is on disk then may be anything
		k.disk = nil
	}
}

func (k *worker) pause() { k.paused = true; k.w.say("%s: pauses", k.id) }

func (k *worker) resume() {
	if !k.paused {
		return
	}
	k.w.say("%s: goes on", k.id)
	k.paused = false
	b := k.backlog
	k.backlog = nil
	for _, f := range b {
		f()
	}
}

// jobsInOrder are the jobs in an order that a replay repeats.
func (k *worker) jobsInOrder() []*wjob {
	var all []*wjob
	for _, cl := range k.w.clients {
		for _, id := range cl.def.ids {
			if j := k.jobs[id]; j != nil {
				all = append(all, j)
			}
		}
	}
	return all
}

func (k *worker) task(a attempt) *wtask {
	for _, t := range k.tasks {
		if t.id == a {
			return t
		}
	}
	return nil
}

func (k *worker) launch(spec *divisipb.TaskSpec) {
	a := attemptOf(spec.Id)
	if k.task(a) != nil {
		return
	}
	t := &wtask{id: a, spec: spec, job: k.jobs[a.job], reads: spanOf(spec.Split)}
	k.tasks = append(k.tasks, t)
	k.w.check.launches(k, t)
	switch {
	case t.job == nil:
		k.fail(t, dataflow.WorkerLost, "this worker does not know the job")
	case t.control():
		k.begin(t)
	case k.drain:
		k.fail(t, dataflow.WorkerLost, "the worker drains")
	default:
		k.queue = append(k.queue, t)
		k.fill()
	}
}

func (k *worker) fill() {
	for k.busy < k.slots && len(k.queue) > 0 {
		t := k.queue[0]
		k.queue = k.queue[1:]
		t.slot = true
		k.busy++
		k.begin(t)
	}
}

// begin gives a task to its job's host, which is started where there is none.
func (k *worker) begin(t *wtask) {
	j := t.job
	if k.jobs[j.id] != j {
		k.fail(t, dataflow.WorkerLost, "the job has ended on this worker")
		return
	}
	d := k.w.between(0, 2*ms)
	if j.host == nil {
		j.host = &whost{k: k, j: j, inc: k.inc, waiting: map[*wtask]bool{}}
		d = k.w.between(5*ms, 80*ms)
	}
	h := j.host
	t.host = h
	h.after(d, func() { h.run(t) })
}

func (k *worker) cancel(a attempt, why string) {
	t := k.task(a)
	if t == nil || t.ended() {
		return
	}
	if t.host != nil {
		t.canceled = why
		if t.host.waiting[t] {
			t.host.proceed(t)
		}
		return
	}
	k.unqueue(func(q *wtask) bool { return q == t })
	k.fail(t, dataflow.Canceled, why)
}

func (k *worker) unqueue(which func(*wtask) bool) {
	kept := k.queue[:0:0]
	for _, q := range k.queue {
		if !which(q) {
			kept = append(kept, q)
		}
	}
	k.queue = kept
}

// done takes a host's report that a task ended well.
func (k *worker) done(t *wtask, b *block, results ...*divisipb.TaskResult) {
	if k.task(t.id) != t || t.ended() {
		return
	}
	t.results = results
	if b != nil {
		t.job.outputs = append(t.job.outputs, b)
	}
	k.tell(t)
	k.free(t)
}

func (k *worker) fail(t *wtask, kind dataflow.Kind, why string) {
	k.end(t, &divisipb.TaskFailure{Id: t.spec.Id, TaskKind: t.spec.Kind, ErrorKind: int32(kind), Message: why})
}

// end records and tells a task's failure.
func (k *worker) end(t *wtask, f *divisipb.TaskFailure) {
	if k.task(t.id) != t || t.ended() {
		return
	}
	t.failure = f
	k.tell(t)
	k.free(t)
}

func (k *worker) free(t *wtask) {
	if t.slot {
		t.slot = false
		k.busy--
		k.fill()
	}
	k.tellDrained()
}

// acked forgets a task whose end the coordinator has taken note of.
func (k *worker) acked(a attempt, lost bool) {
	for i, t := range k.tasks {
		if t.id == a && t.ended() {
			k.tasks = append(k.tasks[:i:i], k.tasks[i+1:]...)
			break
		}
	}
	if j := k.jobs[a.job]; j != nil && lost {
		j.drop(a)
	}
}

func (j *wjob) output(a attempt) *block {
	for _, b := range j.outputs {
		if b.of == a {
			return b
		}
	}
	return nil
}

func (j *wjob) drop(a attempt) {
	for i, b := range j.outputs {
		if b.of == a {
			j.outputs = append(j.outputs[:i:i], j.outputs[i+1:]...)
			return
		}
	}
}

// endJob kills a job's host and drops what there is of the job; hostsOnly leaves blocks
// and description.
func (k *worker) endJob(id string, hostsOnly, answer bool) {
	j := k.jobs[id]
	var h *whost
	if j != nil {
		h, j.host = j.host, nil
		if !hostsOnly {
			delete(k.jobs, id)
		}
	}
	k.unqueue(func(q *wtask) bool { return q.id.job == id })
	kept := k.tasks[:0:0]
	for _, t := range k.tasks {
		if t.id.job != id {
			kept = append(kept, t)
		} else if t.slot {
			t.slot = false
			k.busy--
		}
	}
	k.tasks = kept
	k.fill()
	d := int64(0)
	if h != nil {
		d = k.w.between(ms, 30*ms)
	}
	k.after(d, func() {
		if h != nil && !(hostsOnly && mutant.On("hosts outlive their job")) {
			h.dead = true
		}
		if answer {
			k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_JobGone{JobGone: &divisipb.JobGone{Job: id, HostsOnly: hostsOnly}}})
		}
		k.tellDrained()
	})
}

func (k *worker) beginDrain() {
	k.drain = true
	for len(k.queue) > 0 {
		t := k.queue[0]
		k.queue = k.queue[1:]
		k.fail(t, dataflow.WorkerLost, "the worker drains")
	}
	k.tellDrained()
}

func (k *worker) tellDrained() {
	if k.drain && k.busy == 0 && len(k.queue) == 0 {
		k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Drained{Drained: &divisipb.Drained{}}})
	}
}
