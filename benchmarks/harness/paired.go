package harness

import (
	"fmt"
	"math"
	"slices"
)

// A Spread is what was seen of a quantity in several rounds: the median, and the range in
// which the true median lies with a certainty of 95 %, whatever the shape of the noise.
// With fewer than six rounds nothing is that certain; the range is that of all rounds then.
type Spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Rounds int     `json:"rounds"`
}

// String is for people.
func (s Spread) String() string {
	return fmt.Sprintf("%.1f (%.1f to %.1f, %d rounds)", s.Median, s.Low, s.High, s.Rounds)
}

// Saved says by how many percent of what the first takes other takes less. Both are of
// the same rounds, one after the other: what was slow in a round was slow for both, so that
// the differences within rounds say more than the difference of two medians.
func Saved(first, other []float64) Spread {
	n := min(len(first), len(other))
	all := make([]float64, n)
	for i := range n {
		all[i] = 100 * (first[i] - other[i]) / first[i]
	}
	return spread(all)
}

func spread(all []float64) Spread {
	if len(all) == 0 {
		return Spread{}
	}
	all = slices.Sorted(slices.Values(all))
	k := outside(len(all))
	s := Spread{Median: median(all), Low: all[k], High: all[len(all)-1-k], Rounds: len(all)}
	for _, v := range []*float64{&s.Median, &s.Low, &s.High} {
		*v = math.Round(*v*100) / 100
	}
	return s
}

// outside is how many of n values may be left out at each end so that the true median
// lies among the others with 95 %: how many of n lie below it is a matter of n coins.
func outside(n int) int {
	p := math.Pow(0.5, float64(n)) // of exactly k below
	var below float64
	for k := range n {
		if below += p; below > 0.025 {
			return max(0, k-1)
		}
		p *= float64(n-k) / float64(k+1)
	}
	return 0
}
