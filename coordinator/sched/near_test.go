package sched

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// A scene is a job whose tasks read files that lie on some of the workers' hosts.
type scene struct {
	workers, slots, tasks int
	hosts                 func(rng *rand.Rand, task int) []string
}

// play runs the tasks, each for a random time around mean, half as long again where it
// is far. It gives the part of them that were near and how long all took.
func (c scene) play(seed uint64, mean time.Duration) (near float64, took time.Duration) {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := New(Config{})
	for i := range c.workers {
		s.SetWorker(Worker{ID: fmt.Sprint("w", i), Host: fmt.Sprint("h", i), Slots: c.slots})
	}
	s.AddJob("j", "", 0, 0)
	now := Instant(time.Second)
	for i := range c.tasks {
		s.Add(Task{ID: ID{Job: "j", Index: i}, Hosts: c.hosts(rng, i)})
	}
	ends := map[ID]Instant{}
	queues := map[string][]ID{} // sent ahead: what a worker has no slot for yet
	running := map[string]int{}
	far := map[ID]bool{}
	begin := func(w string) {
		for running[w] < c.slots && len(queues[w]) > 0 {
			t := queues[w][0]
			queues[w] = queues[w][1:]
			running[w]++
			d := float64(mean) * (0.5 + rng.Float64())
			if far[t] {
				d *= 1.5
			}
			ends[t] = now + Instant(d)
		}
	}
	where := map[ID]string{}
	done, hit := 0, 0
	for done < c.tasks {
		for _, a := range s.Assign(now) {
			where[a.Task] = a.Worker
			far[a.Task] = a.Level == Far
			if a.Level == Host {
				hit++
			}
			queues[a.Worker] = append(queues[a.Worker], a.Task)
			begin(a.Worker)
		}
		var first ID
		at := s.NextWake()
		for t, e := range ends {
			if at == 0 || e < at || e == at && t.Index < first.Index {
				at, first = e, t
			}
		}
		now = max(now, at)
		if first.Job != "" {
			delete(ends, first)
			done++
			running[where[first]]--
			s.Done(first)
			begin(where[first])
		}
	}
	return float64(hit) / float64(c.tasks), time.Duration(now) - time.Second
}

// TestNear: where the input lies all about, nearly all tasks read it on its host, whatever
// they take, and no worker is idle for long because of it. Where it is all on one worker
// the others do most of the job all the same.
func TestNear(t *testing.T) {
	two := func(n int) func(*rand.Rand, int) []string { // replicas anywhere
		return func(rng *rand.Rand, _ int) []string {
			a := rng.IntN(n)
			return []string{fmt.Sprint("h", a), fmt.Sprint("h", (a+1+rng.IntN(n-1))%n)}
		}
	}
	// One host in a rack of its own has a replica of everything.
	racks := func(rng *rand.Rand, _ int) []string { return []string{"h1", fmt.Sprint("h", 2*rng.IntN(2))} }
	one := func(*rand.Rand, int) []string { return []string{"h0"} }
	for _, c := range []struct {
		name       string
		scene      scene
		near, long float64 // at least, and at most as long as without idle slots and far tasks
	}{
		{"racks", scene{3, 2, 23, racks}, 0.98, 1.25},
		{"racks, one slot", scene{3, 1, 23, racks}, 0.98, 1.15},
		{"anywhere", scene{3, 2, 24, two(3)}, 0.98, 1.25},
		{"anywhere, few tasks", scene{3, 4, 24, two(3)}, 0.98, 1.4},
		{"anywhere, many workers", scene{10, 4, 200, two(10)}, 0.98, 1.25},
		{"on one", scene{3, 2, 24, one}, 0.3, 1.65},
	} {
		for _, mean := range []time.Duration{time.Second, 4 * time.Second, time.Minute} {
			var near, took float64
			const times = 40
			for seed := range uint64(times) {
				n, d := c.scene.play(seed, mean)
				near += n / times
				took += d.Seconds() / times
			}
			least := mean.Seconds() * float64(c.scene.tasks) / float64(c.scene.workers*c.scene.slots)
			if near < c.near || took > c.long*least {
				t.Errorf("%s, tasks of %v: %.1f %% near, %.2f times as long as it must be", c.name, mean, 100*near, took/least)
			}
		}
	}
}
