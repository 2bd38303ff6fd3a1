package sched

import (
	"slices"
	"strings"
)

// A Queue says how a queue shares with its siblings. Queues are named by paths
// ("etl/nightly"); what is not set is shared alike.
type Queue struct {
	Weight   float64 // its part of what siblings of its priority share; 0: 1
	Min      int     // slots it gets before any sibling gets more than its own Min
	Max      int     // slots it never exceeds, those of queues below it included; 0: no bound
	Priority int32   // higher ones go first, once every Min is met
}

// A queue shares what it gets among its children, queues or jobs. The next slot goes to
// a child that has less than its minimum, the one with the smallest part of it; else to
// the children of the highest priority, of those to the one that has the least for its
// weight (max-min fairness). Nothing that runs is stopped for it: who has too much is
// not given more until the others have caught up.
type queue struct {
	Queue
	name     string
	parent   *queue
	used     int      // slots of tasks below
	pending  int      // tasks below that want a slot
	children []*queue // by name
	jobs     []*job   // by priority, then age
}

func newQueue(parent *queue, name string) *queue {
	return &queue{name: name, parent: parent, Queue: Queue{Weight: 1}}
}

// child finds or makes the queue of a path below q.
func (q *queue) child(path string) *queue {
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		i, ok := slices.BinarySearchFunc(q.children, name, func(c *queue, n string) int { return strings.Compare(c.name, n) })
		if !ok {
			q.children = slices.Insert(q.children, i, newQueue(q, name))
		}
		q = q.children[i]
	}
	return q
}

// SetQueue says how a queue shares, by path.
func (s *Scheduler) SetQueue(path string, q Queue) {
	if q.Weight <= 0 {
		q.Weight = 1
	}
	s.root.child(path).Queue = q
}

// room says whether so many more slots are within the bounds of q and all above it.
func (q *queue) room(slots int) bool {
	for ; q != nil; q = q.parent {
		if q.Max > 0 && q.used+slots > q.Max {
			return false
		}
	}
	return true
}

// standing is a child's place in the order of who is next.
type standing struct {
	needy    bool // below its minimum
	priority int32
	share    float64
}

func (a standing) before(b standing) bool {
	switch {
	case a.needy != b.needy:
		return a.needy
	case !a.needy && a.priority != b.priority:
		return a.priority > b.priority
	}
	return a.share < b.share
}

func (q *queue) standing() standing {
	if q.used < q.Min {
		return standing{needy: true, share: float64(q.used) / float64(q.Min)}
	}
	return standing{priority: q.Priority, share: float64(q.used) / q.Weight}
}

func (j *job) standing() standing {
	return standing{priority: j.priority, share: float64(j.used) / j.weight}
}

// pick finds the task that is to run next on a worker: down the tree, the child whose
// turn it is first, and the next when that has nothing for this worker.
func (s *Scheduler) pick(w *worker, now Instant, times int) (*pending, Level) {
	s.blocked = false
	return s.pickFrom(s.root, w, now, times)
}

func (s *Scheduler) pickFrom(q *queue, w *worker, now Instant, times int) (*pending, Level) {
	if q.pending == 0 || !q.room(1) {
		return nil, Far
	}
	var tried []any
	for {
		var best any
		var first standing
		try := func(c any, st standing, pending int) {
			if pending > 0 && (best == nil || st.before(first)) && (len(tried) == 0 || !slices.Contains(tried, c)) {
				best, first = c, st
			}
		}
		for _, c := range q.children {
			try(c, c.standing(), c.pending)
		}
		for _, j := range q.jobs {
			try(j, j.standing(), j.pending)
		}
		switch b := best.(type) {
		case nil:
			return nil, Far
		case *queue:
			if p, l := s.pickFrom(b, w, now, times); p != nil || s.blocked {
				return p, l
			}
		case *job:
			if times > 1 && !b.brief(s) {
				s.blocked = true // others do not get ahead of it
				return nil, Far
			}
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

// ended notes how long a task of the job took, from its assignment.
func (j *job) ended(took Instant) {
	if j.finished++; j.finished == 1 {
		j.mean = float64(took)
		return
	}
	j.mean += (float64(took) - j.mean) / float64(min(j.finished, 20))
}

// brief says whether the job's tasks are so short that a round trip between two of them
// would matter. Others are not sent ahead: what waits at a worker is what a job that
// comes later has to wait for.
func (j *job) brief(s *Scheduler) bool {
	return j.finished > 0 && j.mean < float64(s.brief)
}
