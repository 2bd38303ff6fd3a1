package sim

import (
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// TestDrift: the clocks of the coordinator and of each worker run up to 10 % too fast or
// too slow, whatever else happens. Every promise is kept.
func TestDrift(t *testing.T) {
	n := uint64(1000)
	if race.Short() {
		n = 100
	}
	succeeded := 0
	for seed := uint64(1); seed <= n; seed++ {
		r := play(seed, false, func(w *world) {
			w.drift, w.since = w.between(-100, 100), w.now
			for _, k := range w.workers {
				k.drift = w.between(-100, 100)
			}
		})
		if r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
		succeeded += r.Ends[0]
	}
	if succeeded < int(n)/2 {
		t.Errorf("in %d schedules only %d jobs have succeeded", n, succeeded)
	}
}

// TestDriftedClocks: a clock that is too fast shows more than has passed, and what is to
// be done after a time by it comes sooner.
func TestDriftedClocks(t *testing.T) {
	if drifted(10*second, 100) != 11*second || undrifted(11*second, 100) != 10*second || drifted(10*second, -100) != 9*second || undrifted(9*second, -100) != 10*second {
		t.Error(drifted(10*second, 100), undrifted(11*second, 100), drifted(10*second, -100), undrifted(9*second, -100))
	}
}
