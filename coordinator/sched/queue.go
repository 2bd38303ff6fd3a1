package sched

import (
	"slices"
	"strings"
)

// A queue shares what it gets among its children, queues or jobs, each in proportion to
// its weight: the next slot goes to the child that has the least for its weight (max-min
// fairness). Queues are named by paths ("etl/nightly"), the root has none.
type queue struct {
	name     string
	parent   *queue
	weight   float64
	used     int      // slots of tasks below
	pending  int      // tasks below that want a slot
	children []*queue // by name
	jobs     []*job   // by priority, then age
}

func newQueue(parent *queue, name string, weight float64) *queue {
	return &queue{name: name, parent: parent, weight: weight}
}

// child finds or makes the queue of a path below q.
func (q *queue) child(path string) *queue {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		i, ok := slices.BinarySearchFunc(q.children, name, func(c *queue, n string) int { return strings.Compare(c.name, n) })
		if !ok {
			q.children = slices.Insert(q.children, i, newQueue(q, name, 1))
		}
		q = q.children[i]
	}
	return q
}

// SetQueue sets the weight of a queue, by path; queues that are not set weigh 1.
func (s *Scheduler) SetQueue(path string, weight float64) {
	if weight > 0 {
		s.root.child(path).weight = weight
	}
}

// pick finds the task that is to run next on a worker: down the tree, the child with the
// least for its weight first, and the next when that has nothing for this worker.
func (s *Scheduler) pick(w *worker, now Instant, times int) (*pending, Level) {
	return s.pickFrom(s.root, w, now, times)
}

func (s *Scheduler) pickFrom(q *queue, w *worker, now Instant, times int) (*pending, Level) {
	if q.pending == 0 {
		return nil, Far
	}
	var tried []any
	for {
		var best any
		var share float64
		var priority int32
		for _, c := range q.children {
			if c.pending == 0 || slices.Contains(tried, any(c)) {
				continue
			}
			if f := float64(c.used) / c.weight; best == nil || f < share {
				best, share, priority = c, f, 0
			}
		}
		for _, j := range q.jobs {
			if j.pending == 0 || len(tried) > 0 && slices.Contains(tried, any(j)) {
				continue
			}
			f := float64(j.used) / j.weight
			if best == nil || j.priority > priority || j.priority == priority && f < share {
				best, share, priority = j, f, j.priority
			}
		}
		switch b := best.(type) {
		case nil:
			return nil, Far
		case *queue:
			if p, l := s.pickFrom(b, w, now, times); p != nil {
				return p, l
			}
		case *job:
			if p, l := s.pickTask(b, w, now, times); p != nil {
				return p, l
			}
		}
		tried = append(tried, best)
	}
}

// charge adds to what a job and the queues above it use.
func (j *job) charge(slots int) {
	j.used += slots
	for q := j.queue; q != nil; q = q.parent {
		q.used += slots
	}
}

func (j *job) waits(n int) {
	j.pending += n
	for q := j.queue; q != nil; q = q.parent {
		q.pending += n
	}
}
