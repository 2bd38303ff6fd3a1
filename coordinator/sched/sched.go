// Package sched decides which pending task goes to which worker. It is a pure machine:
// told of workers, tasks and time, asked for assignments; no I/O, no clock, and nothing
// depends on a map's order.
//
// Between jobs it is fair (see queue.go), within a job it prefers a task near its input
// and waits a little for such a place where there is one to win (see near.go).
// Free slots are filled first. Only when no worker has one are tasks sent ahead, up to
// twice a worker's slots, so that it never waits a round trip for its next task; and
// not the last tasks of a burst, which another worker may be able to start sooner, and
// only of jobs whose tasks are short. What is left of free slots then goes to copies of
// slow tasks.
package sched

import (
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/internal/mutant"
)

// Instant is nanoseconds of the caller's clock, which never runs backwards.
type Instant int64

// ID names a task: of a job, by stage and index.
type ID struct {
	Job          string
	Stage, Index int
	Copy         int // tells attempts at the same task apart, 0: the ordinary one
}

// A Task waits for a place.
type Task struct {
	ID
	Hosts   []string // hosts or racks near which its input lies
	Workers []string // workers that hold most of its input, best first
	Memory  int64    // bytes it must be able to reserve; 0: a slot's share
	Alone   bool     // nothing else is to run on the worker
	Exclude []string // workers to avoid while there are others
	NoSlot  bool     // a control task: it takes no slot and goes anywhere at once
	Spare   bool     // a copy of a slow task: it gets a slot that nothing else wants, never on an excluded worker
}

// A Worker is where tasks run.
type Worker struct {
	ID     string
	Host   string
	Rack   string
	Slots  int
	Memory int64 // bytes, for all slots together; 0: not known
	Closed bool  // it gets no new tasks: draining, excluded
	Full   bool  // it gets none that take a slot: its disk is full
}

// An Assignment sends a task to a worker.
type Assignment struct {
	Task   ID
	Worker string
	Level  Level         // how near its input is
	Waited time.Duration // since it was added
}

// Level is how near a task is to its input.
type Level uint8

// The levels, nearest first.
const (
	Host   Level = iota // on a host that has it
	Blocks              // on the worker that holds most of it
	Any                 // it has no preference
	Rack                // in the same rack
	Far                 // not near, though it has a preference
)

var levelNames = [...]string{"host", "partitions", "any", "rack", "far"}

func (l Level) String() string { return levelNames[l] }

// Config of a scheduler.
type Config struct {
	// Wait is how long a job does without a place near its tasks' input before it takes
	// one in the rack, and again as long before it takes any; longer where the near
	// slots are about to come free (see near.go). 0: 300 ms.
	Wait time.Duration
	// Brief is how long a job's tasks may take on average for some to be sent ahead.
	// 0: 1 s.
	Brief time.Duration
}

// Scheduler is used by one goroutine.
type Scheduler struct {
	wait    time.Duration
	brief   time.Duration
	now     Instant // of the last Assign
	blocked bool    // nothing is sent ahead: it is the turn of a job whose tasks are long
	workers map[string]*worker
	order   []*worker      // by id
	hosts   map[string]int // slots of schedulable workers by host
	racks   map[string]int // and by rack
	jobs    map[string]*job
	root    *queue
	placed  map[ID]place
	control []*pending // tasks that take no slot, oldest first
	alone   []*pending // tasks that want a worker to themselves
	spare   []*pending // copies of slow tasks
	count   int        // pending tasks that want a slot
	slots   int        // of workers that take tasks
	wake    Instant    // when waiting for a near place ends, 0: nobody waits
}

type worker struct {
	Worker
	used     int // slots of tasks sent to it
	solo     bool
	reserved *pending // the task that waits for it to become empty
}

type place struct {
	worker *worker
	slots  int
	job    *job
	solo   bool
	since  Instant
}

// New is a scheduler without workers and tasks.
func New(c Config) *Scheduler {
	if c.Wait == 0 {
		c.Wait = 300 * time.Millisecond
	}
	if c.Brief == 0 {
		c.Brief = time.Second
	}
	return &Scheduler{
		wait: c.Wait, brief: c.Brief, workers: map[string]*worker{}, hosts: map[string]int{}, racks: map[string]int{},
		jobs: map[string]*job{}, root: newQueue(nil, ""), placed: map[ID]place{},
	}
}

