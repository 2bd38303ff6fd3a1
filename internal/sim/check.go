package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A check watches what happens and knows what must not. It believes the journal (what is
// durable, in order) and its own eyes (what workers and storage really have), and never
// asks the coordinator.
type check struct {
	w        *world
	defs     map[string]*jobDef
	jobs     map[string]*jobCheck
	departed map[string]bool // incarnations that were given up, durably or about to be
	left     map[string]bool // durably
	excused  map[attempt]bool
	contact  map[string]int64  // incarnation: when it was heard last
	streams  map[string]*conn  // incarnation: that it has at the coordinator
	stale    map[string]bool   // ids of workers whose registrations came late
	highest  map[string]uint64 // incarnation: the highest epoch it has seen
	accepted map[string]bool   // jobs that clients were told of
	ends     [3]int
}

type jobCheck struct {
	id       string
	def      *jobDef
	state    divisipb.JobState // once ended
	over     bool
	limit    int32
	known    map[int32]bool // sources
	prepared map[int32]bool
	tasks    map[int32]int // stage: number, once planned
	won      map[[2]int32]attempt
	winners  map[attempt]bool // ever
	failed   map[attempt]bool
	launched map[attempt]bool
	counted  map[[2]int32]int
	begun    bool
	sinks    map[int32]bool // published
	clean    map[int32]bool
	gaveUp   bool
	hopeless bool // a user's error was met
	running  map[[2]int32]run
}

// A run is an attempt that the coordinator knows to run, and the incarnation it runs on.
type run struct {
	attempt
	on string
}

func newCheck(w *world) *check {
	return &check{
		w: w, defs: map[string]*jobDef{}, jobs: map[string]*jobCheck{}, departed: map[string]bool{}, left: map[string]bool{},
		excused: map[attempt]bool{}, contact: map[string]int64{}, streams: map[string]*conn{}, stale: map[string]bool{},
		highest: map[string]uint64{}, accepted: map[string]bool{},
	}
}

// queued looks at a record before it is durable: when it was decided.
func (c *check) queued(r *divisipb.JournalRecord) {
	l := r.GetWorkerLeft()
	if l == nil {
		return
	}
	c.departed[l.Incarnation] = true
	defer delete(c.streams, l.Incarnation)
	for _, k := range c.w.workers {
		cn := c.streams[l.Incarnation]
		if k.inc != l.Incarnation || !k.up || k.drain || c.stale[k.id] || cn == nil || !cn.atCoordinator {
			continue
		}
		if silence := c.w.now - c.contact[l.Incarnation]; silence < 5*second {
			c.w.violate("worker %s was heard of %.3f s ago and is given up: %s", l.Incarnation, float64(silence)/1e9, l.Why)
		}
	}
}

// record looks at what has become durable.
func (c *check) record(r *divisipb.JournalRecord) {
	if l := r.GetWorkerLeft(); l != nil {
		c.left[l.Incarnation] = true
	}
	if s := r.GetSubmitted(); s != nil {
		c.submitted(r.Job, s.Request)
		return
	}
	j := c.jobs[r.Job]
	if j == nil {
		return
	}
	if j.over {
		c.w.violate("%s is over and the journal goes on: %s", r.Job, recordText(r))
	}
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_SplitsKnown:
		j.known[b.SplitsKnown.Source] = true
	case *divisipb.JournalRecord_SinkPrepared:
		j.prepared[b.SinkPrepared.Sink] = true
	case *divisipb.JournalRecord_StagePlanned:
		c.planned(j, b.StagePlanned)
	case *divisipb.JournalRecord_TaskWon:
		c.won(j, b.TaskWon)
	case *divisipb.JournalRecord_TaskFailed:
		c.failed(j, b.TaskFailed)
	case *divisipb.JournalRecord_OutputLost:
		c.lost(j, attemptOf(b.OutputLost.Task))
	case *divisipb.JournalRecord_AttemptsReserved:
		j.limit = b.AttemptsReserved.Limit
	case *divisipb.JournalRecord_PublishBegan:
		c.begun(j)
	case *divisipb.JournalRecord_SinkPublished:
		c.published(j, b.SinkPublished.Sink)
	case *divisipb.JournalRecord_JobEnded:
		c.ended(j, b.JobEnded)
	case *divisipb.JournalRecord_SinkCleaned:
		j.clean[b.SinkCleaned.Sink] = true
		j.gaveUp = j.gaveUp || b.SinkCleaned.GaveUp != ""
		if j.state == 0 {
			c.w.violate("%s is cleaned before its end", r.Job)
		}
	case *divisipb.JournalRecord_JobCleaned:
		j.over = true
	}
}

