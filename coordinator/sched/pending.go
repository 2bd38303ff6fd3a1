package sched

import "slices"

type job struct {
	id       string
	queue    *queue
	weight   float64
	priority int32
	used     int // slots
	pending  int // tasks that want a slot
	tasks    map[ID]*pending

	// Tasks by where they would like to run; a task is in several lists and skipped in
	// the others once it is taken.
	byWorker map[string]*line
	byHost   map[string]*line
	free     line // without preference
	all      line // with one
	clock    clock

	finished int     // tasks that took a slot, at most counted
	mean     float64 // how long they took, lately
}

type pending struct {
	Task
	job   *job
	gone  bool    // assigned or removed
	at    *worker // that is reserved for it
	since Instant // when it was added
	lines []*line // that it is in
}

// scan is how many tasks of a line are looked at for one worker. Behind them are more
// of the same kind; what waits there is found when these have been placed.
const scan = 64

// line is a queue of tasks, oldest first. Taken ones are skipped, and swept out when
// they are most of it.
type line struct {
	tasks []*pending
	head  int
	gone  int // taken ones from head on
}

func (l *line) push(p *pending) {
	l.tasks = append(l.tasks, p)
	p.lines = append(p.lines, l)
}

// first is the oldest task that may go to the worker.
func (l *line) first(may func(*pending) bool) *pending {
	if l.gone > scan && l.gone > (len(l.tasks)-l.head)/2 {
		kept := l.tasks[:0]
		for _, p := range l.tasks[l.head:] {
			if !p.gone {
				kept = append(kept, p)
			}
		}
		clear(l.tasks[len(kept):])
		l.tasks, l.head, l.gone = kept, 0, 0
	}
	for l.head < len(l.tasks) && l.tasks[l.head].gone {
		l.tasks[l.head] = nil
		l.head++
		l.gone--
	}
	if l.head == len(l.tasks) {
		l.tasks, l.head, l.gone = l.tasks[:0], 0, 0
		return nil
	}
	seen := 0
	for _, p := range l.tasks[l.head:] {
		if p.gone {
			continue
		}
		if may(p) {
			return p
		}
		if seen++; seen == scan {
			break
		}
	}
	return nil
}

// AddJob makes a job known. Weight is its share within its queue, 0: 1; jobs of a higher
// priority go before others in the same queue.
func (s *Scheduler) AddJob(id, queue string, weight float64, priority int32) {
	if s.jobs[id] != nil {
		return
	}
	if weight <= 0 {
		weight = 1
	}
	q := s.root.child(queue)
	j := &job{id: id, queue: q, weight: weight, priority: priority, tasks: map[ID]*pending{}, byWorker: map[string]*line{}, byHost: map[string]*line{}}
	s.jobs[id] = j
	q.jobs = append(q.jobs, j)
}

// RemoveJob forgets a job, its pending tasks and what it uses.
func (s *Scheduler) RemoveJob(id string) {
	j := s.jobs[id]
	if j == nil {
		return
	}
	for t := range j.tasks {
		s.Remove(t)
	}
	for t, p := range s.placed {
		if p.job == j {
			s.Done(t)
		}
	}
	delete(s.jobs, id)
	j.queue.jobs = slices.DeleteFunc(j.queue.jobs, func(o *job) bool { return o == j })
}

// Add a task of a job that is known. The same task twice replaces the first.
func (s *Scheduler) Add(t Task) {
	j := s.jobs[t.Job]
	if j == nil {
		return
	}
	s.Remove(t.ID)
	p := &pending{Task: t, job: j, since: s.now}
	j.tasks[t.ID] = p
	switch {
	case t.NoSlot:
		s.control = append(s.control, p)
		return
	case t.Spare:
		s.spare = append(s.spare, p)
		return
	case t.Alone:
		s.alone = append(s.alone, p)
		return
	}
	s.count++
	j.waits(1)
	for _, w := range t.Workers {
		lineOf(j.byWorker, w).push(p)
	}
	for _, h := range t.Hosts {
		lineOf(j.byHost, h).push(p)
	}
	if len(t.Workers)+len(t.Hosts) == 0 {
		j.free.push(p)
	} else {
		j.all.push(p)
	}
}

func lineOf(m map[string]*line, k string) *line {
	l := m[k]
	if l == nil {
		l = &line{}
		m[k] = l
	}
	return l
}

// Remove a task that is pending; others are left alone.
func (s *Scheduler) Remove(t ID) {
	j := s.jobs[t.Job]
	if j == nil {
		return
	}
	if p := j.tasks[t]; p != nil {
		s.take(p)
	}
}

// live is how many tasks of the line wait.
func (l *line) live() int {
	if l == nil {
		return 0
	}
	return len(l.tasks) - l.head - l.gone
}

// take makes a task no longer pending.
func (s *Scheduler) take(p *pending) {
	p.gone = true
	for _, l := range p.lines {
		l.gone++
	}
	delete(p.job.tasks, p.ID)
	if p.at != nil {
		p.at.reserved, p.at = nil, nil
	}
	if !p.NoSlot && !p.Alone && !p.Spare {
		s.count--
		p.job.waits(-1)
	}
}

// fits says whether a task may run on a worker now.
func (s *Scheduler) fits(p *pending, w *worker, times int) bool {
	n := w.need(p)
	if !p.job.queue.room(n) {
		return false
	}
	if len(p.Exclude) > 0 && slices.Contains(p.Exclude, w.ID) && s.others(p.Exclude) {
		return false
	}
	return p.Memory == 0 || w.used+n <= times*w.Slots
}

// others says whether there are workers besides the named ones.
func (s *Scheduler) others(not []string) bool {
	for _, w := range s.order {
		if !w.Closed && !w.Full && w.Slots > 0 && !slices.Contains(not, w.ID) {
			return true
		}
	}
	return false
}
