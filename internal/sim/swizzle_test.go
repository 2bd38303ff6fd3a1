package sim

import (
	"slices"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// swizzle cuts the workers' links to the coordinator one after the other, all of them,
// and mends them in another order.
func swizzle(w *world) {
	gap := w.between(10*ms, 3*second)
	at := w.between(0, w.weather.until/2)
	cut, mend := slices.Clone(w.workers), slices.Clone(w.workers)
	w.rng.Shuffle(len(cut), func(i, j int) { cut[i], cut[j] = cut[j], cut[i] })
	w.rng.Shuffle(len(mend), func(i, j int) { mend[i], mend[j] = mend[j], mend[i] })
	for _, k := range cut {
		w.after(at, func() {
			w.say("swizzle: cut between %s and the coordinator", k.id)
			k.cutUp, k.cutDown = true, w.chance(700)
		})
		at += gap
	}
	at += w.between(0, 8*second)
	for _, k := range mend {
		w.after(at, func() { w.mend(k) })
		at += gap
	}
}

// TestSwizzle: links are stopped one by one and healed in another order, whatever else
// happens. Every job ends, and every promise is kept.
func TestSwizzle(t *testing.T) {
	n := uint64(1000)
	if race.Short() {
		n = 100
	}
	harmless := 0 // the fault that nobody notices
	for faults[harmless].name != "clock jumps" {
		harmless++
	}
	succeeded := 0
	for seed := uint64(1); seed <= n; seed++ {
		for calm := range 2 {
			r := play(seed, false, func(w *world) {
				if calm == 1 {
					w.weather.kinds, w.weather.malice = []int{harmless}, 0
				}
				swizzle(w)
			})
			if r.Violation != "" {
				t.Errorf("seed %d, calm %d: %s", seed, calm, r.Violation)
			}
			succeeded += r.Ends[0]
		}
	}
	if succeeded < int(n) {
		t.Errorf("in %d schedules only %d jobs have succeeded", 2*n, succeeded)
	}
}
