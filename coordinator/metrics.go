package coordinator

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

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
	reg := prometheus.NewRegistry()
	reg.MustRegister(m, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "go_goroutines", Help: "Goroutines of the coordinator."},
		func() float64 { return float64(runtime.NumGoroutine()) }))
	if end := c.cfg.Identity.Expires(); !end.IsZero() {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "divisi_certificate_seconds_left", Help: "Until the coordinator's certificate ends; negative: since it has."},
			func() float64 { return time.Until(end).Seconds() }))
	}
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, r)
}

type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value float64
	label []string
}

type collector struct{ all []metric }

func (m *collector) add(kind prometheus.ValueType, name, help string, value float64, label ...string) {
	var names, values []string
	for i := 0; i+1 < len(label); i += 2 {
		names, values = append(names, label[i]), append(values, label[i+1])
	}
	m.all = append(m.all, metric{prometheus.NewDesc("divisi_"+name, help, names, nil), kind, value, values})
}

func (m *collector) gauge(name, help string, v int, label ...string) {
	m.add(prometheus.GaugeValue, name, help, float64(v), label...)
}

func (m *collector) counter(name, help string, v int64, label ...string) {
	m.add(prometheus.CounterValue, name, help, float64(v), label...)
}

// Describe sends nothing: what there is is known when it is collected.
func (m *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends what the loop said.
func (m *collector) Collect(c chan<- prometheus.Metric) {
	for _, x := range m.all {
		c <- prometheus.MustNewConstMetric(x.desc, x.kind, x.value, x.label...)
	}
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
