package sim

import (
	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A conn is a worker's stream to a coordinator: what is sent comes in order, late, or
// not at all; either end may be gone long before the other knows.
type conn struct {
	w     *world
	id    int
	k     *worker
	life  int    // of the worker's process
	inc   string // its incarnation
	c     *coord
	st    *coordinator.Stream // once registered
	epoch uint64              // of the coordinator, once welcomed

	atWorker, atCoordinator bool // which ends are open
	broken                  bool // nothing comes through any more
	up, down                pipe
}

// A pipe is one direction: later messages do not overtake earlier ones.
type pipe struct {
	last int64    // when the last arrives
	held []func() // while the link is cut: sent again when it is not
}

// pass brings something to the other side.
func (cn *conn) pass(p *pipe, cut bool, f func()) {
	if cut || len(p.held) > 0 {
		p.held = append(p.held, f)
		return
	}
	w := cn.w
	d := w.between(ms/10, 2*ms)
	if w.chance(w.weather.delays) {
		d = w.between(0, 400*ms)
	}
	p.last = max(p.last, w.now+d)
	w.after(p.last-w.now, func() {
		if !cn.broken {
			f()
		}
	})
}

// heal sends what was held.
func (cn *conn) heal() {
	for _, p := range []*pipe{&cn.up, &cn.down} {
		if p == &cn.up && cn.k.cutUp || p == &cn.down && cn.k.cutDown {
			continue
		}
		held := p.held
		p.held = nil
		for _, f := range held {
			cn.pass(p, false, f)
		}
	}
}

// toCoordinator sends a worker's message.
func (cn *conn) toCoordinator(m *divisipb.FromWorker) {
	m.Epoch = cn.epoch
	cn.pass(&cn.up, cn.k.cutUp, func() {
		if cn.atCoordinator {
			cn.c.post(func() {
				if cn.st != nil && cn.atCoordinator {
					cn.w.check.fromWorker(cn, m)
					cn.c.core.Receive(cn.st, m)
				}
			})
		}
	})
}

// toWorker sends a coordinator's message.
func (cn *conn) toWorker(m *divisipb.ToWorker) {
	cn.pass(&cn.down, cn.k.cutDown, func() {
		if cn.atWorker {
			cn.k.post(cn.life, func() {
				if cn.atWorker {
					cn.k.receive(cn, m)
				}
			})
		}
	})
}

// register sends the first message; the coordinator answers with a welcome or an end.
func (cn *conn) register(r *divisipb.Register) {
	cn.pass(&cn.up, cn.k.cutUp, func() {
		// A ghost is not found by who has not heard of its successor: see dial.
		if !cn.c.up || cn.c != cn.w.coord && cn.k.epoch <= cn.c.core.Epoch() {
			cn.closeAtCoordinator(true)
			return
		}
		cn.c.post(func() {
			if !cn.atCoordinator {
				return
			}
			if cn.k.conn != cn {
				cn.w.check.staleRegister(r)
			}
			cn.w.say("coordinator: %s registers as %s: runs %d, results %d, failures %d", r.Worker, r.Incarnation, len(r.Running), len(r.UnackedResults), len(r.UnackedFailures))
			cn.w.check.registers(cn, r)
			st, err := cn.c.core.Attach(r)
			if err != nil {
				cn.w.say("coordinator: refuses %s: %v", r.Incarnation, err)
				cn.atCoordinator = false
				cn.pass(&cn.down, cn.k.cutDown, func() { cn.k.post(cn.life, func() { cn.k.refused(cn) }) })
				return
			}
			cn.st = st
			cn.c.conns = append(cn.c.conns, cn)
			cn.w.check.attached(cn)
		})
	})
}

// closeAtCoordinator closes that end. The worker hears of it where fin says so.
func (cn *conn) closeAtCoordinator(fin bool) {
	if !cn.atCoordinator {
		return
	}
	cn.atCoordinator = false
	if cn.st != nil && cn.c.up {
		cn.c.core.Detach(cn.st)
	}
	if fin {
		cn.pass(&cn.down, cn.k.cutDown, func() { cn.k.post(cn.life, func() { cn.k.ended(cn) }) })
	}
}

// closeAtWorker closes the worker's end.
func (cn *conn) closeAtWorker(fin bool) {
	if !cn.atWorker {
		return
	}
	cn.atWorker = false
	if fin {
		cn.pass(&cn.up, cn.k.cutUp, cn.hangUp)
	}
}

// hangUp is what the coordinator sees of a stream's end.
func (cn *conn) hangUp() {
	cn.c.post(func() {
		if !cn.atCoordinator {
			return
		}
		cn.atCoordinator = false
		for i, o := range cn.c.conns {
			if o == cn {
				cn.c.conns = append(cn.c.conns[:i], cn.c.conns[i+1:]...)
				break
			}
		}
		if cn.st != nil {
			cn.w.check.detached(cn)
			cn.c.core.Detach(cn.st)
		}
	})
}

// snap breaks the connection: what is on its way is lost, both ends find out.
func (cn *conn) snap() {
	if cn.broken {
		return
	}
	cn.w.say("network: %s's stream %d breaks", cn.k.id, cn.id)
	cn.broken = true
	cn.w.after(cn.w.between(0, 20*ms), cn.hangUp)
	cn.w.after(cn.w.between(0, 20*ms), func() { cn.k.post(cn.life, func() { cn.k.ended(cn) }) })
}
