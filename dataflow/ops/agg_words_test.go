package ops

import (
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A text's words are the same whatever lies behind it, and however they are read.
func TestPaddedText(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for n := range inlineText + 1 {
		for range 50 {
			b := make([]byte, inlineText)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			lo, hi := shortText(b[:n])
			if gotLo, gotHi := paddedText(b, n); gotLo != lo || gotHi != hi {
				t.Fatalf("the words of %x are %x %x, want %x %x", b[:n], gotLo, gotHi, lo, hi)
			}
		}
	}
}

// Which groups had a value is known whatever comes first: nulls, new groups, an end.
func TestSeen(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 2))
	for range 200 {
		var s seen
		var want []uint8
		for range 1 + rng.IntN(12) {
			if rng.IntN(8) == 0 {
				s.forget()
				want = want[:0]
			}
			n := max(len(want), 1) + rng.IntN(4)
			s.has, want = resized(s.has, n), resized(want, n)
			b := array.NewInt64Builder(memory.DefaultAllocator)
			var gids []int32
			nulls := rng.IntN(3) == 0
			for range rng.IntN(6) {
				g := int32(rng.IntN(n))
				gids = append(gids, g)
				if nulls && rng.IntN(2) == 0 {
					b.AppendNull()
					continue
				}
				b.Append(1)
				want[g] = 1
			}
			a := b.NewArray()
			s.mark(gids, a)
			a.Release()
			b.Release()
			for g := 1; g < len(want); g++ {
				if s.has[g] != want[g] {
					t.Fatalf("groups %v had a value, want %v", s.has, want)
				}
			}
		}
	}
}
