package coordinator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// observe tells the jobs how their attempts get on, as the last heartbeats said, as
// often as heartbeats come.
func (s *state) observe(now job.Instant) {
	if s.holding || now-s.looked < job.Instant(s.c.cfg.Heartbeat) {
		return
	}
	s.looked = now
	all := map[string][]job.Progress{}
	for _, w := range s.members {
		if w.session == nil {
			continue // what it said last is old
		}
		for _, t := range w.beat.GetTasks() {
			id := t.GetId().GetJob()
			p := fromProgress(w.who(), t)
			if w.quiet {
				p.Silent = max(p.Silent, time.Duration(now-w.seen))
			}
			all[id] = append(all[id], p)
		}
	}
	idle := s.sched.Idle()
	for _, js := range slices.Clone(s.order) {
		if p := all[js.id]; len(p) > 0 && !js.over() {
			s.step(js, job.Observed{Progress: p, Idle: idle, Hung: s.c.cfg.Hung})
		}
	}
}

func fromProgress(w job.Worker, t *divisipb.TaskProgress) job.Progress {
	return job.Progress{
		Attempt: fromTaskID(t.GetId()), Worker: w, Fraction: t.GetFraction(),
		Elapsed: time.Duration(t.GetElapsedNanos()), Silent: time.Duration(t.GetSilentNanos()), Waited: time.Duration(t.GetFetchWaitNanos()),
		Done: job.Amounts{RowsIn: t.GetRowsIn(), BytesIn: t.GetBytesIn(), RowsOut: t.GetRowsOut(), BytesOut: t.GetBytesOut(), BytesSpilled: t.GetBytesSpilled(), Steps: t.GetSteps()},
	}
}

// placement puts into words why a task goes where it does, and that it reads a share of
// a partition if it does.
func placement(a sched.Assignment, t job.Task) *divisipb.Placement {
	p := &divisipb.Placement{Level: a.Level.String(), WaitedMillis: a.Waited.Milliseconds(), Copy: a.Task.Copy > 0}
	switch {
	case p.Copy:
		p.Why = "a copy beside a slow attempt: an idle slot of another worker"
	case a.Level == sched.Host:
		p.Why = "its input lies on this host"
	case a.Level == sched.Blocks:
		p.Why = "this worker holds most of what it reads"
	case a.Level == sched.Any:
		p.Why = "no place is better than another: a free slot"
	case a.Level == sched.Rack:
		p.Why = "no slot near its input came free in time: the same rack"
	default:
		p.Why = "no slot near its input came free in time, or none is near: any worker"
	}
	if t.Of > 0 {
		p.Why += fmt.Sprintf("; share %d of %d of partition %d", t.Share+1, t.Of, t.Lo)
	}
	return p
}

// closedWhy says why no worker takes tasks.
func (s *state) closedWhy() string {
	var all []string
	for _, w := range s.members {
		why := w.beat.GetDiskLow()
		if w.draining {
			why = "it drains"
		}
		if why != "" {
			all = append(all, fmt.Sprintf("%s: %s", w.id, why))
		}
	}
	return strings.Join(all[:min(len(all), 3)], "; ")
}