// SetWorker adds a worker or changes what is known of it. Tasks on it stay.
func (s *Scheduler) SetWorker(w Worker) {
	old := s.workers[w.ID]
	if old == nil {
		old = &worker{}
		s.workers[w.ID] = old
		i, _ := slices.BinarySearchFunc(s.order, w.ID, func(o *worker, id string) int { return strings.Compare(o.ID, id) })
		s.order = slices.Insert(s.order, i, old)
	} else {
		s.tally(old, -1)
	}
	old.Worker = w
	if w.Closed || w.Full {
		s.release(old)
	}
	s.tally(old, 1)
}

func (s *Scheduler) tally(w *worker, n int) {
	if w.Closed || w.Full || w.Slots <= 0 {
		return
	}
	n *= w.Slots
	s.hosts[w.Host] += n
	s.racks[w.Rack] += n
	s.slots += n
}

// RemoveWorker forgets a worker and where its tasks ran: tell Done of none of them.
func (s *Scheduler) RemoveWorker(id string) {
	w := s.workers[id]
	if w == nil {
		return
	}
	s.tally(w, -1)
	s.release(w)
	delete(s.workers, id)
	s.order = slices.DeleteFunc(s.order, func(o *worker) bool { return o == w })
	for t, p := range s.placed { // the order does not matter: all go
		if p.worker == w {
			p.job.charge(-p.slots)
			delete(s.placed, t)
		}
	}
}

func (s *Scheduler) release(w *worker) {
	if w.reserved != nil {
		w.reserved.at, w.reserved = nil, nil
	}
}

// Slots of all workers that take tasks.
func (s *Scheduler) Slots() int { return s.slots }

// Pending is how many tasks of a job wait for a place.
func (s *Scheduler) Pending(job string) int {
	if j := s.jobs[job]; j != nil {
		return len(j.tasks)
	}
	return 0
}

// Done frees what a task took, whatever its end.
func (s *Scheduler) Done(t ID) {
	p, ok := s.placed[t]
	if !ok {
		return
	}
	if p.slots > 0 && p.since > 0 {
		p.job.ended(s.now - p.since)
	}
	delete(s.placed, t)
	if !mutant.On("a slot too few is freed") || t.Stage != 1 {
		p.worker.used -= p.slots
	}
	if p.solo {
		p.worker.solo = false
	}
	p.job.charge(-p.slots)
}

// Place notes that a task runs on a worker though it was not assigned: an adopted one.
func (s *Scheduler) Place(t ID, worker string, noSlot bool) {
	w, j := s.workers[worker], s.jobs[t.Job]
	if w == nil || j == nil {
		return
	}
	s.Done(t)
	n := 1
	if noSlot {
		n = 0
	}
	w.used += n
	j.charge(n)
	s.placed[t] = place{w, n, j, false, s.now}
}

// Assign finds places for as many tasks as have one.
func (s *Scheduler) Assign(now Instant) []Assignment {
	s.wake, s.now = 0, now
	var out []Assignment
	out = s.assignControl(out)
	out = s.assignAlone(out)
	if s.count == 0 {
		return s.assignSpare(out)
	}
	out = s.fill(now, 1, out)
	if s.count == 0 {
		return s.assignSpare(out)
	}
	if s.free() { // a slot stays free: the others are waited for
		return out
	}
	if s.count > s.slots {
		out = s.fill(now, 2, out)
	}
	return out
}

// NextWake is when Assign may find more though nothing else happens, 0: never.
func (s *Scheduler) NextWake() Instant { return s.wake }

func (s *Scheduler) free() bool {
	for _, w := range s.order {
		if w.takes(1) {
			return true
		}
	}
	return false
}

func (w *worker) takes(times int) bool {
	return !w.Closed && !w.Full && !w.solo && w.reserved == nil && w.used < times*w.Slots+drift()
}

// drift is 0 but for a defect that the simulator is to find.
func drift() int {
	if mutant.On("more is sent than fits") {
		return 2
	}
	return 0
}

// fill goes round the workers, the emptiest first, giving each one task, until none
// takes any more.
func (s *Scheduler) fill(now Instant, times int, out []Assignment) []Assignment {
	var open []*worker
	for _, w := range s.order {
		if w.takes(times) {
			open = append(open, w)
		}
	}
	slices.SortStableFunc(open, func(a, b *worker) int { return a.used*b.Slots - b.used*a.Slots })
	for len(open) > 0 && s.count > 0 {
		kept := open[:0]
		for _, w := range open {
			p, level := s.pick(w, now, times)
			if p == nil {
				continue
			}
			out = append(out, s.put(p, w, level))
			if w.takes(times) {
				kept = append(kept, w)
			}
		}
		open = kept
	}
	return out
}

