package ops

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
)

// A dense is a set of numbers that lie close together, as keys that were counted up do: a
// bit for each number from the least on. Asking it takes no hash, and what it says is
// true. Like a bloom filter it stands aside when more than half of what it is asked passes.
type dense struct {
	words        []uint64
	least        int64
	span         uint64 // to the largest
	tried, found int64
	rows         []int32
}

const (
	// denseBits is how many bits a number may take; a bloom filter takes sixteen to
	// thirty-two, at places that are far apart.
	denseBits = 128
	// denseMost is how many bits there are at most.
	denseMost = 1 << 27
)

// denseOf is the set of n whole numbers or fewer; nil where they lie too far apart or find
// no room in memory.
func denseOf(numbers []arrow.Array, n int, mem *held) *dense {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, a := range numbers {
		l, m := bounds(a)
		least, most = min(least, l), max(most, m)
	}
	if least > most { // no number at all: nothing passes
		return &dense{words: make([]uint64, 1)}
	}
	d := &dense{least: least, span: uint64(most) - uint64(least)}
	if d.span >= min(denseMost, max(1<<16, denseBits*uint64(n))) {
		return nil
	}
	words := int(d.span/64) + 1
	if !mem.try(int64(words) * 8) {
		return nil
	}
	d.words = make([]uint64, words)
	for _, a := range numbers {
		if a.DataType().ID() == arrow.INT64 {
			putBits(d, a, arrow.GetValues[int64](a.Data(), 1))
		} else {
			putBits(d, a, arrow.GetValues[int32](a.Data(), 1))
		}
	}
	return d
}

func putBits[T int32 | int64](d *dense, a arrow.Array, values []T) {
	nulls := a.NullN() > 0
	for i, v := range values {
		if nulls && a.IsNull(i) {
			continue
		}
		at := uint64(v) - uint64(d.least)
		d.words[at>>6] |= 1 << (at & 63)
	}
}

// passNone is a Sieve's that nothing passes.
func passNone([]arrow.Array) (rows []int32, all bool, err error) { return nil, false, nil }

// reader is the same set for one who asks.
func (d *dense) reader() *dense { return &dense{words: d.words, least: d.least, span: d.span} }

// pass is a Sieve's, of one column.
func (d *dense) pass(keys []arrow.Array) (rows []int32, all bool, err error) {
	if d.tried > bloomTrial && 2*d.found > d.tried {
		return nil, true, nil
	}
	a := keys[0]
	n := a.Len()
	if cap(d.rows) < n {
		d.rows = make([]int32, n)
	}
	if a.DataType().ID() == arrow.INT64 {
		rows = passBits(d, d.rows[:n], arrow.GetValues[int64](a.Data(), 1))
	} else {
		rows = passBits(d, d.rows[:n], arrow.GetValues[int32](a.Data(), 1))
	}
	if a.NullN() > 0 { // what lies below a null is any number
		valid := rows[:0]
		for _, r := range rows {
			if a.IsValid(int(r)) {
				valid = append(valid, r)
			}
		}
		rows = valid
	}
	d.tried += int64(n)
	d.found += int64(len(rows))
	return rows, len(rows) == n, nil
}

// passBits are the places of the values that are in the set.
func passBits[T int32 | int64](d *dense, rows []int32, values []T) []int32 {
	words, least, span, k := d.words, uint64(d.least), d.span, 0
	rows = rows[:len(values)]
	for i, v := range values {
		rows[k] = int32(i)
		if at := uint64(v) - least; at <= span {
			k += int(words[at>>6] >> (at & 63) & 1)
		}
	}
	return rows[:k]
}
