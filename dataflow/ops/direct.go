package ops

import (
	"math"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
)

// A direct finds rows by a key that is a whole number, where the numbers lie close
// together: an entry for each from the least to the largest. Asking it takes neither a
// hash nor a comparison, and one place in memory; where the rows lie in the order of their
// numbers and none is missing, not even that.
type direct struct {
	first []int32 // of each number, the first row that has it plus one, or 0; and one more 0
	least int64
	rows  uint64 // where first is nil: so many numbers, each the next row's
}

const (
	// directFew is how many entries are few, however few rows there are.
	directFew = 1 << 16
	// directSparse is how many entries a row may take beyond that. A table has more than
	// eight times their bytes for a row.
	directSparse = 32
	// directMost is how many entries there are at most.
	directMost = 1 << 27
)

// wholeKey reports whether the key is one whole number.
func wholeKey(s *arrow.Schema, cols []int) bool {
	if len(cols) != 1 {
		return false
	}
	switch s.Field(cols[0]).Type.ID() {
	case arrow.INT32, arrow.DATE32, arrow.INT64:
		return true
	}
	return false
}

// directOf is an empty index of n whole numbers; nil where they lie too far apart, or there
// is no room. What mem holds then is its bytes beside others.
func directOf(numbers []arrow.Array, n int, mem *held, others int64) *direct {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	for _, a := range numbers {
		l, m := bounds(a)
		least, most = min(least, l), max(most, m)
	}
	if least > most { // no number at all
		return &direct{first: make([]int32, 1)}
	}
	span := uint64(most) - uint64(least)
	if span >= min(directMost, max(directFew, directSparse*uint64(n))) {
		return nil
	}
	if span+1 == uint64(n) && counted(numbers, least) {
		mem.trySet(others) // which is less
		return &direct{least: least, rows: uint64(n)}
	}
	// Beside the entries: chain and mark of each row.
	if !mem.trySet(others + 4*int64(span+2) + 5*int64(n)) {
		return nil
	}
	return &direct{first: make([]int32, span+2), least: least}
}

// bounds are the least and the largest of whole numbers; the largest is less if all are null.
func bounds(a arrow.Array) (least, most int64) {
	if a.DataType().ID() == arrow.INT64 {
		return boundsOf(a, arrow.GetValues[int64](a.Data(), 1))
	}
	return boundsOf(a, arrow.GetValues[int32](a.Data(), 1))
}

func boundsOf[T int32 | int64](a arrow.Array, values []T) (int64, int64) {
	least, most := int64(math.MaxInt64), int64(math.MinInt64)
	if a.NullN() > 0 {
		for i, v := range values {
			if a.IsValid(i) {
				least, most = min(least, int64(v)), max(most, int64(v))
			}
		}
		return least, most
	}
	for _, v := range values {
		least, most = min(least, int64(v)), max(most, int64(v))
	}
	return least, most
}

// counted reports whether each number is one more than that before it, from the least on.
func counted(numbers []arrow.Array, least int64) bool {
	for _, a := range numbers {
		if a.NullN() > 0 {
			return false
		}
		is := false
		if a.DataType().ID() == arrow.INT64 {
			is = countedFrom(arrow.GetValues[int64](a.Data(), 1), least)
		} else {
			is = countedFrom(arrow.GetValues[int32](a.Data(), 1), least)
		}
		if !is {
			return false
		}
		least += int64(a.Len())
	}
	return true
}

func countedFrom[T int32 | int64](values []T, least int64) bool {
	for i, v := range values {
		if int64(v) != least+int64(i) {
			return false
		}
	}
	return true
}

// index puts the n rows in. It gives, of each, the next with the same number, or -1; nil where
// all differ.
func (d *direct) index(numbers []arrow.Array, n int) []int32 {
	if d.first == nil {
		return nil
	}
	next, same := make([]int32, n), false
	for _, a := range slices.Backward(numbers) {
		n -= a.Len()
		var some bool
		if a.DataType().ID() == arrow.INT64 {
			some = put(d, next, n, a, arrow.GetValues[int64](a.Data(), 1))
		} else {
			some = put(d, next, n, a, arrow.GetValues[int32](a.Data(), 1))
		}
		same = same || some
	}
	if !same {
		return nil
	}
	return next
}

// put puts in the rows from the base-th on, the last first. It says whether any has a
// number that was in before.
func put[T int32 | int64](d *direct, next []int32, base int, a arrow.Array, values []T) bool {
	nulls, least, same := a.NullN() > 0, uint64(d.least), int32(0)
	for i := len(values) - 1; i >= 0; i-- {
		if nulls && a.IsNull(i) {
			continue
		}
		e := &d.first[uint64(values[i])-least]
		same |= *e
		next[base+i] = *e - 1
		*e = int32(base+i) + 1
	}
	return same != 0
}

// find sets heads to the first row with each number, or -1.
func (d *direct) find(heads []int32, a arrow.Array) {
	if a.DataType().ID() == arrow.INT64 {
		look(d, heads, arrow.GetValues[int64](a.Data(), 1))
	} else {
		look(d, heads, arrow.GetValues[int32](a.Data(), 1))
	}
	if a.NullN() == 0 {
		return
	}
	for i := range heads {
		if a.IsNull(i) {
			heads[i] = -1
		}
	}
}

// look reads the entries of values; those beyond are the last one's.
func look[T int32 | int64](d *direct, heads []int32, values []T) {
	heads = heads[:len(values)]
	least := uint64(d.least)
	if d.first == nil {
		for i, v := range values {
			row := int32(uint64(v) - least)
			if uint64(v)-least >= d.rows {
				row = -1
			}
			heads[i] = row
		}
		return
	}
	first, none := d.first, uint64(len(d.first)-1)
	for i, v := range values {
		heads[i] = first[min(uint64(v)-least, none)] - 1
	}
}
