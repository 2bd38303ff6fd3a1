package job

import (
	"maps"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/dataflow/plan"
)

// exchange knows where the outputs of its producers lie and how large its partitions are.
type exchange struct {
	plan   *plan.Exchange
	totals []int64 // bytes by partition, of all producers that have ever won
	// held is what lies on each worker by partition, to place readers by. A hint: what
	// a single lost output took away is not subtracted.
	held map[string][]int64
	// log lists the outputs as they won; the last of a producer counts. One that is lost
	// stays until another has won: who reads meanwhile finds that it is gone, and never
	// takes what is left for the whole. Each raises the version by one, from base.
	log  []*Win
	base int64
}

func newExchange(p *plan.Exchange, epoch uint64) *exchange {
	return &exchange{plan: p, totals: make([]int64, p.Partitions), held: map[string][]int64{}, base: int64(epoch) << epochShift}
}

func (x *exchange) version() int64 { return x.base + int64(len(x.log)) }

// rebase begins the versions of a new epoch, above all that were told before.
func (x *exchange) rebase(epoch uint64) { x.base = int64(epoch) << epochShift }

// won adds a winner's output and forgets its sizes.
func (x *exchange) won(t *task) {
	w := t.won
	row := x.held[w.Worker.ID]
	if row == nil {
		row = make([]int64, len(x.totals))
		x.held[w.Worker.ID] = row
	}
	for p, n := range w.Result.Bytes[:min(len(w.Result.Bytes), len(row))] {
		row[p] += n
		if !t.summed {
			x.totals[p] += n
		}
	}
	t.summed = true
	kept := *w.Result
	kept.Bytes, kept.Rows = nil, nil
	w.Result = &kept
	x.log = append(x.log, w)
}

// Locations is what a reader that was told everything up to version since (0: nothing)
// must be told: the blocks to add, or with reset to replace all by. A later one of a
// producer replaces an earlier one.
func (j *Job) Locations(exchange int, since int64) (blocks []*Win, reset bool, version int64) {
	x := j.ex[exchange]
	if since < x.base {
		return x.log, true, x.version()
	}
	return x.log[since-x.base:], false, x.version()
}

// Version of what is known of an exchange's blocks.
func (j *Job) Version(exchange int) int64 { return j.ex[exchange].version() }

// Readers says whether any attempt that reads the exchange is on a worker.
func (j *Job) readers(exchange int) bool {
	for _, c := range j.ex[exchange].plan.Consumers {
		if c < len(j.stages) && j.stages[c].running > 0 {
			return true
		}
	}
	return false
}

func (j *Job) moved(exchange int) {
	if j.readers(exchange) {
		j.do(Moved{exchange})
	}
}

// heaviest are the workers that hold much of a range of a stage's partitions: at most
// three, best first, none when there is little to win.
func (j *Job) heaviest(s *plan.Stage, lo, hi int) []string {
	sums := map[string]int64{}
	var total int64
	for _, in := range s.Inputs {
		if in.Mode != plan.ByPartition {
			continue
		}
		for w, row := range j.ex[in.Exchange].held {
			for _, n := range row[lo:min(hi, len(row))] {
				sums[w] += n
				total += n
			}
		}
	}
	names := slices.SortedFunc(maps.Keys(sums), func(a, b string) int {
		if sums[a] != sums[b] {
			return int(max(-1, min(1, sums[b]-sums[a])))
		}
		return strings.Compare(a, b)
	})
	if len(names) == 0 || sums[names[0]]*5 < total || total < smallBytes {
		return nil
	}
	most := sums[names[0]]
	n := 0
	for n < len(names) && n < 3 && sums[names[n]]*2 >= most {
		n++
	}
	return names[:n]
}
