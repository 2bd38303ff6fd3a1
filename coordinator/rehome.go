package coordinator

import (
	"fmt"
	"slices"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// What a worker that leaves holds and others still have to read is copied to workers
// that stay; then the worker may go, and no task runs again for it.

const (
	// adoptMax is how many outputs one message names.
	adoptMax = 200
	// adoptTries is how often an output is asked for before it is left to be made again.
	adoptTries = 3
)

// leaving is a worker that has said that it is drained.
type leaving struct {
	since job.Instant // when something was last moved
	moves map[taskKey]*move
	going bool // it goes as soon as the journal has where its outputs are
}

// move is an output on its way.
type move struct {
	to    *session // of the worker that was asked last
	tries int
}

// leave goes on with what there is to do before a drained worker goes, and lets it go
// when that is done or does not come to an end.
func (s *state) leave(w *workerState, now job.Instant) {
	if w.leaving == nil {
		w.leaving = &leaving{since: now, moves: map[taskKey]*move{}}
	}
	var targets []*workerState
	away := false // one may come back soon, perhaps with what it has copied already
	for _, o := range s.members {
		switch {
		case o == w || o.draining || o.excluded:
		case o.session == nil:
			away = true
		case o.beat.GetDiskLow() == "":
			targets = append(targets, o)
		}
	}
	left := 0
	ask := make([]map[*jobState][]job.Attempt, len(targets))
	for _, js := range s.order {
		if js.over() {
			continue
		}
		for _, a := range js.job.Needed(w.who()) {
			key := taskKey{js.id, a}
			m := w.leaving.moves[key]
			if m == nil {
				m = &move{}
				w.leaving.moves[key] = m
			}
			if m.to != nil && slices.ContainsFunc(targets, func(o *workerState) bool { return o.session == m.to }) {
				left++ // asked for, not answered
				continue
			}
			if m.tries == adoptTries {
				continue
			}
			if len(targets) == 0 {
				if away {
					left++
				}
				continue
			}
			i := left % len(targets)
			left++
			m.tries++
			m.to = targets[i].session
			if ask[i] == nil {
				ask[i] = map[*jobState][]job.Attempt{}
			}
			ask[i][js] = append(ask[i][js], a)
		}
	}
	for i, jobs := range ask {
		for _, js := range s.order {
			for some := range slices.Chunk(jobs[js], adoptMax) {
				s.adopt(js, targets[i], w, some)
			}
		}
	}
	why := "it was drained"
	if left > 0 {
		if now-w.leaving.since <= job.Instant(s.c.cfg.Rehome) {
			return
		}
		why = fmt.Sprintf("it was drained; %d outputs on it could not be moved within %s", left, s.c.cfg.Rehome)
	}
	if w.leaving.going {
		return
	}
	w.leaving.going = true
	// Once it is told it drops its copies: the others' must be in the journal.
	s.out(func() {
		if s.workers[w.id] == w {
			s.lose(w, why)
		}
	})
}

// inherit: a worker that was started anew has found outputs of the incarnation before in
// its folder. They are its own now, before the other one and all that it had is lost.
func (s *state) inherit(who, before job.Worker, r *divisipb.Register) {
	for _, h := range r.GetHeld() {
		js := s.jobs[h.GetJob()]
		if js == nil || js.over() {
			continue
		}
		for _, t := range h.GetTasks() {
			a := fromTaskID(t)
			if won := js.job.Winner(a.Key); won != nil && won.Attempt == a && won.Worker == before {
				s.step(js, job.Rehomed{Attempt: a, Worker: who, Address: r.GetExchangeAddress()})
			}
		}
	}
}

// found: a worker that comes, or comes back, holds outputs that are believed to lie
// elsewhere, on a worker that is not there, or nowhere. It had copied them, and nobody
// heard of it, or had found them in its folder.
func (s *state) found(w *workerState, js *jobState, t *divisipb.TaskID) {
	a := fromTaskID(t)
	if js == nil || js.over() {
		return
	}
	if won := js.job.Winner(a.Key); won != nil {
		if won.Attempt != a || won.Worker == w.who() {
			return
		}
		at := won.Worker
		if o := s.workers[at.ID]; o != nil && o.who() == at && o.leaving == nil {
			return
		}
	}
	s.step(js, job.Rehomed{Attempt: a, Worker: w.who(), Address: w.reg.GetExchangeAddress()})
}

// adopt asks a worker to copy outputs of another.
func (s *state) adopt(js *jobState, to, from *workerState, all []job.Attempt) {
	m := &divisipb.AdoptBlocks{Job: js.id, Worker: from.id, Address: from.reg.GetExchangeAddress()}
	for _, a := range all {
		m.Tasks = append(m.Tasks, toTaskID(js.id, a))
	}
	s.out(func() {
		if js.job != nil && to.session != nil && s.workers[to.id] == to {
			s.introduce(js, to)
			to.session.send(&divisipb.ToWorker{Body: &divisipb.ToWorker_AdoptBlocks{AdoptBlocks: m}})
		}
	})
}

// adopted takes in which outputs a worker has copied, and which it could not.
func (s *state) adopted(w *workerState, m *divisipb.BlocksAdopted) {
	js := s.jobs[m.GetJob()]
	if js == nil || js.over() {
		return
	}
	now := s.clock()
	for _, t := range m.GetTasks() {
		a := fromTaskID(t)
		s.step(js, job.Rehomed{Attempt: a, Worker: w.who(), Address: w.reg.GetExchangeAddress()})
		for _, o := range s.members {
			if o.leaving != nil && o.leaving.moves[taskKey{js.id, a}] != nil {
				o.leaving.since = now
				delete(o.leaving.moves, taskKey{js.id, a})
			}
		}
	}
	if len(m.GetFailed()) > 0 {
		s.log.Warn("outputs of a worker that leaves could not be copied", "job", js.id, "to", w.id, "outputs", len(m.GetFailed()), "why", m.GetWhy())
	}
	for _, t := range m.GetFailed() {
		for _, o := range s.members {
			if o.leaving != nil {
				if mv := o.leaving.moves[taskKey{js.id, fromTaskID(t)}]; mv != nil && mv.to == w.session {
					mv.to = nil
				}
			}
		}
	}
	for _, o := range slices.Clone(s.members) {
		if o.leaving != nil && o.session != nil {
			s.leave(o, now)
		}
	}
}
