package sim

import (
	"fmt"
	"strings"
)

// weather is what may go wrong in a schedule, and how often: chances are of 1000. Each
// seed has weather of its own, so that some faults meet alone and others all at once.
type weather struct {
	until                                 int64 // no faults after it
	every                                 int64 // between faults, on average
	kinds                                 []int // of faults
	delays, failing, answersLost, cancels int
	malice                                int // faults just when they hurt
}

func (wx weather) String() string {
	var names []string
	for _, k := range wx.kinds {
		names = append(names, faults[k].name)
	}
	return fmt.Sprintf("until %ds every %dms delays %d failing %d answers lost %d malice %d: %s",
		wx.until/second, wx.every/ms, wx.delays, wx.failing, wx.answersLost, wx.malice, strings.Join(names, ", "))
}

func (w *world) forecast() weather {
	pick := func(v ...int) int { return v[w.rng.IntN(len(v))] }
	wx := weather{
		until: w.between(5, 25) * second, every: int64(pick(400, 1000, 3000)) * ms, delays: pick(0, 5, 50),
		failing: pick(0, 0, 30, 100), answersLost: pick(0, 0, 200), cancels: pick(0, 0, 300, 800), malice: pick(0, 400),
	}
	for k := range faults {
		if w.chance(350) {
			wx.kinds = append(wx.kinds, k)
		}
	}
	return wx
}

// provoked is a fault at a moment that was looked for: when a job ends or an output is
// lost or found again, the next words to a worker come late.
func (w *world) provoked() {
	if w.now >= w.weather.until || !w.chance(w.weather.malice) {
		return
	}
	k := w.someone()
	switch w.rng.IntN(4) {
	case 0:
		if k.up && k.conn != nil {
			k.conn.snap()
		}
	case 1:
		if k.up && !k.paused {
			k.pause()
			life := k.life
			w.after(w.between(ms, 2*second), func() {
				if k.life == life && k.up {
					k.resume()
				}
			})
		}
	default:
		w.deafen(k)
	}
}

// deafen lets a worker not hear for a while what the coordinator says.
func (w *world) deafen(k *worker) {
	if !k.cutUp && !k.cutDown {
		w.say("network: cut from the coordinator to %s", k.id)
		k.cutDown = true
		w.after(w.between(ms, 2*second), func() { w.mend(k) })
	}
}

// rattled: soon after a copy was asked for, streams break.
func (w *world) rattled() {
	if w.now < w.weather.until && w.chance(w.weather.malice) {
		w.after(w.between(ms, 500*ms), func() {
			for _, k := range w.workers {
				if k.up && k.conn != nil && w.chance(500) {
					k.conn.snap()
				}
			}
		})
	}
}

// beaten: an attempt is not needed any more, and hears of it late.
func (w *world) beaten(k *worker) {
	if w.now < w.weather.until && w.chance(2*w.weather.malice) {
		w.deafen(k)
	}
}

// unleash begins the faults.
func (w *world) unleash() {
	if len(w.weather.kinds) == 0 {
		return
	}
	var next func()
	next = func() {
		w.after(w.between(1, 2*w.weather.every), func() {
			if w.now < w.weather.until {
				faults[w.weather.kinds[w.rng.IntN(len(w.weather.kinds))]].strike(w)
				next()
			}
		})
	}
	next()
}

// span is how long something lasts: mostly short, sometimes longer than a lease.
func (w *world) span() int64 {
	if w.chance(300) {
		return w.between(4*second, 12*second)
	}
	return w.between(10*ms, 2*second)
}

func (w *world) someone() *worker { return w.workers[w.rng.IntN(len(w.workers))] }