func (c *check) submitted(id string, r *divisipb.SubmitRequest) {
	def := c.defs[r.Job.Name]
	def.ids = append(def.ids, id)
	if len(def.ids) > 1 {
		c.w.violate("%s was submitted once and is %v", def.name, def.ids)
	}
	c.jobs[id] = &jobCheck{
		id: id, def: def, limit: 4096, known: map[int32]bool{}, prepared: map[int32]bool{}, tasks: map[int32]int{}, won: map[[2]int32]attempt{},
		winners: map[attempt]bool{}, failed: map[attempt]bool{}, launched: map[attempt]bool{}, counted: map[[2]int32]int{},
		sinks: map[int32]bool{}, clean: map[int32]bool{}, running: map[[2]int32]run{},
	}
}

// whole says that a stage is planned and all its tasks have won.
func (j *jobCheck) whole(stage int32) bool {
	n, planned := j.tasks[stage]
	for i := range int32(n) {
		if _, ok := j.won[[2]int32{stage, i}]; !ok {
			return false
		}
	}
	return planned
}

func (c *check) planned(j *jobCheck, p *divisipb.StagePlanned) {
	if _, twice := j.tasks[p.Stage]; twice || j.state != 0 {
		c.w.violate("stage %d of %s is planned twice, or after the end", p.Stage, j.id)
	}
	j.tasks[p.Stage] = len(p.Tasks)
	for _, in := range j.def.plan.Stages[p.Stage].Inputs {
		if in.Mode == plan.BySplit {
			if !j.known[int32(in.Source)] {
				c.w.violate("stage %d of %s is planned before its splits are known", p.Stage, j.id)
			}
			continue
		}
		for _, s := range j.def.plan.Exchanges[in.Exchange].Producers {
			if !j.whole(int32(s)) {
				c.w.violate("stage %d of %s is planned before stage %d is whole", p.Stage, j.id, s)
			}
		}
	}
}

func (c *check) won(j *jobCheck, r *divisipb.TaskWon) {
	a := attemptOf(r.Result.Id)
	k := [2]int32{a.stage, a.index}
	switch {
	case j.state != 0:
		c.w.violate("%s wins after the end of its job", a)
	case j.begun:
		c.w.violate("%s wins after publishing has begun", a)
	case j.winners[a]:
		c.w.violate("%s wins twice", a)
	case j.failed[a]:
		c.w.violate("%s has failed and wins", a)
	case !j.launched[a]:
		c.w.violate("%s wins and was never launched", a)
	case c.left[r.Incarnation]:
		c.w.violate("%s wins on %s, which was given up", a, r.Incarnation)
	}
	if o, ok := j.won[k]; ok {
		c.w.violate("%s wins, and %s has won", a, o)
	}
	j.won[k] = a
	j.winners[a] = true
}

func (c *check) failed(j *jobCheck, r *divisipb.TaskFailed) {
	a := attemptOf(r.Failure.Id)
	k := [2]int32{a.stage, a.index}
	if j.failed[a] || j.winners[a] {
		c.w.violate("%s fails after its end", a)
	}
	j.failed[a] = true
	if r.Counted {
		j.counted[k]++
		most := 5 // of transient failures, or kills and running out of memory together with them
		if a.stage == job.StagePublish {
			most = 8
		}
		if j.counted[k] > most {
			c.w.violate("%s is failure %d that counts", a, j.counted[k])
		}
		switch kind := dataflow.Kind(r.Failure.ErrorKind); kind {
		case dataflow.InputLost, dataflow.WorkerLost, dataflow.Canceled:
			c.w.violate("%s failed by no fault of its own, %s, and it counts", a, kind)
		}
	}
	j.hopeless = j.hopeless || dataflow.Kind(r.Failure.ErrorKind) == dataflow.User
	j.stops(a)
	if j.state != 0 && a.stage != job.StageClean {
		c.w.violate("%s fails after the end of its job", a)
	}
}

// stops notes that an attempt does not run any more.
func (j *jobCheck) stops(a attempt) {
	if k := [2]int32{a.stage, a.index}; j.running[k].attempt == a {
		delete(j.running, k)
	}
}

