package coordinator

import (
	"net/http"
	"runtime"
	"time"

	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// metrics asks the loop once a scrape. No label names a job or a task: their number has
// no bound.
func (c *Coordinator) metrics(w http.ResponseWriter, r *http.Request) {
	m, err := query(r.Context(), c, func(s *state) (*collector, error) { return s.collect(), nil })
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	m.all = append(m.all, metric{name: "go_goroutines", kind: "gauge", help: "Goroutines of the coordinator.", value: float64(runtime.NumGoroutine())})
	if end := c.cfg.Identity.Expires(); !end.IsZero() {
		m.add("gauge", "certificate_seconds_left", "Until the coordinator's certificate ends; negative: since it has.", time.Until(end).Seconds())
	}
	w.Header().Set("Content-Type", expositionType)
	_ = expose(w, m.all) // the scraper has gone
}

type collector struct{ all []metric }

func (m *collector) add(kind, name, help string, value float64, label ...string) {
	m.all = append(m.all, metric{"divisi_" + name, kind, help, value, label})
}

func (m *collector) gauge(name, help string, v int, label ...string) {
	m.add("gauge", name, help, float64(v), label...)
}

func (m *collector) counter(name, help string, v int64, label ...string) {
	m.add("counter", name, help, float64(v), label...)
}

func (s *state) collect() *collector {
	m := &collector{}
	byState := map[divisipb.JobState]int{}
	pending, running := 0, 0
	for _, js := range s.order {
		byState[js.state()]++
		if js.over() {
			continue
		}
		pending += s.sched.Pending(js.id)
	}
	for i := int32(1); i <= int32(divisipb.JobState_JOB_STATE_CANCELED); i++ {
		st := divisipb.JobState(i)
		m.gauge("jobs", "Jobs that are known, by state.", byState[st], "state", stateName(st))
	}
	states := map[string]int{"ready": 0, "draining": 0, "excluded": 0, "full": 0, "lost": 0}
	slots := 0
	for _, w := range s.members {
		states[w.status(s).GetState()]++
		slots += int(w.reg.GetSlots())
		running += s.sched.Used(w.id)
	}
	for _, st := range []string{"ready", "draining", "excluded", "full", "lost"} {
		m.gauge("workers", "Registered workers, by state.", states[st], "state", st)
	}
	m.gauge("slots", "Slots of all workers.", slots)
	m.gauge("slots_used", "Slots that tasks were sent to, those sent ahead included.", running)
	m.gauge("tasks_pending", "Tasks that wait for a place.", pending)
	m.gauge("epoch", "The coordinator's epoch: one more at each start.", int(s.epoch))
	m.counter("jobs_submitted_total", "Jobs submitted since the start.", s.counts.submitted)
	m.counter("jobs_ended_total", "Jobs ended since the start, by state.", s.counts.succeeded, "state", "succeeded")
	m.counter("jobs_ended_total", "Jobs ended since the start, by state.", s.counts.failed, "state", "failed")
	m.counter("jobs_ended_total", "Jobs ended since the start, by state.", s.counts.canceled, "state", "canceled")
	m.counter("attempts_started_total", "Attempts sent to workers since the start.", s.counts.attempts)
	m.counter("attempts_failed_total", "Attempts that failed or were lost since the start.", s.counts.failures)
	m.counter("tasks_won_total", "Tasks done since the start; one that runs again counts again.", s.counts.won)
	m.counter("corrupt_inputs_total", "Attempts that found what they read of a shuffle damaged; its producers ran again.", s.counts.corrupt)
	m.counter("workers_lost_total", "Workers lost since the start.", s.counts.lostWorkers)
	for l, n := range s.counts.levels {
		m.counter("placements_total", "Attempts by how near they were placed to their input.", n, "level", sched.Level(l).String())
	}
	m.counter("copies_total", "Attempts wanted beside slow ones since the start.", s.counts.copies)
	m.counter("splits_total", "Slow tasks that have given away a part of their split since the start.", s.counts.splits)
	m.counter("journal_records_total", "Records queued for the journal since the start.", s.counts.records)
	return m
}
