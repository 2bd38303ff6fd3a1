package sched

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestHistories plays the scenes in testdata.
func TestHistories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := New(Config{Wait: 100})
		now := Instant(1000)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new":
				s, now = New(Config{Wait: 100}), 1000
			case "worker":
				s.SetWorker(Worker{ID: d.CmdArgs[0].Key, Host: str(d, "host", d.CmdArgs[0].Key), Rack: str(d, "rack", ""), Slots: num(d, "slots", 2), Memory: int64(num(d, "memory", 0)), Closed: d.HasArg("closed"), Full: d.HasArg("full")})
			case "remove-worker":
				s.RemoveWorker(d.CmdArgs[0].Key)
			case "queue":
				s.SetQueue(d.CmdArgs[0].Key, Queue{Weight: float64(num(d, "weight", 1)), Min: num(d, "min", 0), Max: num(d, "max", 0), Priority: int32(num(d, "priority", 0))})
			case "job":
				s.AddJob(d.CmdArgs[0].Key, str(d, "queue", ""), float64(num(d, "weight", 0)), int32(num(d, "priority", 0)))
			case "remove-job":
				s.RemoveJob(d.CmdArgs[0].Key)
			case "add":
				for i := range num(d, "n", 1) {
					s.Add(Task{
						ID: ID{d.CmdArgs[0].Key, num(d, "stage", 0), num(d, "from", 0) + i, num(d, "copy", 0)}, Hosts: list(d, "hosts"), Workers: list(d, "workers"),
						Memory: int64(num(d, "memory", 0)), Alone: d.HasArg("alone"), Exclude: list(d, "not-on"), NoSlot: d.HasArg("control"), Spare: d.HasArg("spare"),
					})
				}
			case "remove":
				s.Remove(parse(t, d.CmdArgs[0].Key))
			case "done":
				for _, a := range d.CmdArgs {
					s.Done(parse(t, a.Key))
				}
			case "place":
				s.Place(parse(t, d.CmdArgs[0].Key), str(d, "worker", ""), false)
			case "assign":
				now += Instant(num(d, "after", 0))
				var b strings.Builder
				for _, a := range s.Assign(now) {
					fmt.Fprintf(&b, "%s/%d/%d on %s %s", a.Task.Job, a.Task.Stage, a.Task.Index, a.Worker, a.Level)
					if a.Task.Copy > 0 {
						fmt.Fprintf(&b, " copy=%d", a.Task.Copy)
					}
					if a.Waited > 0 {
						fmt.Fprintf(&b, " waited=%d", a.Waited)
					}
					b.WriteByte('\n')
				}
				if w := s.NextWake(); w > 0 {
					fmt.Fprintf(&b, "wake in %d\n", w-now)
				}
				check(t, s)
				return b.String()
			default:
				t.Fatalf("%s: no such command %s", d.Pos, d.Cmd)
			}
			check(t, s)
			return ""
		})
	})
}

// check compares the counts that are kept with what they count.
func check(t *testing.T, s *Scheduler) {
	t.Helper()
	used, byJob, pending := map[string]int{}, map[string]int{}, 0
	for id, p := range s.placed {
		used[p.worker.ID] += p.slots
		byJob[id.Job] += p.slots
	}
	for _, w := range s.order {
		if w.used != used[w.ID] || w.used < 0 || w.used > 2*max(w.Slots, 1) {
			t.Errorf("worker %s uses %d slots of %d, placed are %d", w.ID, w.used, w.Slots, used[w.ID])
		}
	}
	all := 0
	for _, j := range s.jobs {
		n := 0
		for _, p := range j.tasks {
			if !p.NoSlot && !p.Alone && !p.Spare {
				n++
			}
		}
		if j.pending != n || j.used != byJob[j.id] {
			t.Errorf("job %s: %d pending of %d, %d used of %d", j.id, j.pending, n, j.used, byJob[j.id])
		}
		pending += n
		all += j.used
	}
	if s.count != pending || s.root.pending != pending || s.root.used != all {
		t.Errorf("counts %d and %d pending of %d, %d used of %d", s.count, s.root.pending, pending, s.root.used, all)
	}
}

