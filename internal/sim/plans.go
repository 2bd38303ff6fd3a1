package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
)

// shapes of jobs, in words: see parse.
var shapes = []string{
	"stage split:0 > sink:0",
	"exchange hash 4 fixed\nstage split:0 > ex:0\nstage partition:0 > sink:0",
	"exchange hash 8\nexchange hash 6\nstage split:0 > ex:0\nstage partition:0 > ex:1\nstage partition:1 > sink:0",
	"exchange broadcast 1\nexchange hash 5\nstage split:0 > ex:0\nstage split:1 whole:0 > ex:1\nstage partition:1 > sink:0",
	"exchange broadcast 1\nexchange range 4\nstage split:0 > ex:0 max=2\nstage split:0 whole:0 > ex:1\nstage partition:1 > sink:0\nstage split:1 > sink:1",
	"exchange forward 0\nexchange hash 4\nstage split:0 > ex:0\nstage forward:0 > ex:1\nstage forward:0 > sink:0\nstage partition:1 > sink:1",
	"exchange hash 3 fixed\nexchange hash 3 fixed\nstage split:0 > ex:0\nstage split:1 > ex:1\nstage partition:0 partition:1 > sink:0",
	"exchange hash 4\nexchange broadcast 1\nstage split:0 > ex:0\nstage partition:0 > ex:1\nstage whole:1 > sink:0",
	"exchange hash 4 fixed\nexchange forward 0\nexchange hash 4 fixed\nstage split:0 > ex:0\nstage partition:0 > ex:1\nstage forward:1 > ex:2\nstage partition:2 > sink:0",
	"exchange hash 16\nexchange hash 16\nstage split:0 > ex:0\nstage split:1 > ex:1\nstage shared:0 partition:1 > sink:0",
	"exchange hash 16 fixed\nexchange hash 16 fixed\nexchange hash 3\nstage split:0 > ex:0\nstage split:1 > ex:1\nstage shared:0 partition:1 > ex:2\nstage partition:2 > sink:0",
}

var plans = func() []*plan.Plan {
	var all []*plan.Plan
	for _, s := range shapes {
		all = append(all, parse(s))
	}
	return all
}()

// parse reads "exchange KIND PARTITIONS [fixed]" and "stage MODE:ID... > ex:ID|sink:ID
// [max=N]"; shared is the mode of partitions that may be shared out, which the stage joins
// with those of the others.
func parse(text string) *plan.Plan {
	p := &plan.Plan{Version: plan.Version, Job: "sim"}
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Fields(line)
		if f[0] == "exchange" {
			n, _ := strconv.Atoi(f[2])
			x := plan.Exchange{ID: len(p.Exchanges), Fixed: slices.Contains(f, "fixed")}
			x.Kind, x.Partitions = dataflow.ExchangeKind(f[1]), n
			p.Exchanges = append(p.Exchanges, x)
			continue
		}
		s := plan.Stage{ID: len(p.Stages), Name: fmt.Sprintf("s%d", len(p.Stages)), Output: plan.Output{Exchange: -1, Sink: -1, Sample: -1}}
		for _, word := range f[1:] {
			name, n, _ := strings.Cut(word, ":")
			id, _ := strconv.Atoi(n)
			switch name {
			case ">":
			case "ex":
				s.Output.Exchange = id
				p.Exchanges[id].Producers = append(p.Exchanges[id].Producers, s.ID)
			case "sink":
				s.Output.Sink = id
				for len(p.Sinks) <= id {
					p.Sinks = append(p.Sinks, plan.Sink{ID: len(p.Sinks), Mode: dataflow.Fail})
				}
			case "split":
				s.Inputs = append(s.Inputs, plan.Input{Mode: plan.BySplit, Source: id, Exchange: -1})
				for len(p.Sources) <= id {
					p.Sources = append(p.Sources, plan.Source{ID: len(p.Sources)})
				}
			default:
				if m, ok := strings.CutPrefix(word, "max="); ok {
					s.MaxTasks, _ = strconv.Atoi(m)
					continue
				}
				in := plan.Input{Mode: plan.InputMode(name), Source: -1, Exchange: id}
				if name == "shared" {
					in.Mode, in.Shared = plan.ByPartition, true
				}
				s.Inputs = append(s.Inputs, in)
				p.Exchanges[id].Consumers = append(p.Exchanges[id].Consumers, s.ID)
			}
		}
		p.Stages = append(p.Stages, s)
	}
	return p
}

