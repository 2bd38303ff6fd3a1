package ops

import (
	"math/rand/v2"
	"testing"
)

// A filter never loses a hash, keeps most of the others away, and stands aside where
// it is of no use.
func TestBloom(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for _, n := range []int{0, 10, bloomRows, 10_000} {
		for _, fixed := range []uint64{0, 0xffff, 0xffff << 48} { // bits that chose the task
			var b bloom
			b.reset(n)
			in := make([]uint64, n)
			for i := range in {
				in[i] = rng.Uint64() | fixed
				b.add(in[i])
			}
			rows := make([]int32, n)
			if got := b.pass(rows, in); len(got) != n {
				t.Errorf("%d of %d hashes are lost", n-len(got), n)
			}
			if n < bloomRows {
				continue
			}
			b.tried, b.found = 0, 0
			others := make([]uint64, 20_000)
			for i := range others {
				others[i] = rng.Uint64() | fixed
			}
			rows = make([]int32, len(others))
			got := b.pass(rows, others)
			if len(got) > len(others)/10 {
				t.Errorf("%d of %d other hashes pass a filter of %d", len(got), len(others), n)
			}
			for _, r := range rows {
				if r > 0 {
					t.Fatal("a row is neither free nor -1")
				}
			}
			b.tried, b.found = bloomTrial+1, bloomTrial
			if got := b.pass(rows, others); len(got) != len(others) {
				t.Error("a useless filter is used on")
			}
		}
	}
}
