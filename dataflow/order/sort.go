package order

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// entry is a row while it is sorted: eight bytes of its key, and which it is.
type entry struct {
	prefix uint64
	row    int32
}

const (
	insertionMax = 24       // rows sorted by insertion
	cacheRows    = 16 << 10 // rows whose entries, twice, stay in the second-level cache
	bucketBits   = 11
)

// SortBytesPerRow is the most that a Sorter takes for each row.
const SortBytesPerRow = 16 + 16 + 4

// A Sorter sorts keys and keeps its memory for the next time. The zero value is
// ready.
type Sorter struct {
	a, b  []entry
	perm  []int32
	keys  *Keys
	count counters
}

// counters count the rows of each value of a digit; they are cleared before use.
type counters [1 << bucketBits]int32

// Sort is the order of k's rows: the row that comes first, the second, and so on.
// Rows that compare equal stay in their order.
func Sort(k *Keys) []int32 { return new(Sorter).Sort(k) }

// Sort is like the function of that name; the result is valid until the next call.
func (s *Sorter) Sort(k *Keys) []int32 {
	n := k.Len()
	s.perm = slices.Grow(s.perm[:0], n)[:n]
	s.a = slices.Grow(s.a[:0], n)[:n]
	sorted := true
	var last uint64
	for i, p := range k.prefix {
		s.a[i] = entry{p, int32(i)}
		sorted = sorted && last <= p
		last = p
	}
	s.keys = k
	if !sorted {
		s.b = slices.Grow(s.b[:0], n)[:n]
		radix(s.a, s.b, &s.count)
	}
	if !k.narrow || k.tie != nil {
		s.ties(s.a, 0, true)
	}
	for i, e := range s.a {
		s.perm[i] = e.row
	}
	s.keys = nil
	return s.perm
}

// radix sorts a by prefix, stably, with b as scratch of the same length.
func radix(a, b []entry, c *counters) {
	if len(a) <= insertionMax {
		insertion(a)
		return
	}
	first := a[0].prefix
	var differ uint64
	for i := range a {
		differ |= a[i].prefix ^ first
	}
	if differ == 0 {
		return
	}
	top, low := bits.Len64(differ), bits.TrailingZeros64(differ)
	if len(a) <= cacheRows {
		fromBelow(a, b, low, top, c)
		return
	}
	// Too much for the cache: cut by the highest bits that differ, then each piece.
	width := min(bucketBits, top-low)
	shift := top - width
	var count [1<<bucketBits + 1]int32
	mask := uint64(1)<<width - 1
	for i := range a {
		count[(a[i].prefix>>shift&mask)+1]++
	}
	for i := 1; i <= 1<<width; i++ {
		count[i] += count[i-1]
	}
	at := count
	for i := range a {
		d := a[i].prefix >> shift & mask
		b[at[d]] = a[i]
		at[d]++
	}
	copy(a, b)
	for d := range 1 << width {
		if lo, hi := count[d], count[d+1]; hi-lo > 1 && shift > low {
			radix(a[lo:hi], b[lo:hi], c)
		}
	}
}

// fromBelow sorts by the bits [low, top), the lowest digit first.
func fromBelow(a, b []entry, low, top int, counts *counters) {
	// Small inputs pay for the counters, large ones for the passes.
	digit := 8
	if len(a) > 4<<10 {
		digit = bucketBits
	}
	src, dst := a, b
	for shift := low; shift < top; shift += digit {
		mask := uint64(1)<<min(digit, top-shift) - 1
		c := counts[:mask+1]
		clear(c)
		for i := range src {
			c[src[i].prefix>>shift&mask]++
		}
		if c[src[0].prefix>>shift&mask] == int32(len(src)) {
			continue
		}
		var sum int32
		for i, n := range c {
			c[i] = sum
			sum += n
		}
		for i := range src {
			d := src[i].prefix >> shift & mask
			dst[c[d]] = src[i]
			c[d]++
		}
		src, dst = dst, src
	}
	if &src[0] != &a[0] {
		copy(a, src)
	}
}

func insertion(a []entry) {
	for i := 1; i < len(a); i++ {
		e := a[i]
		j := i
		for ; j > 0 && a[j-1].prefix > e.prefix; j-- {
			a[j] = a[j-1]
		}
		a[j] = e
	}
}

// ties finds the runs of equal prefix in a and orders each by what follows byte
// depth of the keys, which is where the prefixes were taken (first: behind the
// first column's marker).
func (s *Sorter) ties(a []entry, depth int64, first bool) {
	for lo := 0; lo < len(a); {
		hi := lo + 1
		for hi < len(a) && a[hi].prefix == a[lo].prefix {
			hi++
		}
		if hi-lo > 1 {
			next := depth + 8
			if first {
				next++
				// A null shares these prefixes with values; only the marker tells.
				if p := a[lo].prefix; p == 0 || p == math.MaxUint64 {
					next = 0
				}
			}
			s.tie(a[lo:hi], next)
		}
		lo = hi
	}
}

// tie orders rows whose keys agree before byte depth.
func (s *Sorter) tie(a []entry, depth int64) {
	k := s.keys
	if k.narrow {
		slices.SortStableFunc(a, func(x, y entry) int { return cmp.Compare(k.tieOf(int(x.row)), k.tieOf(int(y.row))) })
		return
	}
	// Keys that end before depth agree up to zeros: then the shorter comes first,
	// and if all are as long they are the same.
	longer, same := false, true
	length := len(k.key(int(a[0].row)))
	for i := range a {
		n := len(k.key(int(a[i].row)))
		longer = longer || int64(n) > depth
		same = same && n == length
	}
	switch {
	case !longer && same:
		return
	case !longer || len(a) <= insertionMax:
		slices.SortStableFunc(a, func(x, y entry) int { return bytes.Compare(k.key(int(x.row)), k.key(int(y.row))) })
		return
	}
	for i := range a {
		var w uint64
		if key := k.key(int(a[i].row)); int64(len(key)) > depth {
			w = word(key[depth:])
		}
		a[i].prefix = w
	}
	if len(s.b) < len(a) { // the prefixes were sorted already and there was no scratch
		s.b = slices.Grow(s.b[:0], len(a))[:len(a)]
	}
	radix(a, s.b[:len(a)], &s.count)
	s.ties(a, depth, false)
}
