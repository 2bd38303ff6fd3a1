package sketch

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// The error is what is promised, over many sets of each size: small sets nearly exact,
// large ones by the standard error of 2^14 registers.
func TestDistinctError(t *testing.T) {
	for _, c := range []struct {
		n, tries int
		rms      float64 // of the relative error
	}{{0, 1, 0}, {1, 20, 0}, {100, 50, 0.0005}, {3000, 40, 0.001}, {4200, 40, 0.0095}, {10_000, 60, 0.0095}, {100_000, 60, 0.0095}, {1_000_000, 12, 0.012}}[:race.Tries(8, 8, 5)] {
		var sum, worst float64
		for try := range c.tries {
			var d Distinct
			for i := range c.n {
				h := mix(uint64(try)<<40 + uint64(i) + 1)
				d.Add(h)
				if i%3 == 0 {
					d.Add(h) // again: it does not count
				}
			}
			e := float64(d.Count()-int64(c.n)) / float64(max(1, c.n))
			sum += e * e
			worst = max(worst, math.Abs(e))
		}
		if rms := math.Sqrt(sum / float64(c.tries)); rms > c.rms || worst > 4*c.rms {
			t.Errorf("%d values: the error is %.5f, want %.5f at most; the worst of %d is %.5f", c.n, rms, c.rms, c.tries, worst)
		}
	}
}

// What a sketch holds depends on the set alone: not on the order, nor on how it was cut
// and merged, also near where registers take over.
func TestDistinctIsOfTheSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 17, 4090, 4096, 4097, 4100, 30_000} {
		hashes := make([]uint64, n)
		for i := range hashes {
			hashes[i] = mix(uint64(i) + 77)
			if i%50 == 0 {
				hashes[i] |= 1<<39 - 1 // alike in what counts, but for the rank
				hashes[i] &^= 1 << (rng.IntN(39))
			}
		}
		var want []byte
		for _, parts := range []int{1, 2, 7} {
			ds := make([]Distinct, parts)
			rng.Shuffle(n, func(i, j int) { hashes[i], hashes[j] = hashes[j], hashes[i] })
			for i, h := range hashes {
				ds[i%parts].Add(h)
				if rng.IntN(4) == 0 {
					ds[rng.IntN(parts)].Add(h)
				}
			}
			var all Distinct
			for _, i := range rng.Perm(parts) {
				if err := all.MergeBytes(ds[i].Append(nil)); err != nil {
					t.Fatal(err)
				}
			}
			got := all.Append(nil)
			if want == nil {
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d values in %d parts: another sketch (%d bytes, not %d)", n, parts, len(got), len(want))
			}
		}
	}
}

// An entry of a few bits and a register say the same of a hash.
func TestEntryAndRegister(t *testing.T) {
	for i := range 20_000 {
		h := mix(uint64(i))
		if i%2 == 0 {
			h &= math.MaxUint64 << (i % 64) // long rows of zeros
		}
		if i%3 == 0 {
			h >>= i % 60
		}
		a, b := Distinct{dense: make([]uint8, registers)}, Distinct{dense: make([]uint8, registers)}
		a.Add(h)
		b.entry(entryOf(h))
		if !bytes.Equal(a.dense, b.dense) {
			t.Fatalf("hash %016x: the registers differ", h)
		}
		if race.Enabled && i > 500 {
			break
		}
	}
}

func TestDistinctDamaged(t *testing.T) {
	var few, many Distinct
	few.Add(mix(1))
	few.Add(mix(2))
	for i := range 5000 {
		many.Add(mix(uint64(i)))
	}
	high := many.Append(nil)
	high[9] = 52
	for i, b := range [][]byte{nil, {0}, {3}, {1, 0}, few.Append(nil)[:8], append(few.Append(nil), few.Append(nil)[1:]...), {1, 0, 0, 0, 0}, many.Append(nil)[:100], high, {1, 1, 0, 0, 0x80}} {
		var d Distinct
		if err := d.MergeBytes(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func BenchmarkDistinct(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var d Distinct
			for i := 0; b.Loop(); i++ {
				d.Add(mix(uint64(i % n)))
			}
		})
	}
}
