package coordinator

import (
	"log/slog"
	"testing"
	"time"

	"github.com/divisi-data/divisi/coordinator/job"
)

// A coordinator that was stopped itself does not hold it against its workers.
func TestOwnPauseIsNobodysSilence(t *testing.T) {
	at := func(d time.Duration) job.Instant { return job.Instant(time.Hour + d) }
	s := newState(&Coordinator{cfg: Config{Heartbeat: time.Second}, log: slog.New(slog.DiscardHandler)})
	w := &workerState{id: "w", seen: at(0), detached: at(0)}
	s.members = []*workerState{w}
	s.hopeful = at(time.Second)

	s.slept(at(500 * time.Millisecond)) // the first time there is nothing to compare with
	s.slept(at(600 * time.Millisecond))
	if w.seen != at(0) || s.hopeful != at(time.Second) {
		t.Errorf("forgiven though it ran: seen %v, hopeful %v", w.seen-at(0), s.hopeful-at(0))
	}
	s.slept(at(8600 * time.Millisecond))
	if w.seen != at(8*time.Second) || w.detached != at(8*time.Second) || s.hopeful != at(9*time.Second) {
		t.Errorf("after 8 s of sleep: seen %v, detached %v, hopeful %v", w.seen-at(0), w.detached-at(0), s.hopeful-at(0))
	}
	// Who was heard of just now has not been heard of in the future.
	w.seen = at(20 * time.Second)
	s.slept(at(20 * time.Second))
	if w.seen != at(20*time.Second) {
		t.Errorf("seen %v", w.seen-at(0))
	}
}
