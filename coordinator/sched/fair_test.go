package sched

import (
	"fmt"
	"testing"
	"time"
)

// A load is a job of equal tasks that comes at a moment.
type load struct {
	id, queue string
	at, each  time.Duration
	tasks     int
}

// play runs jobs on workers whose tasks begin in the order in which they were sent, in
// simulated time, and says when each job ended.
func play(t *testing.T, workers, slots int, loads ...load) map[string]time.Duration {
	t.Helper()
	type run struct {
		id   ID
		left time.Duration // when it ends, once it has begun
	}
	s := New(Config{})
	queued, running := map[string][]ID{}, map[string][]run{}
	each, left, ends := map[string]time.Duration{}, map[string]int{}, map[string]time.Duration{}
	for i := range workers {
		s.SetWorker(Worker{ID: fmt.Sprintf("w%d", i), Slots: slots})
	}
	const tick = 10 * time.Millisecond
	for now := tick; len(ends) < len(loads); now += tick {
		for _, l := range loads {
			if l.at <= now && left[l.id] == 0 && each[l.id] == 0 {
				s.AddJob(l.id, l.queue, 0, 0)
				each[l.id], left[l.id] = l.each, l.tasks
				for i := range l.tasks {
					s.Add(Task{ID: ID{Job: l.id, Index: i}})
				}
			}
		}
		for w, all := range running {
			kept := all[:0]
			for _, r := range all {
				if r.left > now {
					kept = append(kept, r)
					continue
				}
				s.Done(r.id)
				if left[r.id.Job]--; left[r.id.Job] == 0 {
					ends[r.id.Job] = now
				}
			}
			running[w] = kept
		}
		for _, a := range s.Assign(Instant(now)) {
			queued[a.Worker] = append(queued[a.Worker], a.Task)
		}
		check(t, s)
		for w := range queued {
			for len(running[w]) < slots && len(queued[w]) > 0 {
				id := queued[w][0]
				queued[w] = queued[w][1:]
				running[w] = append(running[w], run{id, now + each[id.Job]})
			}
		}
		if now > time.Hour {
			t.Fatalf("an hour has passed, %v tasks are left", left)
		}
	}
	return ends
}

// TestShortBesideLong: a short job that comes while a long one has all slots ends within
// twice the time that it takes alone, and the one task of the long job that it waits for.
func TestShortBesideLong(t *testing.T) {
	for _, c := range []struct{ short, long load }{
		{load{tasks: 40, each: time.Second}, load{tasks: 400, each: 2 * time.Second}},
		{load{tasks: 200, each: 100 * time.Millisecond}, load{tasks: 60, each: 20 * time.Second}},
		{load{tasks: 16, each: 3 * time.Second}, load{tasks: 5000, each: 200 * time.Millisecond}},
		{load{tasks: 1, each: time.Second}, load{tasks: 1000, each: 500 * time.Millisecond}},
	} {
		c.short.id, c.long.id = "short", "long"
		alone := play(t, 2, 4, c.short)["short"]
		c.short.at = 7350 * time.Millisecond
		ends := play(t, 2, 4, c.long, c.short)
		took := ends["short"] - c.short.at
		if most := 2*alone + c.long.each + 100*time.Millisecond; took > most {
			t.Errorf("%d x %v beside %d x %v: %v, at most %v; alone %v", c.short.tasks, c.short.each, c.long.tasks, c.long.each, took, most, alone)
		}
		if ends["long"] < ends["short"] {
			t.Errorf("the long job ended first: the test says nothing")
		}
	}
}