var planJSON = func() [][]byte {
	var all [][]byte
	for _, p := range plans {
		b, err := p.JSON()
		if err != nil {
			panic(err)
		}
		all = append(all, b)
	}
	return all
}()

// A jobDef is a job as its author knows it.
type jobDef struct {
	name    string
	shape   int
	plan    *plan.Plan
	json    []byte
	sources [][][]uint64 // rows by source and split
	want    [][]uint64   // rows of each sink when nothing goes wrong, sorted
	unit    int64        // bytes of a row
	pace    int64        // longest half of a task
	noisy   int          // the stage whose output depends on the attempt, -1
	doomed  [2]int32     // the task that meets a bad record
	poison  [2]int32     // the task that kills its process
	lags    [2]int32     // a task that takes long
	failed  map[[2]int32]int
	killed  map[[2]int32]int
	ids     []string // that the coordinator gave it: exactly one is right
	rng     *rand.Rand
}

var none = [2]int32{-99, 0}

func (w *world) makeJob(n int) *jobDef {
	shape := w.rng.IntN(len(plans))
	d := &jobDef{
		name: fmt.Sprintf("job%c", 'a'+n), shape: shape, plan: plans[shape], json: planJSON[shape], noisy: -1, doomed: none, poison: none,
		unit: []int64{1 << 10, 4 << 20, 30 << 20}[w.rng.IntN(3)], failed: map[[2]int32]int{}, killed: map[[2]int32]int{},
		pace: []int64{50 * ms, 500 * ms, 4 * second}[w.rng.IntN(3)], rng: w.rng,
	}
	row := uint64(n+1) << 32
	for range d.plan.Sources {
		splits := make([][]uint64, w.rng.IntN(6))
		for i := range splits {
			for range w.rng.IntN(8) {
				row++
				splits[i] = append(splits[i], row)
			}
		}
		d.sources = append(d.sources, splits)
	}
	d.want = d.outcome()
	d.lags = [2]int32{int32(w.rng.IntN(1 + w.rng.IntN(len(d.plan.Stages)))), int32(w.rng.IntN(6))}
	stage := int32(w.rng.IntN(len(d.plan.Stages)))
	switch k := w.rng.IntN(100); {
	case k < 4:
		d.doomed = [2]int32{stage, 0}
	case k < 7:
		d.poison = [2]int32{stage, 0}
	case k < 35 && d.plan.Stages[stage].Output.Exchange >= 0 && d.plan.Stages[stage].MaxTasks == 0 && !d.joined(int(stage)):
		d.noisy = int(stage)
	}
	return d
}

// joined says that a stage's rows are joined by partition: what comes of them depends on
// which they are in.
func (d *jobDef) joined(stage int) bool {
	for _, c := range d.plan.Exchanges[d.plan.Stages[stage].Output.Exchange].Consumers {
		if joins(d.plan, &d.plan.Stages[c]) != nil {
			return true
		}
	}
	return false
}

// layout is how many rows each split has.
func (d *jobDef) layout() string {
	var all [][]int
	for _, splits := range d.sources {
		var n []int
		for _, s := range splits {
			n = append(n, len(s))
		}
		all = append(all, n)
	}
	return fmt.Sprint(all)
}

// duration of half a task: mostly short, some much longer than others.
func (d *jobDef) duration(w *world, a attempt) int64 {
	if d.lags == [2]int32{a.stage, a.index} {
		return w.between(ms, 5*second)
	}
	return w.between(ms, d.pace>>w.rng.IntN(6))
}

// mayFail lets a task fail, but never as often as would be too often.
func (d *jobDef) mayFail(a attempt, wx weather) bool {
	k := [2]int32{a.stage, a.index}
	if wx.failing == 0 || d.failed[k]+d.killed[k] >= 2 || d.rng.IntN(1000) >= wx.failing {
		return false
	}
	d.failed[k]++
	return true
}

