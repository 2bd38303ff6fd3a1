package job

import (
	"fmt"

	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

type stage struct {
	plan     *plan.Stage
	planned  bool
	tasks    []*task
	why      string // how it was divided
	done     int    // tasks that have won; kept by the records
	lost     int    // of those, whose output nobody holds
	idle     int
	wanted   int
	running  int
	failed   int // attempts
	stats    Stats
	ops      []plan.OpStats // sums over winners
	counters map[string]int64
	started  Instant
	ended    Instant
}

// count keeps the number of tasks in a state. The number done is the records' to keep.
func (s *stage) count(st taskState, n int) {
	switch st {
	case idle:
		s.idle += n
	case wanted:
		s.wanted += n
	case running:
		s.running += n
	}
}

// source is what the stage reads a split of, or -1.
func (s *stage) source() int {
	for _, in := range s.plan.Inputs {
		if in.Mode == plan.BySplit {
			return in.Source
		}
	}
	return -1
}

// addOps adds sign times what the stage's operators did in a task. What is said of
// operators that the plan does not have is not believed.
func (s *stage) addOps(ops []plan.OpStats, sign int64) {
	s.ops = plan.AddOps(s.ops, ops[:min(len(ops), len(s.plan.Ops))], sign)
}

func (s *stage) setTasks(r StagePlanned, now Instant) {
	s.planned, s.why = true, r.Why
	s.tasks = make([]*task, len(r.Tasks))
	all := make([]task, len(r.Tasks))
	for i, p := range r.Tasks {
		all[i] = task{key: Key{s.plan.ID, i}, plan: p, cutter: -1}
		s.tasks[i] = &all[i]
	}
	s.idle = len(s.tasks)
	if len(s.tasks) == 0 {
		s.started, s.ended = now, now
	}
}

// planStage divides a stage into tasks, and says why so.
func (j *Job) planStage(i int) ([]Planned, string) {
	s := j.stages[i].plan
	mode := plan.Whole
	var first plan.Input
	for _, in := range s.Inputs {
		if in.Mode != plan.Whole {
			mode, first = in.Mode, in
			break
		}
	}
	var all []Planned
	var why string
	switch mode {
	case plan.BySplit:
		for n := range j.sources[first.Source].splits {
			all = append(all, Planned{Split: n, ForwardStage: -1})
		}
		why = "one per split"
	case plan.ByForward:
		for _, p := range j.plan.Exchanges[first.Exchange].Producers {
			for n := range j.stages[p].tasks {
				if mutant.On("forward from the wrong producer") {
					n = n / 2
				}
				all = append(all, Planned{Split: -1, ForwardStage: p, ForwardIndex: n})
			}
		}
		why = "one per task before"
	case plan.ByPartition:
		all, why = j.planPartitions(s)
	default:
		all, why = []Planned{{Split: -1, ForwardStage: -1}}, "reads everything"
	}
	if s.MaxTasks > 0 && len(all) > s.MaxTasks {
		why = fmt.Sprintf("%d of %d, evenly chosen", s.MaxTasks, len(all))
		all = evenly(all, s.MaxTasks)
	}
	return all, why
}

func evenly(all []Planned, n int) []Planned {
	out := make([]Planned, n)
	for i := range out {
		out[i] = all[i*len(all)/n]
	}
	return out
}

// planPartitions joins neighbouring partitions by their real sizes, and cuts those of a
// shared input that are much larger than the others.
func (j *Job) planPartitions(s *plan.Stage) ([]Planned, string) {
	var sizes []int64
	fixed := s.MaxTasks > 0
	for _, in := range s.Inputs {
		if in.Mode != plan.ByPartition {
			continue
		}
		x := j.ex[in.Exchange]
		fixed = fixed || x.plan.Fixed
		if sizes == nil {
			sizes = make([]int64, x.plan.Partitions)
		}
		for p, n := range x.totals {
			sizes[p] += n
		}
	}
	w := j.wished(sizes, s.TargetBytes)
	cuts := j.cuts(s, w.bytes())
	if fixed {
		var all []Planned
		for p := range sizes {
			all = append(all, cuts.tasks(p)...)
		}
		return all, "one per partition" + cuts.why()
	}
	return coalesce(sizes, w.tasks, cuts), fmt.Sprintf("%d partitions of %d bytes joined", len(sizes), w.total) + cuts.why()
}

// wish is how many tasks would be best for so many bytes, if they could be cut anyhow.
type wish struct{ total, tasks int64 }

// bytes of one task.
func (w wish) bytes() int64 { return max(1, (w.total+w.tasks-1)/w.tasks) }

// wished is a task for each targetBytes, or more where that would leave slots idle that
// have something worth doing, but not of less than least where there is so much.
func (j *Job) wished(sizes []int64, least int64) wish {
	var w wish
	for _, n := range sizes {
		w.total += n
	}
	w.tasks = (w.total + j.target() - 1) / j.target()
	w.tasks = max(w.tasks, min(w.total/(j.target()/smallShare), int64(j.slots)), 1)
	if least > 0 {
		w.tasks = min(w.tasks, max(w.total/least, 1))
	}
	return w
}

// target is what a task is to read.
func (j *Job) target() int64 {
	if j.spec.TaskBytes > 0 {
		return max(j.spec.TaskBytes, smallShare)
	}
	return targetBytes
}

// coalesce makes ranges of neighbouring partitions of about equal size, about so many as
// are wished for. Partitions that are cut are not joined with others.
func coalesce(sizes []int64, tasks int64, cuts cuts) []Planned {
	var total int64
	for _, n := range sizes {
		total += n
	}
	share := float64(total) / float64(min(tasks, int64(len(sizes))))
	var all []Planned
	lo, sum := 0, int64(0)
	for p, n := range sizes {
		cut := cuts.of(p) > 1
		// Close before p when that comes nearer to the share than closing after it.
		if p > lo && (cut || float64(sum)+float64(n)/2 > share) {
			all = append(all, Planned{Split: -1, Lo: lo, Hi: p, ForwardStage: -1})
			lo, sum = p, 0
			if mutant.On("joined ranges leave a gap") {
				lo++
			}
			if mutant.On("joined ranges overlap") {
				lo--
			}
		}
		if cut {
			all = append(all, cuts.tasks(p)...)
			lo, sum = p+1, 0
			continue
		}
		sum += n
	}
	if lo < len(sizes) {
		all = append(all, Planned{Split: -1, Lo: lo, Hi: len(sizes), ForwardStage: -1})
	}
	return all
}
