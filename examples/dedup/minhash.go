package main

import (
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"strings"
)

// shingleWords is how many words in a row make an element of a document's set.
const shingleWords = 3

// shingles is the set of a text, hashed, in order. A text of fewer words is one
// element.
func shingles(text string) []uint64 {
	words := strings.Fields(text)
	var set []uint64
	for i := 0; i == 0 || i+shingleWords <= len(words); i++ {
		h := fnv.New64a()
		for _, w := range words[i:min(i+shingleWords, len(words))] {
			h.Write([]byte(w))
			h.Write([]byte{' '})
		}
		set = append(set, h.Sum64())
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// similarity is the number of common elements by that of all.
func similarity(a, b []uint64) float64 {
	common, i, k := 0, 0, 0
	for i < len(a) && k < len(b) {
		switch {
		case a[i] < b[k]:
			i++
		case a[i] > b[k]:
			k++
		default:
			common, i, k = common+1, i+1, k+1
		}
	}
	return float64(common) / float64(len(a)+len(b)-common)
}

// hashes is how many MinHashes a signature has at most.
const hashes = 128

// bands divides a signature: two documents are candidates if all rows of one band
// are the same.
type bands struct{ count, rows int }

// bandsFor is the division with the fewest candidates that overlooks no more than
// one in a thousand of the pairs that are just as alike as the threshold: a pair of
// similarity t has a band of r rows in common with probability t^r.
func bandsFor(threshold float64) bands {
	best := bands{hashes, 1}
	for rows := 2; rows <= hashes; rows++ {
		b := bands{hashes / rows, rows}
		if math.Pow(1-math.Pow(threshold, float64(rows)), float64(b.count)) > 0.001 {
			break
		}
		best = b
	}
	return best
}

// signature is a hash of each band of a text's signature.
func (b bands) signature(text string) iter.Seq2[int, uint64] {
	set := shingles(text)
	return func(yield func(int, uint64) bool) {
		for band := range b.count {
			var sum uint64
			for row := range b.rows {
				sum = mix(sum ^ minimum(set, uint64(band*b.rows+row)))
			}
			if !yield(band, sum) {
				return
			}
		}
	}
}

// minimum is the smallest element of a set in the n-th random order of all.
func minimum(set []uint64, n uint64) uint64 {
	key, least := mix(n+1), uint64(math.MaxUint64)
	for _, v := range set {
		least = min(least, mix(v^key))
	}
	return least
}

// mix permutes the numbers of 64 bits as if at random.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
