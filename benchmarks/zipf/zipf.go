// Package zipf writes text whose words follow Zipf's law: the same bytes for the
// same seed, on every machine.
package zipf

import (
	"bufio"
	"io"
	"math"
	"math/rand/v2"
)

// Text describes what to write.
type Text struct {
	Bytes      int64   // about so many; the last line is whole
	Vocabulary int     // distinct words that may appear
	Exponent   float64 // of the law: 1 for natural text; 0 gives all words alike
	Seed       uint64
	HotShare   float64 // share of the words that are one and the same word besides, 0..1
}

// Write writes the text and returns how many bytes and words it has.
func (t Text) Write(w io.Writer) (bytes, words int64, err error) {
	rng := rand.New(rand.NewPCG(t.Seed, 1))
	vocabulary := makeWords(t.Vocabulary, rng)
	pick := newAlias(t.Vocabulary, t.Exponent)
	out := bufio.NewWriterSize(w, 1<<20)
	for bytes < t.Bytes {
		n := 5 + rng.IntN(12)
		for i := range n {
			k := 0
			if t.HotShare == 0 || rng.Float64() >= t.HotShare {
				k = pick.next(rng)
			}
			if i > 0 {
				if err := out.WriteByte(' '); err != nil {
					return bytes, words, err
				}
				bytes++
			}
			m, err := out.WriteString(vocabulary[k])
			if err != nil {
				return bytes, words, err
			}
			bytes += int64(m)
			words++
		}
		if err := out.WriteByte('\n'); err != nil {
			return bytes, words, err
		}
		bytes++
	}
	return bytes, words, out.Flush()
}

// makeWords gives n distinct words; frequent ones are short, as in natural text.
func makeWords(n int, rng *rand.Rand) []string {
	words := make([]string, 0, n)
	seen := make(map[string]bool, n)
	var b []byte
	for len(words) < n {
		rank := float64(len(words) + 2)
		length := 1 + int(math.Log2(rank)/2.2) + rng.IntN(5)
		b = b[:0]
		for range length {
			b = append(b, 'a'+byte(rng.IntN(26)))
		}
		if w := string(b); !seen[w] {
			seen[w] = true
			words = append(words, w)
		}
	}
	return words
}

// alias draws ranks in constant time (Walker's alias method, in Vose's form:
// M. D. Vose, "A linear algorithm for generating random numbers with a given
// distribution", IEEE TSE 17(9), 1991).
type alias struct {
	share []float64
	other []int32
}

func newAlias(n int, exponent float64) *alias {
	a := &alias{share: make([]float64, n), other: make([]int32, n)}
	var sum float64
	for i := range a.share {
		a.share[i] = math.Pow(float64(i+1), -exponent)
		sum += a.share[i]
	}
	var small, large []int32
	for i := range a.share {
		a.share[i] *= float64(n) / sum
		if a.share[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		a.other[s] = l
		a.share[l] -= 1 - a.share[s]
		if a.share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	for _, rest := range [][]int32{small, large} {
		for _, i := range rest {
			a.share[i] = 1
		}
	}
	return a
}

func (a *alias) next(rng *rand.Rand) int {
	i := rng.IntN(len(a.share))
	if rng.Float64() < a.share[i] {
		return i
	}
	return int(a.other[i])
}