var faults = []struct {
	name   string
	strike func(*world)
}{
	{"coordinator dies", func(w *world) { w.killCoordinator(false) }},
	{"coordinator loses power", func(w *world) { w.killCoordinator(true) }},
	{"coordinator dies within a sync", func(w *world) {
		// At the next moment when records are on their way to the disk.
		var poll func(n int)
		poll = func(n int) {
			if w.coord.up && len(w.disk.batch) > 0 {
				w.killCoordinator(false)
			} else if n > 0 && w.now < w.weather.until {
				w.after(ms/4, func() { poll(n - 1) })
			}
		}
		poll(2000)
	}},
	{"coordinator pauses", func(w *world) {
		if c := w.coord; c.up && !c.paused {
			c.pause()
			w.after(w.span(), c.resume)
		}
	}},
	{"coordinator is taken for dead", func(w *world) {
		old := w.coord
		if !old.up || old.paused || w.ghost != nil {
			return
		}
		// It is stopped and its connections with it; another begins with what the disk
		// has. It wakes up again, workers find it under the address they know, and what
		// it writes goes to a disk that is not the cluster's any more.
		w.say("coordinator: stopped and taken for dead")
		old.pause()
		w.disk = old.disk.copy()
		if b := old.disk.batch; len(b) > 0 {
			for _, q := range b[:w.rng.IntN(len(b)+1)] {
				w.disk.durable(q)
			}
		}
		w.ghost = old
		for _, cn := range append([]*conn(nil), old.conns...) {
			cn.snap()
		}
		w.startCoordinator()
		w.after(w.span(), old.resume)
		w.after(w.between(5*second, 10*second), w.lay)
	}},
	{"worker dies", func(w *world) { w.killWorker(false) }},
	{"worker loses power", func(w *world) { w.killWorker(true) }},
	{"worker pauses", func(w *world) {
		if k := w.someone(); k.up && !k.paused {
			k.pause()
			w.impatience()
			life := k.life
			w.after(w.span(), func() {
				if k.life == life && k.up {
					k.resume()
				}
			})
		}
	}},
	{"host dies", func(w *world) {
		k := w.someone()
		for _, j := range k.jobsInOrder() {
			if k.up && !k.paused && j.host != nil && j.host.mayKill() {
				j.host.kill()
			}
		}
	}},
	{"stream breaks", func(w *world) {
		if k := w.someone(); k.up && k.conn != nil {
			k.conn.snap()
		}
	}},
	{"link cut to the coordinator", func(w *world) { w.cut(true, false) }},
	{"link cut from the coordinator", func(w *world) { w.cut(false, true) }},
	{"link cut both ways", func(w *world) { w.cut(true, true) }},
	{"workers apart", func(w *world) {
		a, b := w.someone(), w.someone()
		if a == b {
			return
		}
		w.say("network: %s cannot reach %s", a.id, b.id)
		if a.apart == nil {
			a.apart = map[*worker]bool{}
		}
		a.apart[b] = true
		w.after(w.span(), func() { delete(a.apart, b) })
	}},
	{"disk full", func(w *world) {
		d := w.disk
		if d.full {
			return
		}
		w.say("disk: full")
		d.full = true
		w.after(w.span(), func() { d.full = false; d.sync() })
	}},
	{"disk slow", func(w *world) {
		d := w.disk
		d.slow = w.between(10*ms, 500*ms)
		w.impatience()
		w.after(w.span(), func() { d.slow = 0 })
	}},
	{"block lost", func(w *world) { w.damage(false) }},
	{"block corrupt", func(w *world) { w.damage(true) }},
	{"clock jumps", func(w *world) { w.skew += w.between(-3600, 3600) * second }},
	{"drain", func(w *world) {
		if k := w.someone(); k.up && w.coord.up && !w.coord.paused && len(w.workers) > 1 {
			w.say("operator: drains %s", k.id)
			w.coord.post(func() { w.coord.core.Drain(k.id) })
			w.after(w.span()+15*second, k.start)
		}
	}},
}

func (w *world) killCoordinator(powerLoss bool) {
	if !w.coord.up {
		return
	}
	w.coord.crash(powerLoss)
	w.after(w.span(), func() {
		if !w.coord.up {
			w.startCoordinator()
		}
	})
}

func (w *world) killWorker(powerLoss bool) {
	k := w.someone()
	if !k.up || w.now >= w.weather.until {
		return
	}
	k.crash(powerLoss)
	d := w.span()
	if w.chance(200) { // for good, or until the others have had time to do without
		d = 40 * second
	}
	life := k.life
	w.after(d, func() {
		if k.life == life {
			k.start()
		}
	})
}

func (w *world) cut(up, down bool) {
	k := w.someone()
	if k.cutUp || k.cutDown {
		return
	}
	w.say("network: cut between %s and the coordinator: to %v, from %v", k.id, up, down)
	k.cutUp, k.cutDown = up, down
	w.impatience()
	w.after(w.span(), func() { w.mend(k) })
}

// impatience: somebody cancels just when something is wrong.
func (w *world) impatience() {
	if cl := w.clients[w.rng.IntN(len(w.clients))]; cl.job != "" && cl.cancelAt == 0 && w.chance(w.weather.cancels/2) {
		cl.cancelAt = w.now
		w.after(w.between(0, 300*ms), cl.cancel)
	}
}

func (w *world) mend(k *worker) {
	k.cutUp, k.cutDown = false, false
	if k.conn != nil {
		k.conn.heal()
	}
	for _, c := range []*coord{w.coord, w.ghost} {
		if c == nil {
			continue
		}
		for _, cn := range append([]*conn(nil), c.conns...) {
			if cn.k == k && cn != k.conn {
				cn.heal()
			}
		}
	}
}

// damage takes a block away, or a bit of it.
func (w *world) damage(corrupt bool) {
	k := w.someone()
	for _, j := range k.jobsInOrder() {
		if n := len(j.outputs); n > 0 {
			b := j.outputs[w.rng.IntN(n)]
			w.check.unreachable(b.of)
			w.say("%s: block %s damaged, corrupt %v", k.id, b.of, corrupt)
			if corrupt {
				b.corrupt = true
			} else {
				b.parts = nil
				j.drop(b.of)
			}
			return
		}
	}
}

// lay ends the ghost.
func (w *world) lay() {
	if g := w.ghost; g != nil {
		w.ghost = nil
		g.crash(false)
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.say("the weather clears")
	w.lay()
	w.weather.failing, w.weather.answersLost, w.weather.delays = 0, 0, 0
	w.disk.full, w.disk.slow = false, 0
	if !w.coord.up {
		w.startCoordinator()
	}
	w.coord.resume()
	w.disk.sync()
	for _, k := range w.workers {
		w.mend(k)
		k.apart = nil
		k.resume()
	}
}