// kills notes that a task lost its host.
func (d *jobDef) kills(a attempt) { d.killed[[2]int32{a.stage, a.index}]++ }

// mayKill says whether a host may die without making poison of one of its tasks.
func (h *whost) mayKill() bool {
	for _, t := range h.k.tasks {
		if k := [2]int32{t.id.stage, t.id.index}; t.host == h && !t.ended() && h.j.def.killed[k]+h.j.def.failed[k] >= 3 {
			return false
		}
	}
	return true
}

func mix(x uint64) uint64 {
	x ^= x >> 31
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	return x ^ x>>32
}

// transform is what every stage does: each row becomes another that depends on all of
// the side inputs; with side inputs alone, these are the rows.
func transform(s *plan.Stage, main, side []uint64) []uint64 {
	alone := true
	for _, in := range s.Inputs {
		alone = alone && in.Mode == plan.Whole
	}
	if alone {
		main, side = side, nil
	}
	sum := rowHash(side)
	out := make([]uint64, len(main))
	for i, r := range main {
		out[i] = mix(r + sum + uint64(s.ID))
	}
	return out
}

// joins are the exchanges whose rows a stage joins, the one that may be shared out first;
// nil for a stage that does not.
func joins(p *plan.Plan, s *plan.Stage) []*plan.Exchange {
	for i, in := range s.Inputs {
		if in.Shared {
			return []*plan.Exchange{&p.Exchanges[in.Exchange], &p.Exchanges[s.Inputs[1-i].Exchange]}
		}
	}
	return nil
}

// beside is rows of the first of two exchanges, joined with those of the other that are in
// the same partition: each becomes another that depends on all of these.
func beside(x []*plan.Exchange, rows, others []uint64) []uint64 {
	var out []uint64
	right := partition(x[1], others, 0)
	for p, part := range partition(x[0], rows, 0) {
		for _, r := range part {
			out = append(out, mix(r+rowHash(right[p])))
		}
	}
	return out
}

func rowHash(rows []uint64) uint64 {
	var sum uint64
	for _, r := range rows {
		sum += mix(r ^ 0xabcdef)
	}
	return sum
}

// skewedFrom is how many partitions an exchange has that is skewed: every second row lies
// in the one of its own number.
const skewedFrom = 16

func partition(x *plan.Exchange, rows []uint64, noise uint64) [][]uint64 {
	n := max(1, x.Partitions)
	parts := make([][]uint64, n)
	for _, r := range rows {
		h := mix(r ^ noise<<7)
		p := h % uint64(n)
		if n >= skewedFrom && h>>32%2 == 0 {
			p = uint64(x.ID)
		}
		parts[p] = append(parts[p], r)
	}
	return parts
}

// outcome computes the job without tasks: the oracle.
func (d *jobDef) outcome() [][]uint64 {
	through := make([][]uint64, len(d.plan.Exchanges))
	want := make([][]uint64, len(d.plan.Sinks))
	for i := range d.plan.Stages {
		s := &d.plan.Stages[i]
		var main, others, side []uint64
		join := joins(d.plan, s)
		for _, in := range s.Inputs {
			if join != nil && !in.Shared {
				others = append(others, through[in.Exchange]...)
				continue
			}
			switch in.Mode {
			case plan.BySplit:
				splits := d.sources[in.Source]
				n := len(splits)
				if s.MaxTasks > 0 {
					n = min(n, s.MaxTasks)
				}
				for t := range n {
					main = append(main, splits[t*len(splits)/n]...)
				}
			case plan.Whole:
				side = append(side, through[in.Exchange]...)
			default:
				main = append(main, through[in.Exchange]...)
			}
		}
		if join != nil {
			main = beside(join, main, others)
		}
		out := transform(s, main, side)
		if x := s.Output.Exchange; x >= 0 {
			through[x] = append(through[x], out...)
		} else {
			want[s.Output.Sink] = append(want[s.Output.Sink], out...)
		}
	}
	for _, w := range want {
		slices.Sort(w)
	}
	return want
}
