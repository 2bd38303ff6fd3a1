package job

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

// TestRandomLives leads jobs through random weather: attempts that end well, badly, late
// or twice, workers that are lost or come back, restarts, a cancel now and then. After
// every step the machine equals its replay (see history.take). Every life ends, cleaned;
// a job that succeeded has one winner per task and sums that are theirs alone.
func TestRandomLives(t *testing.T) {
	plans := []string{
		"exchange hash 3 fixed\nexchange hash 2 fixed\nstage split:0 > ex:0\nstage partition:0 > ex:1\nstage partition:1 > sink:0",
		"exchange broadcast 1\nexchange range 4\nstage split:0 > ex:0 max=2\nstage split:0 whole:0 > ex:1\nstage partition:1 > sink:0\nstage split:1 > sink:1",
		"exchange forward 0\nexchange hash 2\nstage split:0 > ex:0\nstage forward:0 > ex:1\nstage forward:0 > sink:0\nstage partition:1 > sink:1",
		"exchange hash 4\nexchange hash 4\nstage split:0 > ex:0\nstage split:1 > ex:1\nstage shared:0 partition:1 > sink:0",
	}
	ends, copies, cuts, shares, founds := map[State]int{}, int64(0), 0, 0, 0
	seeds := race.Tries(150, 150, 30)
	for seed := range uint64(seeds) {
		l := &life{history: history{t: t, epoch: 1}, rng: rand.New(rand.NewPCG(seed, 7)), lost: map[Worker]bool{}, cuts: map[Attempt]*Cut{}}
		l.spec = Spec{ID: "j", Plan: parsePlan(t, plans[seed%uint64(len(plans))]), Epoch: 1}
		l.job = New(l.spec)
		l.step(Submitted{Slots: 4})
		for n := 0; !l.job.Over(); n++ {
			if n > 20_000 {
				t.Fatalf("seed %d does not end: %+v", seed, l.job.Status(true))
			}
			l.weather(n)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		ends[l.job.State()]++
		copies += l.job.copies
		lost := map[Attempt]bool{}
		for _, r := range l.records {
			switch r := r.(type) {
			case OutputLost:
				lost[r.Attempt] = true
			case OutputMoved:
				if lost[r.Attempt] {
					founds++
					delete(lost, r.Attempt)
				}
			case TaskSplit:
				cuts++
			case StagePlanned:
				for _, p := range r.Tasks {
					shares += min(p.Of, 1)
				}
			}
		}
		if l.job.State() == Succeeded {
			l.checkSums(seed)
		}
	}
	few := seeds < 100 // too few to say that what is rare has come
	if ends[Succeeded] < seeds/3 || !few && (ends[Canceled] < seeds/50 || copies < int64(seeds/10) || cuts < seeds/15 || shares < seeds/5 || founds < seeds/50) {
		t.Errorf("the lives ended %v, with %d copies, %d cuts, %d shares of partitions and %d lost outputs that were found again", ends, copies, cuts, shares, founds)
	}
	t.Log(ends, founds)
}

type life struct {
	history
	rng  *rand.Rand
	out  []placement // launched, not reported
	told []Done      // reported, perhaps not acknowledged
	lost map[Worker]bool
	gen  [4]int       // incarnations
	gone [4][]Attempt // what those before the last one held when they were lost
	cuts map[Attempt]*Cut
}

type placement struct {
	a Attempt
	w Worker
}

func (l *life) worker() Worker {
	i := l.rng.IntN(len(l.gen))
	return Worker{fmt.Sprintf("w%d", i), fmt.Sprint(l.gen[i])}
}

func (l *life) weather(n int) {
	l.now += 1000
	// Later lives are calmer, so that they end.
	calm := n > 300
	switch k := l.rng.IntN(100); {
	case k < 45:
		if len(l.wanted) > 0 {
			key := l.wanted[l.rng.IntN(len(l.wanted))]
			w := l.worker()
			a := Attempt{key, l.job.NextAttempt()}
			l.wanted = remove(l.wanted, key)
			l.out = append(l.out, placement{a, w})
			l.step(Launched{Attempt: a, Worker: w, Double: l.rng.IntN(8) == 0})
		} else if len(l.spares) > 0 {
			c := l.spares[0]
			l.spares = l.spares[1:]
			p := placement{Attempt{c.Key, l.job.NextAttempt()}, l.worker()}
			l.out = append(l.out, p)
			l.step(Launched{Attempt: p.a, Worker: p.w, Copy: c.Copy})
		}
	case k < 85 || calm:
		l.end(calm)
	case k < 87:
		if len(l.told) > 0 { // a copy of an old report
			if d := l.told[l.rng.IntN(len(l.told))]; !l.lost[d.Worker] {
				l.step(d)
			}
		}
	case k < 90:
		i := l.rng.IntN(len(l.gen))
		w := Worker{fmt.Sprintf("w%d", i), fmt.Sprint(l.gen[i])}
		held := l.job.Held()[w]
		l.gen[i]++
		if l.rng.IntN(4) == 0 { // started anew before it was missed
			l.comeBack(i, held)
		}
		l.lost[w] = true
		l.step(WorkerLost{w, "weather"})
		l.gone[i] = append(l.gone[i], held...)
	case k < 92 && len(l.gone[k%len(l.gone)]) > 0:
		l.comeBack(k%len(l.gone), l.gone[k%len(l.gone)])
	case k < 93:
		if w := l.worker(); l.rng.IntN(2) == 0 {
			l.step(OutputsLost{l.job.Held()[w], "weather", l.rng.IntN(2) == 0})
		}
	case k < 94:
		l.restart()
	case k < 95:
		if l.rng.IntN(12) == 0 {
			l.step(Cancel{"weather"})
		}
	case k < 99:
		l.look()
	}
	// Workers answer the end of a job.
	switch l.job.phase {
	case stopping:
		l.out = nil
		l.step(Gone{HostsOnly: true})
	case ending:
		l.step(Gone{})
	}
}

// look tells how attempts get on: all of them slowly, now and then one not at all.
func (l *life) look() {
	e := Observed{Idle: l.rng.IntN(3)}
	if l.rng.IntN(10) == 0 {
		e.Hung = 20_000
	}
	for _, p := range l.out {
		if !l.lost[p.w] {
			e.Progress = append(e.Progress, Progress{Attempt: p.a, Worker: p.w, Elapsed: 10 * time.Second, Done: Amounts{RowsIn: l.rng.Int64N(3)}})
		}
	}
	l.step(e)
	for _, a := range l.asked { // some give something, and not all of those are heard
		n := l.rng.IntN(4)
		if n > 1 && l.cuts[a.Attempt] == nil {
			l.cuts[a.Attempt] = &Cut{Kept: dataflow.Split{ID: a.Attempt.String() + " kept"}, Rest: dataflow.Split{ID: a.Attempt.String() + " rest"}}
		}
		if n < 3 && !l.lost[a.Worker] {
			l.step(Answered{a.Attempt, a.Worker, l.cuts[a.Attempt]})
		}
	}
	l.asked = nil
	if held := l.job.Held()[l.worker()]; len(held) > 0 {
		w := l.worker()
		if !l.lost[w] {
			l.step(Rehomed{held[0], w, "y"})
		}
	}
}

// comeBack: a worker has found outputs of an incarnation before in its folder.
func (l *life) comeBack(i int, held []Attempt) {
	w := Worker{fmt.Sprintf("w%d", i), fmt.Sprint(l.gen[i])}
	for _, a := range held {
		if l.rng.IntN(4) > 0 {
			l.step(Rehomed{a, w, "back"})
		}
	}
	l.gone[i] = nil
}

// end reports one attempt.
func (l *life) end(calm bool) {
	if len(l.out) == 0 {
		return
	}
	i := l.rng.IntN(len(l.out))
	p := l.out[i]
	l.out = append(l.out[:i:i], l.out[i+1:]...)
	if l.lost[p.w] {
		return
	}
	if !calm && l.rng.IntN(12) == 0 {
		f := Failure{Attempt: p.a, Worker: p.w, Kind: []dataflow.Kind{dataflow.Transient, dataflow.InputLost, dataflow.OutOfMemory, dataflow.Canceled}[l.rng.IntN(4)], Message: "weather"}
		if f.Kind == dataflow.InputLost && p.a.Stage > 0 {
			for _, held := range l.job.Held() {
				f.Lost = append(f.Lost, held[0])
				break
			}
		}
		l.step(f)
		return
	}
	r := &Result{RowHash: uint64(p.a.Stage*1000 + p.a.Index), Counters: map[string]int64{"n": 1}, Stats: Stats{RowsIn: 3}}
	switch {
	case p.a.Stage == StageSplits:
		r = &Result{Splits: make([]dataflow.Split, 4)}
	case p.a.Stage >= 0 && l.spec.Plan.Stages[p.a.Stage].Output.Exchange >= 0:
		r.Bytes = []int64{1, 1, 1, 1}
		if p.a.Stage == 0 {
			r.Bytes[2] = 80 << 20
		}
	}
	r.Cut = l.cuts[p.a]
	d := Done{Attempt: p.a, Worker: p.w, Address: "x", Result: r}
	l.told = append(l.told, d)
	l.step(d)
}

// restart replays, and every worker that is there comes back with what it runs and holds.
func (l *life) restart() {
	l.epoch++
	l.wanted, l.spares = nil, nil
	l.job = l.replayed()
	l.take(l.job.Resume(l.now, l.epoch, 4))
	for w := range l.job.Held() {
		if l.lost[w] {
			l.step(WorkerLost{w, "lost before the restart"})
		}
	}
	for _, p := range l.out {
		if !l.lost[p.w] {
			l.step(Adopted{p.a, p.w})
		}
	}
}

func (l *life) checkSums(seed uint64) {
	st := l.job.Status(false)
	counted := st.Tasks // less those of sampling stages
	for _, s := range l.job.stages {
		if s.plan.MaxTasks > 0 {
			counted -= int64(len(s.tasks))
		}
	}
	if st.Counters["n"] != counted || st.Stats.RowsIn != 3*st.Tasks {
		l.t.Errorf("seed %d: %d tasks, counters %v, %d rows", seed, st.Tasks, st.Counters, st.Stats.RowsIn)
	}
	numbers := map[Attempt]bool{}
	for _, r := range l.records {
		if w, ok := r.(TaskWon); ok {
			if numbers[w.Attempt] {
				l.t.Errorf("seed %d: %s won twice", seed, w.Attempt)
			}
			numbers[w.Attempt] = true
		}
	}
}

func remove(keys []Key, k Key) []Key {
	out := make([]Key, 0, len(keys))
	for _, o := range keys {
		if o != k {
			out = append(out, o)
		}
	}
	return out
}