// lost: a finished task runs again. There must be a reason.
func (c *check) lost(j *jobCheck, a attempt) {
	k := [2]int32{a.stage, a.index}
	if j.won[k] != a {
		c.w.violate("the output of %s is lost, which is not the winner", a)
	}
	delete(j.won, k)
	if c.excused[a] {
		return
	}
	for _, w := range c.w.workers {
		if w.up && w.jobs[a.job] != nil && w.jobs[a.job].output(a) != nil && !c.left[w.inc] {
			c.w.violate("%s runs again though its output is on %s", a, w.inc)
		}
	}
}

func (c *check) begun(j *jobCheck) {
	for i := range j.def.plan.Stages {
		if !j.whole(int32(i)) {
			c.w.violate("%s begins to publish and stage %d is not whole", j.id, i)
		}
	}
	if j.state != 0 {
		c.w.violate("%s begins to publish after its end", j.id)
	}
	j.begun = true
}

// winnersOf a sink, by their names.
func (j *jobCheck) winnersOf(sink int32) []string {
	var all []string
	for k, a := range j.won {
		if j.def.plan.Stages[k[0]].Output.Sink == int(sink) {
			all = append(all, a.String())
		}
	}
	slices.Sort(all)
	return all
}

func (c *check) visible(j *jobCheck, sink int32) []string {
	var all []string
	for _, p := range c.w.store.output(j.id, sink).visible {
		all = append(all, p.of.String())
	}
	slices.Sort(all)
	return all
}

func (c *check) published(j *jobCheck, sink int32) {
	j.sinks[sink] = true
	o := c.w.store.output(j.id, sink)
	if !j.begun || !o.success || !slices.Equal(c.visible(j, sink), j.winnersOf(sink)) {
		c.w.violate("output %d of %s is said to be published: visible %v, winners %v, whole %v", sink, j.id, c.visible(j, sink), j.winnersOf(sink), o.success)
	}
}

func (c *check) ended(j *jobCheck, r *divisipb.JobEnded) {
	if j.state != 0 {
		c.w.violate("%s has ended as %s and ends as %s", j.id, j.state, r.State)
	}
	j.state = r.State
	d := j.def
	switch r.State {
	case divisipb.JobState_JOB_STATE_SUCCEEDED:
		if len(j.sinks) != len(d.plan.Sinks) {
			c.w.violate("%s has succeeded, and %d of %d outputs are published", j.id, len(j.sinks), len(d.plan.Sinks))
		}
		if d.doomed[0] >= 0 && int(d.doomed[1]) < j.tasks[d.doomed[0]] || d.poison[0] >= 0 && int(d.poison[1]) < j.tasks[d.poison[0]] {
			c.w.violate("%s has succeeded in spite of a task that cannot", j.id)
		}
	case divisipb.JobState_JOB_STATE_FAILED:
		if d.doomed == none && d.poison == none && !(d.noisy >= 0 && strings.Contains(r.Error, "than the first")) {
			c.w.violate("%s fails for no fault of its own: %s", j.id, r.Error)
		}
	default:
		if j.begun {
			c.w.violate("%s is cancelled after publishing has begun", j.id)
		}
	}
}

// decides: a manifest is made.
func (c *check) decides(id string, sink int32) {
	if j := c.jobs[id]; j == nil || !j.begun {
		c.w.violate("output %d of %s gets a manifest before the journal says so", sink, id)
	}
}

// shows: a part becomes visible.
func (c *check) shows(sink int32, o *output, p *part) {
	j := c.jobs[p.of.job]
	if j == nil || !j.begun || !o.decided {
		c.w.violate("%s becomes visible before its manifest", p.of)
		return
	}
	if j.won[[2]int32{p.of.stage, p.of.index}] != p.of {
		c.w.violate("%s becomes visible and is not the winner", p.of)
	}
	if j.state == divisipb.JobState_JOB_STATE_CANCELED {
		c.w.violate("%s becomes visible after the cancel", p.of)
	}
}

func (c *check) cleaned(id string, sink int32) bool {
	j := c.jobs[id]
	return j != nil && j.clean[sink]
}

