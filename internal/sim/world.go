package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/divisi-data/divisi/coordinator"
)

const (
	ms     = int64(time.Millisecond)
	second = int64(time.Second)
	// wallStart is what the coordinator's clock shows when the world begins.
	wallStart = 1_700_000_000 * second
)

// A world is one schedule under way.
type world struct {
	rng    *rand.Rand
	now    int64 // since the world began
	queue  []event
	events int64 // that have happened
	names  int

	weather weather
	workers []*worker
	coord   *coord // the one that clients and workers find; it may be down
	ghost   *coord // one before it that was not dead
	disk    *disk
	store   *store
	clients []*client
	check   *check
	skew    int64 // what the wall clock has jumped
	drift   int64 // by how many thousandths the coordinator's clock is too fast
	since   int64 // since when

	trace   bool
	history strings.Builder
	bad     string // the first violation
}

type event struct {
	at, seq int64
	do      func()
}

// after does something when so much time has passed. Of events at one instant the first
// to be asked for is the first to happen.
func (w *world) after(d int64, do func()) {
	w.events++
	w.queue = append(w.queue, event{w.now + max(d, 0), w.events, do})
	for i := len(w.queue) - 1; i > 0; {
		up := (i - 1) / 2
		if !w.queue[i].before(w.queue[up]) {
			break
		}
		w.queue[i], w.queue[up] = w.queue[up], w.queue[i]
		i = up
	}
}

func (e event) before(o event) bool { return e.at < o.at || e.at == o.at && e.seq < o.seq }

func (w *world) pop() event {
	q := w.queue
	first, last := q[0], len(q)-1
	q[0], q[last] = q[last], event{}
	w.queue = q[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && q[c+1].before(q[c]) {
			c++
		}
		if !q[c].before(q[i]) {
			break
		}
		q[c], q[i] = q[i], q[c]
		i = c
	}
	return first
}

// run lets events happen until a time, or the end says so, or something is wrong.
func (w *world) run(until int64, over func() bool) {
	for len(w.queue) > 0 && w.bad == "" && w.queue[0].at <= until && !over() {
		e := w.pop()
		w.now = e.at
		e.do()
	}
	if w.bad == "" && !over() {
		w.now = until
	}
}

// between is a random duration.
func (w *world) between(lo, hi int64) int64 { return lo + w.rng.Int64N(hi-lo+1) }

// chance is true in p of 1000 cases.
func (w *world) chance(p int) bool { return p > 0 && w.rng.IntN(1000) < p }

// say adds a line to the history.
func (w *world) say(format string, args ...any) {
	if w.trace {
		fmt.Fprintf(&w.history, "%10.6f  %s\n", float64(w.now)/1e9, fmt.Sprintf(format, args...))
	}
}

// violate ends the schedule: something is not as promised.
func (w *world) violate(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
		w.say("VIOLATION: %s", w.bad)
	}
}

func (w *world) name(letters int) string {
	w.names++
	return fmt.Sprintf("%0*d", letters, w.names)
}

// Result of a schedule.
type Result struct {
	Violation string // "": all was as promised
	History   string // what happened, if asked for
	Ends      [3]int // jobs that succeeded, failed, were cancelled
	Copies    int    // of slow attempts
	Splits    int    // of slow attempts, which gave something away
	Moves     int    // outputs that were moved to another worker
	Founds    int    // of these, outputs that were lost and there again
	Shares    int    // of partitions that were shared out
	Events    int64
	Virtual   time.Duration
}

// Run plays the schedule of a seed.
func Run(seed uint64, trace bool) Result { return play(seed, trace, func(*world) {}) }

// play is Run with more to come than the weather, which extra asks for.
func play(seed uint64, trace bool, extra func(*world)) Result {
	w := &world{rng: rand.New(rand.NewPCG(seed, 0x5eed)), trace: trace, now: second}
	w.check = newCheck(w)
	w.store = newStore(w)
	w.disk = &disk{w: w}
	w.build()
	extra(w)
	stop := w.weather.until
	w.run(stop, func() bool { return false })
	if w.bad == "" {
		w.heal()
		w.run(stop+600*second, w.settled)
		if w.bad == "" && !w.settled() {
			w.check.stuck()
		}
	}
	if w.bad == "" {
		// Who has not heard yet that the coordinator he knew is gone soon will.
		w.run(w.now+3*second, func() bool { return false })
		w.run(w.now+20*second, w.quiet)
		w.check.atEnd()
	}
	return Result{Violation: w.bad, History: w.history.String(), Ends: w.check.ends, Copies: w.check.copies, Splits: w.check.splits, Moves: w.check.moves, Founds: w.check.founds, Shares: w.check.shares, Events: w.events, Virtual: time.Duration(w.now)}
}

// build makes the cluster and its clients.
func (w *world) build() {
	w.weather = w.forecast()
	w.say("weather: %s", w.weather)
	for i := range 1 + w.rng.IntN(4) {
		k := &worker{w: w, id: fmt.Sprintf("w%d", i), slots: 1 + w.rng.IntN(3)}
		w.workers = append(w.workers, k)
	}
	w.startCoordinator()
	for _, k := range w.workers {
		w.after(w.between(0, 500*ms), k.start)
	}
	for i := range 1 + w.rng.IntN(3) {
		cl := &client{w: w, def: w.makeJob(i)}
		w.clients = append(w.clients, cl)
		w.say("%s: plan %d, %s, noisy stage %d, bad record in %v, poison %v", cl.def.name, cl.def.shape, cl.def.layout(), cl.def.noisy, cl.def.doomed, cl.def.poison)
		w.check.defs[cl.def.name] = cl.def
		at := w.between(0, w.weather.until/2)
		w.after(at, cl.submit)
		if w.chance(w.weather.cancels) {
			cl.cancelAt = w.now + at + w.between(0, 15*second)
		}
	}
	w.unleash()
}

// settled says that all jobs have ended, are cleaned, and their clients know of them.
func (w *world) settled() bool {
	if !w.coord.up {
		return false
	}
	for _, cl := range w.clients {
		if cl.job == "" {
			return false
		}
		if _, over, known := w.coord.core.Status(cl.job); !over && known {
			return false
		}
	}
	return true
}

// quiet says that workers have nothing left.
func (w *world) quiet() bool {
	for _, k := range w.workers {
		if k.up && len(k.jobs)+len(k.tasks) > 0 {
			return false
		}
	}
	return true
}

// startCoordinator replays the journal and begins an epoch.
func (w *world) startCoordinator() {
	c := &coord{w: w, disk: w.disk, up: true}
	w.coord = c
	w.disk.open(c)
	core, err := coordinator.NewCore(coordinator.CoreConfig{
		Clock: w.clock, Random: w.name,
	}, w.disk.replay(), w.disk.epoch, w.disk.begin)
	if err != nil {
		w.violate("the journal cannot be replayed: %v", err)
		return
	}
	c.core = core
	w.say("coordinator: epoch %d begins", core.Epoch())
	w.check.restarted(c)
	c.turnIn(0)
}
