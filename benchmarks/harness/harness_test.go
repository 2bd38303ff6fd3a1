package harness

import (
	"context"
	"fmt"
	"io"
	"math"
	"testing"
)

// TestCompareTakesTurns: each entry is first, second, … equally often, comes before each
// other as often as after it, and its times stand at their rounds.
func TestCompareTakesTurns(t *testing.T) {
	const n, rounds = 3, 12
	var order []int
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Name: fmt.Sprint(i), Run: func(context.Context) error { order = append(order, i); return nil }}
	}
	row := Compare(t.Context(), Row{}, rounds-1, io.Discard, entries...)
	if len(order) != n*rounds {
		t.Fatalf("%d runs", len(order))
	}
	var place [n][n]int  // entry, place
	var before [n][n]int // entry, entry right before it in its round
	for r := range rounds {
		for k, e := range order[n*r : n*r+n] {
			place[e][k]++
			if k > 0 {
				before[e][order[n*r+k-1]]++
			}
		}
	}
	for e := range n {
		for k := range n {
			if place[e][k] != rounds/n {
				t.Errorf("entry %d is number %d in %d rounds of %d", e, k, place[e][k], rounds)
			}
			if before[e][k] != before[k][e] {
				t.Errorf("%d runs right before %d %d times, after it %d times", k, e, before[e][k], before[k][e])
			}
		}
		if c := row.Contenders[e]; len(c.Seconds) != rounds-1 || len(c.CPU) != rounds-1 || !c.Checked {
			t.Errorf("entry %d: %+v", e, c)
		}
	}
}

func TestSaved(t *testing.T) {
	for _, c := range []struct {
		first, other []float64
		want         Spread
	}{
		{nil, nil, Spread{}},
		{[]float64{2}, []float64{1}, Spread{50, 50, 50, 1}},
		{[]float64{1, 4, 10}, []float64{1, 3, 11}, Spread{0, -10, 25, 3}},
		{[]float64{10, 10}, []float64{9, 9.5}, Spread{7.5, 5, 10, 2}},
		// A machine that slows down to a third is no matter.
		{[]float64{1, 2, 3, 1, 2, 3}, []float64{.9, 1.8, 2.7, .9, 1.8, 2.7}, Spread{10, 10, 10, 6}},
		// One wild round of nine lies outside.
		{[]float64{1, 1, 1, 1, 1, 1, 1, 1, 1}, []float64{.91, .92, .93, .94, .95, .96, .97, .98, 9}, Spread{5, 2, 8, 9}},
	} {
		if got := Saved(c.first, c.other); got != c.want {
			t.Errorf("%v against %v: %v, want %v", c.first, c.other, got, c.want)
		}
	}
}

// TestOutside compares with the table of the sign test.
func TestOutside(t *testing.T) {
	for n, want := range map[int]int{1: 0, 5: 0, 6: 0, 8: 0, 9: 1, 11: 1, 12: 2, 15: 3, 17: 4, 20: 5, 25: 7, 30: 9, 50: 17} {
		if got := outside(n); got != want {
			t.Errorf("of %d values %d lie outside, want %d", n, got, want)
		}
	}
}

// TestUsage: work of this process is seen, in less than ticks.
func TestUsage(t *testing.T) {
	before := usage()
	var sum float64
	for usage() == before { // ends only when time is seen to pass
		sum += math.Sqrt(sum + 1)
	}
	if got := usage() - before; got <= 0 {
		t.Errorf("%v seconds", got)
	}
}
