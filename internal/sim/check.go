package sim

import (
	"maps"

	"github.com/divisi-data/divisi/coordinator/job"
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
	spoken   map[holder]bool   // that the coordinator that is there has heard of
	came     map[string]int    // id: how many attempts a worker came with, as far as they may still run
	ends     [3]int
	copies   int
	splits   int
	moves    int
	founds   int // outputs that were lost and there again
	shares   int
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
	former   map[[2]int32]attempt // won and were lost, until another has won
	at       map[[2]int32]string  // the incarnation that has a winner's output
	winners  map[attempt]bool     // ever
	failed   map[attempt]bool
	launched map[attempt]bool
	counted  map[[2]int32]int
	begun    bool
	sinks    map[int32]bool // published
	clean    map[int32]bool
	gaveUp   bool
	hopeless bool // a user's error was met
	running  map[[2]int32]run
	copied   map[attempt]bool    // slow ones: another may run beside them
	whole    map[attempt]bool    // have read what another task reads now
	hashes   map[[2]int32]uint64 // of the rows of winners, the last of each task
	floors   map[int32]int32     // stage: attempts below it have read rows that are no more
}

// A holder is an incarnation that says that it has an output.
type holder struct {
	on string
	of attempt
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
		highest: map[string]uint64{}, spoken: map[holder]bool{}, came: map[string]int{},
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

// cleans: an output is cleaned, so nobody who is known to be there may write to it any more.
func (c *check) cleans(id string, sink int32) {
	for _, k := range c.w.workers {
		if !k.up || c.departed[k.inc] {
			continue
		}
		for _, t := range k.tasks {
			if t.id.job == id && !t.control() && t.host != nil && !t.host.dead && !t.ended() && t.job.def.plan.Stages[t.id.stage].Output.Sink == int(sink) {
				c.w.violate("output %d of %s is cleaned while %s runs on %s", sink, id, t.id, k.inc)
			}
		}
	}
}

// cancels notes the attempts that a coordinator takes back.
func (c *check) cancels(from *coord, cn *conn, m *divisipb.ToWorker) {
	if b := m.GetCancelTask(); b != nil && from == c.w.coord {
		a := attemptOf(b.Id)
		c.w.say("coordinator: cancels %s on %s: %s", a, cn.k.id, b.Why)
		c.stops(a)
	}
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
		if r, runs := j.running[k]; runs && !j.copied[r.attempt] && c.streams[r.on] != nil && c.streams[r.on].atCoordinator {
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
	case *divisipb.FromWorker_BlocksAdopted:
		for _, t := range b.BlocksAdopted.Tasks {
			c.spoken[holder{cn.inc, attemptOf(t)}] = true
		}
	case *divisipb.FromWorker_JobGone:
		c.w.say("%s: %s is gone, hosts only %v", cn.k.id, b.JobGone.Job, b.JobGone.HostsOnly)
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
	c.came[cn.k.id] = len(r.Running)
	for _, h := range r.Held {
		for _, t := range h.Tasks {
			c.spoken[holder{cn.inc, attemptOf(t)}] = true
		}
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
		if cn := c.streams[k.inc]; cn != nil && cn.atCoordinator && drifted(c.w.now-c.contact[k.inc], c.w.drift) > 6*second {
			c.w.violate("%s was silent for longer than its lease and is believed to be there", k.inc)
		}
	}
	for _, k := range c.w.workers {
		// A worker may come with more than it would be sent: what was taken back by a
		// coordinator that died, and has not ended yet, is not known from the rest.
		n := from.core.Used(k.id)
		if n < 0 || n > max(2*k.slots, c.came[k.id]) {
			c.w.violate("%d of %d slots of %s are believed to be used", n, k.slots, k.id)
		}
		c.came[k.id] = min(c.came[k.id], n)
		if placed, active := from.core.Books(k.id); placed != active {
			c.w.violate("the scheduler believes %d tasks to be on %s, the jobs %d", placed, k.id, active)
		}
	}
}

// restarted: what was acknowledged is known.
func (c *check) restarted(from *coord) {
	c.departed = maps.Clone(c.left) // what was not durable was not decided
	clear(c.streams)
	clear(c.spoken)
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