func (s *Scheduler) put(p *pending, w *worker, level Level) Assignment {
	n := w.need(p)
	s.take(p)
	s.Done(p.ID)
	w.used += n
	p.job.charge(n)
	s.placed[p.ID] = place{w, n, p.job, p.Alone, s.now}
	var waited time.Duration
	if p.since > 0 { // 0: it was there before anybody asked
		waited = time.Duration(s.now - p.since)
	}
	return Assignment{p.ID, w.ID, level, waited}
}

// need is how many slots a task takes on a worker: more than one when it must be able
// to reserve more than a slot's share of memory.
func (w *worker) need(p *pending) int {
	switch {
	case p.NoSlot:
		return 0
	case p.Alone:
		return w.Slots
	case p.Memory == 0 || w.Memory == 0 || w.Slots == 0:
		return 1
	}
	share := max(w.Memory/int64(w.Slots), 1)
	return int(min((p.Memory+share-1)/share, int64(w.Slots)))
}

// assignControl sends tasks that take no slot to the workers in turn.
func (s *Scheduler) assignControl(out []Assignment) []Assignment {
	if len(s.control) == 0 {
		return out
	}
	kept := s.control[:0]
	for _, p := range s.control {
		if p.gone {
			continue
		}
		w := s.calmest(p)
		if w == nil {
			if !mutant.On("control tasks do not wait for a worker") {
				kept = append(kept, p)
			}
			continue
		}
		out = append(out, s.put(p, w, Any))
	}
	clear(s.control[len(kept):])
	s.control = kept
	return out
}

// calmest is the worker with the smallest share of its slots used, not one of the
// task's excluded ones if there is another.
func (s *Scheduler) calmest(p *pending) *worker {
	var best *worker
	for _, avoid := range []bool{true, false} {
		for _, w := range s.order {
			if w.Closed || w.Full && !p.NoSlot || w.Slots <= 0 || avoid && slices.Contains(p.Exclude, w.ID) || p.Alone && (w.reserved != nil || w.solo) {
				continue
			}
			if best == nil || w.used*best.Slots < best.used*w.Slots {
				best = w
			}
		}
		if best != nil {
			return best
		}
	}
	return nil
}

// assignAlone reserves a worker for each task that wants one to itself, and gives it
// when the worker has become empty.
func (s *Scheduler) assignAlone(out []Assignment) []Assignment {
	if len(s.alone) == 0 {
		return out
	}
	kept := s.alone[:0]
	for _, p := range s.alone {
		if p.gone {
			continue
		}
		if p.at == nil {
			if w := s.calmest(p); w != nil {
				p.at, w.reserved = w, p
			}
		}
		if w := p.at; w != nil && w.used == 0 && !w.Full {
			w.reserved, w.solo, p.at = nil, true, nil
			out = append(out, s.put(p, w, Any))
			continue
		}
		kept = append(kept, p)
	}
	clear(s.alone[len(kept):])
	s.alone = kept
	return out
}

// assignSpare gives free slots that nothing else wants to copies of slow tasks, on
// workers where no other attempt at them was.
func (s *Scheduler) assignSpare(out []Assignment) []Assignment {
	if len(s.spare) == 0 {
		return out
	}
	kept := s.spare[:0]
	for _, p := range s.spare {
		if p.gone {
			continue
		}
		if w := s.idlest(p); w != nil {
			out = append(out, s.put(p, w, Any))
			continue
		}
		kept = append(kept, p)
	}
	clear(s.spare[len(kept):])
	s.spare = kept
	return out
}

func (s *Scheduler) idlest(p *pending) *worker {
	var best *worker
	for _, w := range s.order {
		n := w.need(p)
		if w.takes(1) && w.used+n <= w.Slots && !slices.Contains(p.Exclude, w.ID) && p.job.queue.room(n) &&
			(best == nil || w.used*best.Slots < best.used*w.Slots) {
			best = w
		}
	}
	return best
}

// Idle is how many slots nothing is sent to.
func (s *Scheduler) Idle() int {
	n := 0
	for _, w := range s.order {
		if w.takes(1) {
			n += w.Slots - w.used
		}
	}
	return n
}

// Placed is how many tasks are on a worker, with those that take no slot.
func (s *Scheduler) Placed(worker string) int {
	n := 0
	for _, p := range s.placed {
		if p.worker.ID == worker {
			n++
		}
	}
	return n
}

// Used is how many slots of a worker are taken by what was sent to it.
func (s *Scheduler) Used(worker string) int {
	if w := s.workers[worker]; w != nil {
		return w.used
	}
	return 0
}
