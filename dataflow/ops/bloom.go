package ops

import "math/bits"

// A bloom filter says of most hashes that are not in a table that they are not: a few
// bits a key, where a table has a slot that is far away. It stands aside when more
// than half of what it is asked passes. The zero value lets everything pass.
type bloom struct {
	words []uint64 // two bits of one word for each hash
	shift uint
	tried int64
	found int64
	sel   []int32
}

const (
	// bloomRows is how many rows a table has at least for its filter to pay.
	bloomRows = 2048
	// bloomTrial is how many hashes are looked at before the filter is judged.
	bloomTrial = 1 << 14
)

// bloomBytes is the most that the filter of n rows takes.
func bloomBytes(n int) int64 {
	if n < bloomRows {
		return 0
	}
	return 8 * int64(bloomWords(n))
}

func bloomWords(n int) int { return 1 << bits.Len(uint(n/4-1)) }

// reset makes the filter ready for n rows.
func (b *bloom) reset(n int) {
	*b = bloom{sel: b.sel}
	if n < bloomRows {
		return
	}
	b.make(n)
}

func (b *bloom) make(n int) {
	b.words = make([]uint64, bloomWords(n))
	b.shift = uint(64 - bits.Len(uint(len(b.words)-1)))
}

// aside reports whether the filter lets everything pass.
func (b *bloom) aside() bool { return b.words == nil || b.tried > bloomTrial && 2*b.found > b.tried }

// place is the word and the bits of a hash.
func (b *bloom) place(h uint64) (word uint64, mask uint64) {
	h *= homeFactor
	return h >> b.shift, 1<<(h>>20&63) | 1<<(h>>26&63)
}

func (b *bloom) add(h uint64) {
	if b.words == nil {
		return
	}
	w, m := b.place(h)
	b.words[w] |= m
}

// pass gives the places of the hashes that may be in the table and sets the rows of
// the others to -1. The result is valid until the next call.
func (b *bloom) pass(rows []int32, hashes []uint64) []int32 {
	n := len(hashes)
	if cap(b.sel) < n {
		b.sel = make([]int32, n)
	}
	sel := b.sel[:n]
	if b.aside() {
		for i := range sel {
			sel[i] = int32(i)
		}
		return sel
	}
	words, shift, k := b.words, b.shift, 0
	rows = rows[:n]
	for i, h := range hashes {
		h *= homeFactor
		m := uint64(1)<<(h>>20&63) | uint64(1)<<(h>>26&63)
		rows[i] = -1
		sel[k] = int32(i)
		if words[h>>shift]&m == m {
			k++
		}
	}
	b.tried += int64(n)
	b.found += int64(k)
	return sel[:k]
}