// toWorker looks at what the coordinator says: what it says must be in the journal.
func (c *check) toWorker(from *coord, cn *conn, m *divisipb.ToWorker) {
	if from != c.w.coord {
		return
	}
	switch b := m.Body.(type) {
	case *divisipb.ToWorker_Launch:
		a := attemptOf(b.Launch.Task.Id)
		c.w.say("coordinator: launches %s on %s", a, cn.k.id)
		j := c.jobs[a.job]
		switch {
		case j == nil:
			c.w.violate("%s is launched and its job is not in the journal", a)
			return
		case j.launched[a]:
			c.w.violate("%s is launched twice", a)
		case a.number >= j.limit:
			c.w.violate("%s is launched, and numbers are reserved below %d", a, j.limit)
		case j.state != 0 && a.stage != job.StageClean:
			c.w.violate("%s is launched after the end of its job", a)
		case a.stage == job.StagePublish && !j.begun:
			c.w.violate("%s is launched before the winners are final", a)
		case j.hopeless && a.stage != job.StageClean:
			c.w.violate("%s is launched after an error that ends the job", a)
		}
		k := [2]int32{a.stage, a.index}
		if r, runs := j.running[k]; runs && c.streams[r.on] != nil && c.streams[r.on].atCoordinator {
			c.w.violate("%s is launched while %s runs on %s", a, r.attempt, r.on)
		}
		j.running[k] = run{a, cn.inc}
		for o := range j.launched {
			if o.number == a.number {
				c.w.violate("%s has the number of %s", a, o)
			}
		}
		j.launched[a] = true
	case *divisipb.ToWorker_Ack:
		if b.Ack.Task != nil {
			c.acks(attemptOf(b.Ack.Task), b.Ack.Lost)
		}
	case *divisipb.ToWorker_CancelTask:
		a := attemptOf(b.CancelTask.Id)
		c.w.say("coordinator: cancels %s on %s: %s", a, cn.k.id, b.CancelTask.Why)
		if j := c.jobs[a.job]; j != nil {
			j.stops(a)
		}
	case *divisipb.ToWorker_EndJob:
		c.w.say("coordinator: ends %s on %s, hosts only %v", b.EndJob.Job, cn.k.id, b.EndJob.HostsOnly)
	}
}

func (c *check) acks(a attempt, lost bool) {
	c.w.say("coordinator: acknowledges %s, lost %v", a, lost)
	j := c.jobs[a.job]
	if j == nil {
		if !lost {
			c.w.violate("%s is acknowledged and its job is not in the journal", a)
		}
		return
	}
	if lost {
		if j.won[[2]int32{a.stage, a.index}] == a && !j.begun && j.state == 0 {
			c.w.violate("%s is the winner and told that it is not", a)
		}
		return
	}
	ok := j.winners[a]
	switch a.stage {
	case job.StageSplits:
		ok = j.known[a.index]
	case job.StagePrepare:
		ok = j.prepared[a.index]
	case job.StagePublish:
		ok = j.sinks[a.index]
	case job.StageClean:
		ok = j.clean[a.index]
	}
	if !ok {
		c.w.violate("%s is acknowledged and its result is not in the journal", a)
	}
}

// fromWorker notes that the coordinator hears of a worker.
func (c *check) fromWorker(cn *conn, m *divisipb.FromWorker) {
	if cn.c != c.w.coord {
		return
	}
	if c.streams[cn.inc] == cn {
		c.contact[cn.inc] = c.w.now
	}
	switch b := m.Body.(type) {
	case *divisipb.FromWorker_Result:
		c.w.say("%s: %s is done", cn.k.id, attemptOf(b.Result.Id))
		c.stops(attemptOf(b.Result.Id))
	case *divisipb.FromWorker_Failure:
		c.w.say("%s: %s failed: %s", cn.k.id, attemptOf(b.Failure.Id), b.Failure.Message)
		c.stops(attemptOf(b.Failure.Id))
	case *divisipb.FromWorker_JobGone:
		c.w.say("%s: %s is gone, hosts only %v", cn.k.id, b.JobGone.Job, b.JobGone.HostsOnly)
	}
}

func (c *check) stops(a attempt) {
	if j := c.jobs[a.job]; j != nil {
		j.stops(a)
	}
}

func (c *check) registers(cn *conn, r *divisipb.Register) {
	if cn.c != c.w.coord || !cn.c.up {
		return
	}
	c.streams[cn.inc] = cn
	c.contact[cn.inc] = c.w.now
	if c.departed[cn.inc] {
		return
	}
	// What it does not name does not run there, what it names does.
	for _, j := range c.jobs {
		for k, r := range j.running {
			if r.on == cn.inc {
				delete(j.running, k)
			}
		}
	}
	for _, t := range r.Running {
		a := attemptOf(t)
		if j := c.jobs[a.job]; j != nil {
			if k := [2]int32{a.stage, a.index}; j.running[k] == (run{}) {
				j.running[k] = run{a, cn.inc}
			}
		}
	}
}

