package sched

import (
	"math"
	"slices"
)

// How long a job does without places that are not near its input (delay scheduling).
// Two cases are told apart, task by task. Where many tasks wait for few near slots,
// waiting for those would keep the other workers idle for the whole job: the task goes
// elsewhere after a moment. Where the near slots will have done with all that waits for
// them within about one round, as at the end of a job whose input lies all about, a slot
// that goes to a far task wins little: it is left free as long as tasks start near
// their input, and for the length of a task.

// clock is what a job knows of its waiting.
type clock struct {
	// since is when it first did without a place that was not near, 0: it does not wait.
	// It stays so, however many near places come meanwhile, until none but near ones have
	// been offered or taken for a while after last.
	since, last Instant
	near        Instant // when a task last went near its input
}

const (
	// soonLeast and soonMost bound, in waits, how long a task is held back whose near
	// slots are about to come free.
	soonLeast = 10
	soonMost  = 100
)

// pickTask finds a job's task for a worker: one whose input is there, else one without
// preference, else one that has waited long enough for a place near its input or has
// none to wait for.
func (s *Scheduler) pickTask(j *job, w *worker, now Instant, times int) (*pending, Level) {
	may := func(p *pending) bool { return s.fits(p, w, times) }
	c, wait := &j.clock, Instant(s.wait)
	if c.since != 0 && now-c.last > 4*wait {
		c.since = 0
	}
	if l := j.byWorker[w.ID]; l != nil {
		if p := l.first(may); p != nil {
			c.near = now
			return p, Blocks
		}
	}
	if l := j.byHost[w.Host]; l != nil {
		if p := s.scarce(l, w, may); p != nil {
			c.near = now
			return p, Host
		}
	}
	if p := j.free.first(may); p != nil {
		return p, Any
	}
	var again Instant // when a task that is held back may go, 0: none is
	p := j.all.first(func(p *pending) bool {
		if !may(p) {
			return false
		}
		at := s.until(p, w, now)
		if at > now && (again == 0 || at < again) {
			again = at
		}
		return at <= now
	})
	if p != nil {
		if c.since != 0 {
			c.last = now
		}
		if s.sameRack(p, w) {
			return p, Rack
		}
		return p, Far
	}
	if again != 0 {
		if c.since == 0 {
			c.since = now
		}
		c.last = again
		if s.wake == 0 || again < s.wake {
			s.wake = again
		}
	}
	return nil, Far
}

// choice is how many tasks of a host are compared.
const choice = 8

// scarce is, of the oldest tasks on a worker's host, the one whose other hosts have the
// most to do: who has least may soon have nothing near but what is taken here.
func (s *Scheduler) scarce(l *line, w *worker, may func(*pending) bool) *pending {
	var best *pending
	var most float64
	seen := 0
	oldest := l.first(func(p *pending) bool {
		if !may(p) {
			return false
		}
		load := s.load(p, w)
		if best == nil || load > most {
			best, most = p, load
		}
		seen++
		return seen == choice
	})
	if best == nil {
		best = oldest
	}
	return best
}

// load is the least that waits, for each slot, on the hosts of a task but the worker's;
// a task that has none goes before all others.
func (s *Scheduler) load(p *pending, w *worker) float64 {
	least := math.Inf(1)
	for _, h := range p.Hosts {
		if n := s.hosts[h]; n > 0 && h != w.Host {
			least = min(least, float64(p.job.byHost[h].live())/float64(n))
		}
	}
	return least
}

// until is when to ask again whether a task may go to a worker that does not have its
// input: first to one in the rack, later to any. It may when that is not after now.
func (s *Scheduler) until(p *pending, w *worker, now Instant) Instant {
	if !s.winnable(p) {
		return now
	}
	c := p.job.clock
	from, wait := c.since, Instant(s.wait)
	if from == 0 {
		from = now
	}
	if s.soon(p) {
		from, wait = max(from, c.near), p.job.patience(wait)/2
	}
	if at := from + wait; now < at || s.sameRack(p, w) {
		return at
	}
	return from + 2*wait
}

// patience is how long the job holds back a task whose near slots are about to come free.
func (j *job) patience(wait Instant) Instant {
	return min(max(Instant(j.mean), soonLeast*wait), soonMost*wait)
}

// soon says whether the workers on a task's hosts have about one round to do before they
// come to it. A task counts at each of its hosts, so all that wait there are taken to be
// on as many hosts as this one.
func (s *Scheduler) soon(p *pending) bool {
	if len(p.Exclude) > 0 {
		return false // perhaps for the very worker it would wait for
	}
	hosts, slots, wait := 0, 0, 0
	for _, h := range p.Hosts {
		if n := s.hosts[h]; n > 0 {
			hosts++
			slots += n
			wait += p.job.byHost[h].live()
		}
	}
	return hosts > 0 && wait <= hosts*slots
}

// winnable says whether waiting could bring a task nearer to its input.
func (s *Scheduler) winnable(p *pending) bool {
	for _, id := range p.Workers {
		if w := s.workers[id]; w != nil && !w.Closed && !slices.Contains(p.Exclude, id) {
			return true
		}
	}
	for _, h := range p.Hosts {
		if s.hosts[h] > 0 || s.racks[h] > 0 {
			return true
		}
	}
	return false
}

// sameRack says whether one of the places a task prefers is in the worker's rack.
func (s *Scheduler) sameRack(p *pending, w *worker) bool {
	if w.Rack == "" {
		return false
	}
	for _, id := range p.Workers {
		if o := s.workers[id]; o != nil && o.Rack == w.Rack {
			return true
		}
	}
	for _, h := range p.Hosts {
		if h == w.Rack {
			return true
		}
		for _, o := range s.order {
			if o.Host == h && o.Rack == w.Rack {
				return true
			}
		}
	}
	return false
}
