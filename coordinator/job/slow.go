package job

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

// A task is compared with others of its stage only when a part of them has ended, and
// never over less than slowFloor: a copy has its price.
const (
	compareFrom = 4 // one in so many has ended
	slowFloor   = time.Second
	silentFloor = 2 * time.Second // of what speaks each second
	copiesPart  = 10              // of running tasks one in so many may have a copy, always one
)

// Progress is what an attempt has done so far, as its worker says.
type Progress struct {
	Attempt Attempt
	Worker  Worker
	Done    Amounts
	// Fraction of its input that it has read, 0: not known.
	Fraction float64
	Elapsed  time.Duration // since it began
	Waited   time.Duration // of that, for blocks of others
	// Silent is how long its worker or its host has said nothing, 0: it speaks.
	Silent time.Duration
}

// Amounts grow as long as an attempt gets on: Steps of a control task and of a sink's
// writer, the others of a stage's.
type Amounts struct{ RowsIn, BytesIn, RowsOut, BytesOut, BytesSpilled, Steps int64 }

// pace is what is known of how an attempt gets on.
type pace struct {
	seen     bool // its worker has spoken of it
	began    Instant
	moved    Instant // when it last got on
	done     Amounts
	fraction float64
	waited   time.Duration
	silent   time.Duration
	told     bool    // that it is slow
	asked    Instant // for a part of its split, 0: never
	answered bool    // it has said what it gives, or that it gives nothing
}

// observed compares attempts with others and with what they were: one that does not get
// on at all is given up, one that is far behind gets a copy beside it where a slot is
// idle. Which of the two wins is decided as always: by which is journalled first.
func (j *Job) observed(e Observed) {
	for _, p := range e.Progress {
		t := j.task(p.Attempt.Key)
		if t == nil || j.dead(p.Attempt.Key) {
			continue
		}
		i := t.on(p.Attempt.Number)
		if i < 0 || t.running[i].worker != p.Worker {
			continue
		}
		at := &t.running[i].pace
		if !at.seen {
			at.seen, at.began, at.moved = true, j.now-Instant(p.Elapsed), j.now
		}
		at.fraction, at.waited, at.silent = p.Fraction, p.Waited, p.Silent
		if p.Done != at.done {
			at.done, at.moved = p.Done, j.now
		}
		if still := time.Duration(j.now - at.moved); e.Hung > 0 && still >= e.Hung {
			j.hung(t, t.running[i], still)
		}
	}
	if !j.state.Final() {
		j.copySlow(j.copySilent(e.Idle))
	}
}

// copySilent starts copies of tasks whose worker or host says nothing, as far as slots are
// idle, and returns how many are idle then. Others wait for these tasks, and the lease of
// what is silent is long: whoever wins, the other one is taken back.
func (j *Job) copySilent(idle int) int {
	for i, s := range j.stages {
		if s.running == 0 || !j.ready(i) {
			continue
		}
		for _, t := range s.tasks {
			if idle == 0 {
				return 0
			}
			if len(t.running) != 1 || t.spare > 0 || t.alone {
				continue
			}
			at := &t.running[0]
			if at.pace.silent < silentFloor || at.pace.told {
				continue
			}
			at.pace.told = true
			j.record(TaskSlow{
				Attempt: Attempt{t.key, at.number}, Worker: at.worker, Copy: true,
				Why: fmt.Sprintf("nothing was heard of it for %s: its worker or its host is stopped, or starved", at.pace.silent.Round(time.Millisecond)),
			})
			idle--
			j.double(t, at.worker)
		}
	}
	return idle
}

// hung gives up an attempt that does not get on.
func (j *Job) hung(t *task, p placed, still time.Duration) {
	a := Attempt{t.key, p.number}
	j.drop(t, a)
	if len(t.running) == 0 {
		j.set(t, idle)
	}
	what := "no row or byte moved"
	if t.key.Control() {
		what = "nothing was done"
	}
	why := fmt.Sprintf("%s in task %s/%s on worker %s for %s: it hangs; see its log for where", what, j.spec.ID, a, p.worker.ID, still.Round(time.Millisecond))
	j.record(TaskFailed{Failure: Failure{Attempt: a, Worker: p.worker, Kind: dataflow.Transient, Message: why}, Counted: true, Next: t.memory, Alone: t.alone})
	j.takeBack(a, p.worker, why)
	if t.doom != "" {
		j.giveUpOn(t)
		return
	}
	j.again(t, dataflow.Transient)
}

// lag is a task that is far behind.
type lag struct {
	t        *task
	expected time.Duration
	left     time.Duration // about how long it still takes
	elapsed  time.Duration
}

