package job

import (
	"fmt"
	"slices"

	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
)

// A key that many rows have makes one partition of a join much larger than the others. If
// the plan says that the rows of one of its inputs may be shared out, such a partition is
// cut: several tasks read it, each the rows of some of the producers of that input, and
// all of them the whole partition of the others.
const (
	// cutTimes is how many times the size of a usual partition one has that is cut.
	cutTimes = 4
	// cutGain is what part of the shared rows the others, which are read again and again,
	// may be at most.
	cutGain = 0.5
)

// cuts is into how many tasks each partition is cut; nil: none is.
type cuts []int

func (c cuts) of(p int) int {
	if c == nil {
		return 1
	}
	return c[p]
}

// tasks are those that read a partition by itself.
func (c cuts) tasks(p int) []Planned {
	n := c.of(p)
	if n == 1 {
		return []Planned{{Split: -1, Lo: p, Hi: p + 1, ForwardStage: -1}}
	}
	var all []Planned
	for i := range n {
		if i == n-1 && mutant.On("a share is forgotten") {
			continue
		}
		t := Planned{Split: -1, Lo: p, Hi: p + 1, ForwardStage: -1, Share: i, Of: n}
		if i == 0 && mutant.On("shares overlap") {
			t.Of = 0
		}
		all = append(all, t)
	}
	return all
}

// why puts it into words, to follow how the others were divided.
func (c cuts) why() string {
	partitions, tasks, last := 0, 0, 0
	for p, n := range c {
		if n > 1 {
			partitions, tasks, last = partitions+1, tasks+n, p
		}
	}
	switch partitions {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; %d is much larger than the others and shared out to %d tasks", last, tasks)
	}
	return fmt.Sprintf("; %d are much larger than the others and shared out to %d tasks", partitions, tasks)
}

// cuts says which partitions of a stage are worth to be cut into tasks of target bytes.
func (j *Job) cuts(s *plan.Stage, target int64) cuts {
	shared := slices.IndexFunc(s.Inputs, func(in plan.Input) bool { return in.Shared && in.Mode == plan.ByPartition })
	if shared < 0 || s.MaxTasks > 0 {
		return nil
	}
	x := j.ex[s.Inputs[shared].Exchange]
	others := make([]int64, len(x.totals))
	for i, in := range s.Inputs {
		if i != shared && in.Mode == plan.ByPartition {
			for p, n := range j.ex[in.Exchange].totals {
				others[p] += n
			}
		}
	}
	most := 0 // shares that have a producer
	for _, p := range x.plan.Producers {
		most = max(most, len(j.stages[p].tasks))
	}
	return cutsOf(x.totals, others, target, min(most, j.slots))
}

// cutsOf cuts the partitions of a shared input that are much larger than the usual one
// into shares of about target bytes, at most so many, and no more than pay: what is read
// again of the others is less than half of what the shares have.
func cutsOf(shared, others []int64, target int64, most int) cuts {
	var all cuts
	sorted := slices.Sorted(slices.Values(shared))
	usual := sorted[(len(sorted)-1)/2]
	for p, n := range shared {
		shares := min(int64(most), (n+target-1)/target)
		if others[p] > 0 {
			shares = min(shares, 1+int64(float64(n)*cutGain/float64(others[p])))
		}
		if n <= cutTimes*usual || shares < 2 {
			continue
		}
		if all == nil {
			all = slices.Repeat(cuts{1}, len(shared))
		}
		all[p] = int(shares)
	}
	return all
}
