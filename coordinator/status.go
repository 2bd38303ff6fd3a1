package coordinator

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// eventsFrom a sequence number on; the events themselves never change.
func (js *jobState) eventsFrom(from uint64) []*divisipb.Event {
	i, _ := slices.BinarySearchFunc(js.events, from, func(e *divisipb.Event, f uint64) int {
		if e.GetSequence() < f {
			return -1
		}
		return 1
	})
	return slices.Clone(js.events[i:])
}

// errEnough ends a reading of the journal.
var errEnough = errors.New("enough")

// oldEvents reads from the journal's files what is no longer in memory.
func (c *Coordinator) oldEvents(ctx context.Context, id string, from uint64) ([]*divisipb.Event, error) {
	type edge struct {
		id    string
		first uint64
	}
	e, err := query(ctx, c, func(s *state) (edge, error) {
		js, err := s.find(id)
		if err != nil {
			return edge{}, notFound(err)
		}
		if len(js.events) < eventsMax || len(js.events) == 0 {
			return edge{}, nil
		}
		return edge{js.id, js.events[0].GetSequence()}, nil
	})
	if err != nil || from >= e.first {
		return nil, err
	}
	var old []*divisipb.Event
	err = journal.Read(journalDir(c.cfg.State), func(r journal.Record) error {
		switch {
		case r.Sequence >= e.first:
			return errEnough
		case r.Job == e.id && r.Sequence >= from:
			old = append(old, eventOf(r.Sequence, r.JournalRecord))
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return old, err
}

// stateName is a job state's name in lower case.
func stateName(s divisipb.JobState) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "JOB_STATE_"))
}

func (js *jobState) state() divisipb.JobState {
	if js.job == nil {
		return js.final.GetState()
	}
	return jobStates[js.job.State()]
}

// status of a job. With s also what only the shell knows: progress of running attempts,
// what is being waited for.
func (js *jobState) status(stages bool, s *state) *divisipb.JobStatus {
	if js.job == nil {
		out := clone(js.final)
		if !stages {
			out.Stages = nil
		}
		return out
	}
	st := js.job.Status(stages)
	out := &divisipb.JobStatus{
		Id: js.id, Name: js.req.GetJob().GetName(), Owner: js.req.GetOwner(), Queue: js.req.GetQueue(),
		State: jobStates[st.State], Error: st.Error, ErrorStack: st.Stack, ErrorNames: st.Names,
		SubmittedUnixNanos: js.submitted, StartedUnixNanos: int64(st.Started), EndedUnixNanos: int64(st.Ended),
		Counters: st.Counters, Stats: toStats(st.Stats), Tasks: st.Tasks, Attempts: st.Attempts, Retries: st.Retries,
		Cleaned: st.Cleaned, OutputsCleaned: st.OutputsCleaned, RecordsIn: st.RecordsIn, RecordsOut: st.RecordsOut, Waiting: st.Waiting,
		Placed: maps.Clone(js.levels), Copies: st.Copies, Priority: js.req.GetPriority(),
	}
	out.Left = cmp.Or(st.GaveUp, st.Unclean)
	if st.GaveUp != "" {
		out.Waiting = "not everything could be cleaned: " + st.GaveUp
	}
	if s != nil && st.Waiting != "" && !st.Cleaned {
		switch {
		case s.holding:
			out.Waiting = "workers have a moment to come back after the coordinator's restart"
		case len(s.members) == 0:
			out.Waiting = "no workers are registered"
		case s.sched.Slots() == 0:
			out.Waiting = "no worker takes tasks: " + s.closedWhy()
		}
	}
	if !stages {
		return out
	}
	done := js.fractions(s)
	for i, ss := range st.Stages {
		f := 0.0
		switch {
		case ss.State == "done":
			f = 1
		case ss.Tasks > 0:
			f = min((float64(ss.Done)+done[int32(i)])/float64(ss.Tasks), 1)
		}
		out.Stages = append(out.Stages, &divisipb.StageStatus{
			Id: int32(i), Name: ss.Name, State: ss.State, Tasks: int32(ss.Tasks), Done: int32(ss.Done), Running: int32(ss.Running),
			FailedAttempts: int32(ss.FailedAttempts), Fraction: f, Stats: toStats(ss.Stats), Ops: toOps(ss.Ops),
			StartedUnixNanos: int64(ss.Started), EndedUnixNanos: int64(ss.Ended),
		})
	}
	return out
}

// fractions sums by stage what running attempts say they have done.
func (js *jobState) fractions(s *state) map[int32]float64 {
	sums := map[int32]float64{}
	if s == nil {
		return sums
	}
	for _, w := range s.members {
		for _, p := range w.beat.GetTasks() {
			if p.GetId().GetJob() == js.id {
				sums[p.GetId().GetStage()] += max(0, min(p.GetFraction(), 1))
			}
		}
	}
	return sums
}

func (c *Coordinator) workers(ctx context.Context) ([]*divisipb.WorkerStatus, error) {
	return query(ctx, c, func(s *state) ([]*divisipb.WorkerStatus, error) {
		var all []*divisipb.WorkerStatus
		for _, w := range s.members {
			all = append(all, w.status(s))
		}
		return all, nil
	})
}

func (w *workerState) status(s *state) *divisipb.WorkerStatus {
	st := &divisipb.WorkerStatus{
		Id: w.id, Incarnation: w.reg.GetIncarnation(), Host: w.reg.GetHost(), Rack: w.reg.GetRack(), Address: w.reg.GetExchangeAddress(),
		State: "ready", Slots: w.reg.GetSlots(), Running: int32(s.sched.Used(w.id)), MemoryBytes: w.reg.GetMemoryBytes(),
		MemoryUsedBytes: w.beat.GetMemoryUsedBytes(), DiskFreeBytes: w.beat.GetDiskFreeBytes(), DiskUsedBytes: w.beat.GetDiskUsedBytes(),
		TasksDone: w.done, TasksFailed: w.failed, Pid: w.reg.GetPid(), Version: w.reg.GetVersion(),
	}
	switch {
	case w.session == nil:
		st.State = "lost"
	case w.draining:
		st.State = "draining"
	case w.excluded:
		st.State = "excluded"
	case w.beat.GetDiskLow() != "":
		st.State = "full"
	}
	for _, t := range w.beat.GetTasks() {
		st.Tasks = append(st.Tasks, clone(t))
	}
	return st
}