// TestRandomLife adds, assigns, ends and loses at random: every task is assigned exactly
// once, no worker gets more than its window.
func TestRandomLife(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := New(Config{Wait: 10})
		now := Instant(0)
		assigned := map[ID]string{}
		var running []ID
		added := 0
		for i := range 4 {
			s.SetWorker(Worker{ID: fmt.Sprintf("w%d", i), Host: fmt.Sprintf("h%d", i%3), Rack: fmt.Sprintf("r%d", i%2), Slots: 1 + i%3})
		}
		for i := range 3 {
			s.AddJob(fmt.Sprintf("j%d", i), "", 0, 0)
		}
		for step := 0; step < 400 || len(running) > 0 || s.count > 0; step++ {
			now += Instant(rng.IntN(5))
			if step < 300 && rng.IntN(3) == 0 {
				for range rng.IntN(8) {
					task := Task{ID: ID{fmt.Sprintf("j%d", rng.IntN(3)), 0, added, 0}, Alone: rng.IntN(30) == 0}
					if rng.IntN(2) == 0 {
						task.Hosts = []string{fmt.Sprintf("h%d", rng.IntN(4))}
					}
					if rng.IntN(4) == 0 {
						task.Exclude = []string{fmt.Sprintf("w%d", rng.IntN(4))}
					}
					s.Add(task)
					added++
				}
			}
			for _, a := range s.Assign(now) {
				if w, twice := assigned[a.Task]; twice {
					t.Fatalf("seed %d: %v went to %s and to %s", seed, a.Task, w, a.Worker)
				}
				assigned[a.Task] = a.Worker
				running = append(running, a.Task)
			}
			check(t, s)
			for n := rng.IntN(4); n > 0 && len(running) > 0; n-- {
				i := rng.IntN(len(running))
				s.Done(running[i])
				running = slices.Delete(running, i, i+1)
			}
			if step > 100_000 {
				t.Fatalf("seed %d: %d pending for ever", seed, s.count)
			}
		}
		if len(assigned) != added {
			t.Fatalf("seed %d: %d of %d assigned", seed, len(assigned), added)
		}
	}
}

// BenchmarkAssign has 100,000 tasks, each with three hosts, and 200 workers of 8 slots;
// an operation is one assignment and one end.
func BenchmarkAssign(b *testing.B) {
	var s *Scheduler
	var running []ID
	now := Instant(1)
	next := 0
	reset := func() {
		s = New(Config{})
		for i := range 200 {
			s.SetWorker(Worker{ID: fmt.Sprintf("w%03d", i), Host: fmt.Sprintf("h%d", i), Rack: fmt.Sprintf("r%d", i%10), Slots: 8})
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for j := range 10 {
			id := fmt.Sprintf("j%d", j)
			s.AddJob(id, "", 0, 0)
			for i := range 10_000 {
				s.Add(Task{ID: ID{id, 0, i, 0}, Hosts: []string{fmt.Sprintf("h%d", rng.IntN(220)), fmt.Sprintf("h%d", rng.IntN(220)), fmt.Sprintf("h%d", rng.IntN(220))}})
			}
		}
		running, next = nil, 0
	}
	reset()
	for b.Loop() {
		if next == len(running) {
			now += Instant(time.Millisecond)
			for _, a := range s.Assign(now) {
				running = append(running, a.Task)
			}
			if next == len(running) {
				if s.count > 0 {
					now = s.NextWake()
					continue
				}
				b.StopTimer()
				reset()
				b.StartTimer()
				continue
			}
		}
		s.Done(running[next])
		next++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "assignments/s")
}

func parse(t *testing.T, s string) ID {
	f := strings.Split(s, "/")
	if len(f) != 3 {
		t.Fatalf("task %q", s)
	}
	stage, _ := strconv.Atoi(f[1])
	number, rest, _ := strings.Cut(f[2], "#")
	index, _ := strconv.Atoi(number)
	copied, _ := strconv.Atoi(rest)
	return ID{f[0], stage, index, copied}
}

func str(d *datadriven.TestData, key, or string) string {
	for _, a := range d.CmdArgs {
		if a.Key == key && len(a.Vals) > 0 {
			return a.Vals[0]
		}
	}
	return or
}

func num(d *datadriven.TestData, key string, or int) int {
	n, err := strconv.Atoi(str(d, key, strconv.Itoa(or)))
	if err != nil {
		panic(err)
	}
	return n
}

func list(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}
