package sim

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/internal/version"
	"github.com/divisi-data/divisi/proto/divisipb"
)

func (t *wtask) ended() bool { return t.failure != nil || len(t.results) > 0 }

// dial opens a stream and says who this is.
func (k *worker) dial() {
	w := k.w
	c := w.coord
	if g := w.ghost; g != nil && g.up && k.epoch > g.core.Epoch() && w.chance(700) {
		// The old one is still found under the address. Who has not heard of its
		// successor yet would believe it: no journal is shared that could fence it.
		c = g
	}
	w.names++
	cn := &conn{w: w, id: w.names, k: k, life: k.life, inc: k.inc, c: c, atWorker: true, atCoordinator: true}
	k.conn, k.welcomed = cn, false
	cn.register(k.registration())
	k.after(5*second, func() {
		if k.conn == cn && !k.welcomed {
			k.hangUp("no answer to the registration")
		}
	})
}

// hangUp gives a stream up and tries again later.
func (k *worker) hangUp(why string) {
	k.w.say("%s: leaves stream %d: %s", k.id, k.conn.id, why)
	k.conn.closeAtWorker(true)
	k.redial()
}

func (k *worker) redial() {
	if k.welcomed {
		k.wait = 50 * ms
	}
	k.conn, k.welcomed = nil, false
	k.after(k.wait, func() {
		if k.conn == nil {
			k.dial()
		}
	})
	k.wait = min(2*k.wait, second)
}

// ended: the coordinator or the network has ended the stream.
func (k *worker) ended(cn *conn) {
	if k.conn != cn || !cn.atWorker {
		return
	}
	cn.atWorker = false
	if k.drain && k.busy == 0 && len(k.queue) == 0 && k.welcomed {
		k.crash(false)
		k.disk = nil
		return
	}
	k.redial()
}

// refused: this incarnation was given up; another begins with nothing but the outputs.
func (k *worker) refused(cn *conn) {
	if k.conn != cn {
		return
	}
	cn.atWorker = false
	if k.drain {
		k.crash(false)
		k.disk = nil
		return
	}
	if !mutant.On("a new incarnation keeps the tasks of the old") {
		for _, j := range k.jobsInOrder() {
			k.endJob(j.id, false, false)
			k.keep(j)
		}
	}
	k.inc = k.id + "#" + k.w.name(3)
	k.w.say("%s: begins anew as %s", k.id, k.inc)
	k.dial()
}

// registration says what this incarnation has.
func (k *worker) registration() *divisipb.Register {
	r := &divisipb.Register{
		Protocol: version.Protocol, Worker: k.id, Incarnation: k.inc, Host: k.id, Slots: int32(k.slots),
		MemoryBytes: 64 << 20, ExchangeAddress: k.inc, Draining: k.drain,
	}
	for _, t := range k.tasks {
		switch {
		case t.failure != nil:
			r.UnackedFailures = append(r.UnackedFailures, t.failure)
		case t.ended():
			for _, m := range t.results {
				r.UnackedResults = append(r.UnackedResults, proto.Clone(m).(*divisipb.TaskResult))
			}
		default:
			r.Running = append(r.Running, t.spec.Id)
		}
	}
	for _, j := range k.jobsInOrder() {
		if len(j.outputs) > 0 {
			h := &divisipb.HeldOutput{Job: j.id}
			for _, b := range j.outputs {
				h.Tasks = append(h.Tasks, b.of.id())
			}
			r.Held = append(r.Held, h)
		}
	}
	return r
}

