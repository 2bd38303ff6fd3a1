package sketch

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// shapes are orders and distributions that a sketch may meet.
var shapes = map[string]func(rng *rand.Rand, i, n int) uint64{
	"even":      func(rng *rand.Rand, _, _ int) uint64 { return rng.Uint64() },
	"ascending": func(_ *rand.Rand, i, _ int) uint64 { return uint64(i) },
	"falling":   func(_ *rand.Rand, i, n int) uint64 { return uint64(n - i) },
	"zigzag":    func(_ *rand.Rand, i, n int) uint64 { return uint64(i%2*n + i) },
	"few":       func(rng *rand.Rand, _, _ int) uint64 { return uint64(rng.IntN(5)) },
	"one":       func(*rand.Rand, int, int) uint64 { return 7 },
	"skewed":    func(rng *rand.Rand, _, _ int) uint64 { return uint64(math.Exp(rng.NormFloat64() * 4)) },
}

var shares = []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1}

// off is how far the rank of v lies from the share that was asked for.
func off(sorted []uint64, v uint64, share float64) float64 {
	n := float64(len(sorted))
	lo, _ := slices.BinarySearch(sorted, v)
	hi, _ := slices.BinarySearch(sorted, v+1)
	want := math.Ceil(share * n)
	switch {
	case want < float64(lo+1):
		return (float64(lo+1) - want) / n
	case want > float64(hi):
		return (want - float64(hi)) / n
	}
	return 0
}

// Ranks are within 1 %, however many values there are, whatever their order, and in how
// many parts they were given; of few values they are exact.
func TestQuantilesError(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 100, 800, 801, 10_000, 300_000}[:race.Tries(7, 7, 6)] {
		for shape, next := range shapes {
			values := make([]uint64, n)
			for i := range values {
				values[i] = next(rng, i, n)
			}
			sorted := slices.Sorted(slices.Values(values))
			for _, parts := range []int{1, 2, 7, 64} {
				qs := make([]Quantiles, parts)
				for i, v := range values {
					qs[i*parts/n].Add(v)
				}
				var all Quantiles
				for i := range qs {
					if err := all.MergeBytes(qs[i].Append(nil)); err != nil {
						t.Fatal(err)
					}
				}
				if all.N() != uint64(n) {
					t.Errorf("%s of %d in %d parts: it knows of %d", shape, n, parts, all.N())
				}
				if all.held > 3*quantileK+200 {
					t.Errorf("%s of %d in %d parts: it holds %d values", shape, n, parts, all.held)
				}
				for _, share := range shares {
					v, ok := all.At(share)
					bound := 0.01
					if n <= quantileK || share == 0 || share == 1 {
						bound = 0
					}
					if share == 0 {
						ok = ok && v == sorted[0]
					} else if e := off(sorted, v, share); e > bound {
						t.Errorf("%s of %d in %d parts: the rank of %v is off by %.4f", shape, n, parts, share, e)
					}
					if !ok {
						t.Errorf("%s of %d in %d parts: %v is %d", shape, n, parts, share, v)
					}
				}
			}
		}
	}
}

// The same values in the same order are the same sketch.
func TestQuantilesDeterministic(t *testing.T) {
	build := func() []byte {
		var a, b Quantiles
		for i := range 20_000 {
			a.Add(mix(uint64(i)))
			if i%3 == 0 {
				b.Add(uint64(i))
			}
		}
		a.Merge(&b)
		return a.Append(nil)
	}
	if !bytes.Equal(build(), build()) {
		t.Error("two sketches of the same values differ")
	}
}

func TestQuantilesEmpty(t *testing.T) {
	var a, b Quantiles
	if err := a.MergeBytes(b.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.At(0.5); ok {
		t.Error("there is a median of nothing")
	}
	b.Add(9)
	b.Merge(&a)
	if v, ok := b.At(0.5); !ok || v != 9 {
		t.Errorf("the median of 9 is %d", v)
	}
}

func TestQuantilesDamaged(t *testing.T) {
	var q Quantiles
	for i := range 3000 {
		q.Add(uint64(i))
	}
	whole := q.Append(nil)
	other := slices.Clone(whole)
	other[0]++ // another number of values than there are
	for i, b := range [][]byte{nil, whole[:len(whole)-1], whole[:10], append(slices.Clone(whole), 0), other, {0xff}, {1, 1, 2, 3}} {
		var got Quantiles
		if err := got.MergeBytes(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func BenchmarkQuantiles(b *testing.B) {
	var q Quantiles
	for i := 0; b.Loop(); i++ {
		q.Add(mix(uint64(i)))
	}
}