func (c *check) attached(cn *conn) {
	if cn.c == c.w.coord && c.departed[cn.inc] {
		c.w.violate("%s was given up and comes back", cn.inc)
	}
}

func (c *check) detached(cn *conn) {
	if c.streams[cn.inc] == cn {
		delete(c.streams, cn.inc)
	}
}

// staleRegister: a registration came late, the worker has sent another since. What it
// says of the past may cost outputs that are there.
func (c *check) staleRegister(r *divisipb.Register) {
	c.stale[r.Worker] = true
	for _, k := range c.w.workers {
		if k.id == r.Worker {
			for _, j := range k.jobs {
				for _, b := range j.outputs {
					c.excused[b.of] = true
				}
			}
		}
	}
}

// unreachable: an output cannot be had, though it may be there.
func (c *check) unreachable(a attempt) { c.excused[a] = true }

// heeds: a worker does what it is told.
func (c *check) heeds(k *worker, m *divisipb.ToWorker) {
	if m.Epoch < c.highest[k.inc] {
		c.w.violate("%s heeds epoch %d after %d", k.inc, m.Epoch, c.highest[k.inc])
	}
	c.highest[k.inc] = m.Epoch
}

func (c *check) launches(k *worker, t *wtask) {
	if k.busy < 0 || k.busy > k.slots {
		c.w.violate("%s uses %d of %d slots", k.id, k.busy, k.slots)
	}
}

// slots: what the coordinator believes after a turn is possible.
func (c *check) slots(from *coord) {
	if from != c.w.coord {
		return
	}
	for _, k := range c.w.workers {
		if cn := c.streams[k.inc]; cn != nil && cn.atCoordinator && c.w.now-c.contact[k.inc] > 6*second {
			c.w.violate("%s was silent for longer than its lease and is believed to be there", k.inc)
		}
	}
	for _, k := range c.w.workers {
		if n := from.core.Used(k.id); n < 0 || n > 2*k.slots {
			c.w.violate("%d of %d slots of %s are believed to be used", n, k.slots, k.id)
		}
	}
}

// restarted: what was acknowledged is known.
func (c *check) restarted(from *coord) {
	c.departed = maps.Clone(c.left) // what was not durable was not decided
	clear(c.streams)
	for _, j := range c.jobs {
		clear(j.running)
	}
	for id, j := range c.jobs {
		st, over, known := from.core.Status(id)
		if !known || j.state != 0 && st != j.state || j.over && !over {
			c.w.violate("after the restart %s is %s, known %v, over %v; the journal says %s, over %v", id, st, known, over, j.state, j.over)
		}
	}
}

func (c *check) submitAnswered(def *jobDef, id string) {
	if j := c.jobs[id]; (j == nil || j.def != def) && c.w.coord.up {
		c.w.violate("the submit of %s is answered with %s, which the journal does not have", def.name, id)
	}
}

func (c *check) cancelAnswered(id string, st divisipb.JobState) {
	if st == divisipb.JobState_JOB_STATE_CANCELED && c.jobs[id].state != st {
		c.w.violate("the cancel of %s is answered and not in the journal", id)
	}
}

func (c *check) stuck() {
	for _, cl := range c.w.clients {
		if cl.job == "" {
			c.w.violate("the submit of %s is never answered", cl.def.name)
			continue
		}
		if j := c.w.coord.core.Job(cl.job); j != nil && !j.Over() {
			st := j.Status(true)
			c.w.violate("%s does not end: %s, %q, %+v, active %v", cl.job, st.State, st.Waiting, st.Stages, j.Active())
		}
	}
	c.w.violate("the world does not come to rest")
}

// atEnd looks at what is left, and whether the outputs are what they should be.
func (c *check) atEnd() {
	for _, cl := range c.w.clients {
		c.outcome(c.jobs[cl.job])
	}
	for _, k := range c.w.workers {
		if !k.up || !k.welcomed {
			continue
		}
		for id, j := range k.jobs {
			c.w.violate("%s still knows %s: host %v, %d outputs", k.id, id, j.host != nil, len(j.outputs))
		}
		if len(k.tasks)+len(k.queue)+k.busy > 0 {
			c.w.violate("%s still has %d tasks, %d waiting, %d slots in use", k.id, len(k.tasks), len(k.queue), k.busy)
		}
		if n := c.w.coord.core.Used(k.id); n != 0 {
			c.w.violate("the scheduler believes that %d slots of %s are used when all is over", n, k.id)
		}
	}
}