// copySlow asks the tasks that are furthest behind to give away a part of what they read,
// and starts copies of those that cannot, as far as slots are idle.
func (j *Job) copySlow(idle int) {
	copies, runs := 0, 0
	var slow []lag
	norms := map[int]norm{}
	for i, s := range j.stages {
		if s.running == 0 {
			continue
		}
		runs += s.running
		for _, t := range s.tasks {
			copies += max(len(t.running)-1, 0)
			if t.spare > 0 {
				copies++
			}
		}
		// While others of the stage wait for slots none is idle.
		if s.wanted == 0 && s.done > 0 && s.done*compareFrom >= len(s.tasks) && j.ready(i) {
			norms[i] = j.norm(s)
			slow = append(slow, j.lagging(s, norms[i])...)
		}
	}
	slices.SortStableFunc(slow, func(a, b lag) int { return cmp.Compare(b.left, a.left) })
	for _, l := range slow {
		t, at := l.t, l.t.running[0]
		if j.unanswered(at.pace) {
			continue
		}
		ask := idle > 0 && at.pace.asked == 0 && l.left >= cutFrom && t.cutter != at.number && j.mayCut(t)
		start := !ask && idle > 0 && copies < max(1, runs/copiesPart)
		if ask {
			idle--
			j.askCut(t)
		}
		if !start && at.pace.told {
			continue
		}
		s := j.stages[t.key.Stage]
		t.running[0].pace.told = true
		j.record(TaskSlow{
			Attempt: Attempt{t.key, at.number}, Worker: at.worker, Copy: start,
			Why: fmt.Sprintf("it has run for %s, the median of its stage is %s: %s", l.elapsed.Round(time.Millisecond), norms[t.key.Stage].wall.Round(time.Millisecond), j.cause(s, l, norms[t.key.Stage])),
		})
		if start {
			idle--
			copies++
			j.double(t, at.worker)
		}
	}
}

// double wants a copy of a task that runs on a worker, if it has none.
func (j *Job) double(t *task, on Worker) {
	if t.alone || t.spare > 0 || len(t.running) != 1 {
		return
	}
	t.copies++
	t.spare = t.copies
	j.do(Want{Key: t.key, Copy: t.spare, Memory: t.memory, Exclude: addName(t.exclude, on.ID)})
}

// unspare takes back the wish for a copy that has not been launched.
func (j *Job) unspare(t *task) {
	if t.spare > 0 {
		if !mutant.On("a copy stays wanted") {
			j.do(Unwant{Key: t.key, Copy: t.spare})
		}
		t.spare = 0
	}
}

// norm is what is usual in a stage.
type norm struct {
	wall time.Duration // of tasks that are done
	size int64         // of tasks' inputs, bytes; 0: not known
}

func (j *Job) norm(s *stage) norm {
	var walls, sizes []int64
	for _, t := range s.tasks {
		sizes = append(sizes, j.size(t))
		if t.won != nil {
			walls = append(walls, t.won.Result.Stats.WallNanos)
		}
	}
	return norm{time.Duration(median(walls)), median(sizes)}
}

func median(all []int64) int64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// size of a task's input in bytes, as far as it is known.
func (j *Job) size(t *task) int64 {
	if sp := j.split(t); sp != nil {
		return sp.Bytes
	}
	var n int64
	for _, in := range j.stages[t.key.Stage].plan.Inputs {
		if in.Mode == plan.ByPartition {
			totals := j.ex[in.Exchange].totals
			for _, b := range totals[t.plan.Lo:min(t.plan.Hi, len(totals))] {
				n += b
			}
		}
	}
	return n
}

// lagging lists the tasks of a stage that are far behind: more is left of them than twice
// what a task of their size takes, or they have taken much more than that already.
func (j *Job) lagging(s *stage, n norm) []lag {
	var out []lag
	for _, t := range s.tasks {
		if t.state != running || len(t.running) != 1 || t.spare > 0 || t.alone || !t.running[0].pace.seen {
			continue
		}
		at := t.running[0].pace
		size := j.size(t)
		l := lag{t: t, expected: n.wall, elapsed: time.Duration(j.now - at.began)}
		if n.size > 0 && size > n.size {
			l.expected = time.Duration(float64(n.wall) * float64(size) / float64(n.size))
		}
		f := at.fraction
		if f <= 0 && size > 0 {
			f = min(float64(at.done.BytesIn)/float64(size), 1)
		}
		l.left = l.elapsed
		late := l.elapsed > l.expected*3/2+slowFloor
		if f > 0 {
			l.left = time.Duration(float64(l.elapsed) * (1 - f) / f)
			late = l.elapsed > max(l.expected/2, slowFloor) && l.left > max(2*l.expected, slowFloor) ||
				l.elapsed > 3*l.expected+slowFloor
		}
		if late {
			out = append(out, l)
		}
	}
	return out
}

// cause says in words why a task is slow, as far as one can tell from here.
func (j *Job) cause(s *stage, l lag, n norm) string {
	at := l.t.running[0]
	if size := j.size(l.t); n.size > 0 && size > 2*n.size {
		return fmt.Sprintf("skew: it reads %d bytes, the median is %d", size, n.size)
	}
	if at.pace.waited > l.elapsed/2 {
		return fmt.Sprintf("fetch wait: %s of it went on waiting for blocks of other workers", at.pace.waited.Round(time.Millisecond))
	}
	var walls []int64
	others := 0
	for _, t := range s.tasks {
		switch {
		case t == l.t:
		case t.won != nil && t.won.Worker == at.worker:
			walls = append(walls, t.won.Result.Stats.WallNanos)
		case len(t.running) > 0 && t.running[0].worker == at.worker && t.running[0].pace.seen:
			if time.Duration(j.now-t.running[0].pace.began) > 2*n.wall {
				others++
			}
		}
	}
	if m := time.Duration(median(walls)); m > 2*n.wall {
		return fmt.Sprintf("slow node: other tasks of the stage took %s on worker %s", m.Round(time.Millisecond), at.worker.ID)
	}
	if others > 0 {
		return fmt.Sprintf("slow node: %d other tasks of the stage are slow on worker %s", others, at.worker.ID)
	}
	return "its input, its worker and its fetches are no different from others', as far as can be seen"
}