// receive takes a message of the coordinator's.
func (k *worker) receive(cn *conn, m *divisipb.ToWorker) {
	k.heard = k.clock()
	if wel := m.GetWelcome(); wel != nil {
		k.welcome(cn, wel, m.Epoch)
		return
	}
	if m.Epoch < k.epoch && !mutant.On("no epoch check") {
		return
	}
	k.w.check.heeds(k, m)
	switch b := m.Body.(type) {
	case *divisipb.ToWorker_Job:
		j := k.jobs[b.Job.Id]
		if j == nil {
			j = &wjob{id: b.Job.Id, def: k.w.check.defs[b.Job.Name], prepared: map[int32]string{}, told: map[int32]*locations{}}
			k.jobs[b.Job.Id] = j
		}
		k.prepare(j, b.Job.Prepared)
	case *divisipb.ToWorker_JobUpdate:
		if j := k.jobs[b.JobUpdate.Job]; j != nil {
			k.prepare(j, b.JobUpdate.Prepared)
		}
	case *divisipb.ToWorker_Locations:
		k.locate(b.Locations)
	case *divisipb.ToWorker_Launch:
		k.launch(b.Launch.Task)
	case *divisipb.ToWorker_CancelTask:
		k.cancel(attemptOf(b.CancelTask.Id), b.CancelTask.Why)
	case *divisipb.ToWorker_CutTask:
		k.cutTask(attemptOf(b.CutTask.Id))
	case *divisipb.ToWorker_EndJob:
		k.endJob(b.EndJob.Job, b.EndJob.HostsOnly, true)
	case *divisipb.ToWorker_Ack:
		if b.Ack.Task != nil {
			k.acked(attemptOf(b.Ack.Task), b.Ack.Lost)
		}
	case *divisipb.ToWorker_AdoptBlocks:
		k.adopt(b.AdoptBlocks)
	case *divisipb.ToWorker_Drain:
		k.beginDrain()
	}
}

func (k *worker) prepare(j *wjob, p map[int32][]byte) {
	for sink, what := range p {
		j.prepared[sink] = string(what)
	}
}

// welcome begins a session, if it is not with a coordinator of the past.
func (k *worker) welcome(cn *conn, m *divisipb.Welcome, epoch uint64) {
	if epoch < k.epoch && !mutant.On("no epoch check") {
		k.hangUp(fmt.Sprintf("stale epoch %d", epoch))
		return
	}
	k.w.say("%s: welcomed by epoch %d", k.id, epoch)
	k.epoch, k.welcomed, cn.epoch = epoch, true, epoch
	for _, t := range k.tasks { // what ended while the registration was on its way
		if t.ended() {
			k.tell(t)
		}
	}
	k.tellDrained()
	for _, id := range m.ForgetJobs {
		k.endJob(id, false, false)
	}
	k.beat(cn)
}

// beat sends heartbeats and gives the coordinator up after a lease of silence.
func (k *worker) beat(cn *conn) {
	k.after(second, func() {
		if k.conn != cn || !cn.atWorker {
			return
		}
		if k.clock()-k.heard > 6*second {
			k.hangUp("the coordinator is silent")
			return
		}
		k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Heartbeat{Heartbeat: &divisipb.Heartbeat{Tasks: k.progress()}}})
		k.beat(cn)
	})
}

func (k *worker) send(m *divisipb.FromWorker) {
	if k.conn != nil && k.welcomed {
		k.conn.toCoordinator(m)
	}
}

// tell sends the end of a task.
func (k *worker) tell(t *wtask) {
	for _, r := range t.results {
		k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Result{Result: proto.Clone(r).(*divisipb.TaskResult)}})
	}
	if t.failure != nil {
		k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_Failure{Failure: t.failure}})
	}
}

func (k *worker) locate(m *divisipb.Locations) {
	j := k.jobs[m.Job]
	if j == nil {
		return
	}
	l := j.told[m.Exchange]
	if l == nil || m.Reset_ {
		l = &locations{blocks: map[[2]int32]location{}}
		j.told[m.Exchange] = l
	}
	l.version = m.Version
	for _, b := range m.Blocks {
		a := attemptOf(b.Task)
		l.blocks[[2]int32{a.stage, a.index}] = location{a, b.Worker, b.Address}
	}
	for _, t := range k.tasks { // those that wait for this
		if t.host != nil && t.host.waiting[t] {
			t.host.proceed(t)
		}
	}
}