func (c *check) outcome(j *jobCheck) {
	if j == nil || j.state == 0 || !j.over {
		c.w.violate("a job is over and the journal does not say how: %+v", j)
		return
	}
	c.ends[j.state-divisipb.JobState_JOB_STATE_SUCCEEDED]++
	for s := range j.def.plan.Sinks {
		sink := int32(s)
		o := c.w.store.output(j.id, sink)
		for _, p := range o.parts {
			if !j.gaveUp && !(p.late && c.left[p.by]) {
				c.w.violate("%s is left in output %d by %s", p.of, s, p.by)
			}
		}
		if j.state != divisipb.JobState_JOB_STATE_SUCCEEDED {
			if len(o.visible) > 0 && !(j.begun && o.success) {
				c.w.violate("%s has ended as %s and parts of output %d are visible", j.id, j.state, s)
			}
			continue
		}
		var rows []uint64
		for _, p := range o.visible {
			rows = append(rows, p.rows...)
		}
		slices.Sort(rows)
		if !o.success || !slices.Equal(rows, j.def.want[s]) {
			c.w.violate("output %d of %s has %d rows, whole %v, and should have these %d: missing %v, too many %v", s, j.id,
				len(rows), o.success, len(j.def.want[s]), minus(j.def.want[s], rows), minus(rows, j.def.want[s]))
		}
	}
}

// minus is what a has more than b, both sorted.
func minus(a, b []uint64) []uint64 {
	var out []uint64
	for len(a) > 0 {
		switch {
		case len(b) == 0 || a[0] < b[0]:
			out = append(out, a[0])
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// recordText is a record for the history.
func recordText(r *divisipb.JournalRecord) string {
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_EpochBegan:
		return fmt.Sprintf("epoch %d", b.EpochBegan.Epoch)
	case *divisipb.JournalRecord_WorkerJoined:
		return "joined " + b.WorkerJoined.Incarnation
	case *divisipb.JournalRecord_WorkerLeft:
		return "left " + b.WorkerLeft.Incarnation + ": " + b.WorkerLeft.Why
	case *divisipb.JournalRecord_Submitted:
		return "submitted " + r.Job
	case *divisipb.JournalRecord_SplitsKnown:
		return fmt.Sprintf("%s: splits of %d: %d", r.Job, b.SplitsKnown.Source, len(b.SplitsKnown.Splits))
	case *divisipb.JournalRecord_SinkPrepared:
		return fmt.Sprintf("%s: output %d prepared", r.Job, b.SinkPrepared.Sink)
	case *divisipb.JournalRecord_StagePlanned:
		return fmt.Sprintf("%s: stage %d planned, %d tasks", r.Job, b.StagePlanned.Stage, len(b.StagePlanned.Tasks))
	case *divisipb.JournalRecord_TaskWon:
		return fmt.Sprintf("%s won on %s", attemptOf(b.TaskWon.Result.Id), b.TaskWon.Incarnation)
	case *divisipb.JournalRecord_TaskFailed:
		return fmt.Sprintf("%s failed on %s: %s, counted %v", attemptOf(b.TaskFailed.Failure.Id), b.TaskFailed.Worker, b.TaskFailed.Failure.Message, b.TaskFailed.Counted)
	case *divisipb.JournalRecord_OutputLost:
		return fmt.Sprintf("%s lost: %s", attemptOf(b.OutputLost.Task), b.OutputLost.Why)
	case *divisipb.JournalRecord_AttemptsReserved:
		return fmt.Sprintf("%s: attempts below %d", r.Job, b.AttemptsReserved.Limit)
	case *divisipb.JournalRecord_PublishBegan:
		return r.Job + ": publish began"
	case *divisipb.JournalRecord_SinkPublished:
		return fmt.Sprintf("%s: output %d published", r.Job, b.SinkPublished.Sink)
	case *divisipb.JournalRecord_JobEnded:
		return fmt.Sprintf("%s: %s %s", r.Job, b.JobEnded.State, b.JobEnded.Error)
	case *divisipb.JournalRecord_SinkCleaned:
		return fmt.Sprintf("%s: output %d cleaned %s", r.Job, b.SinkCleaned.Sink, b.SinkCleaned.GaveUp)
	case *divisipb.JournalRecord_JobCleaned:
		return r.Job + ": over"
	}
	return fmt.Sprintf("%T", r.Body)
}
