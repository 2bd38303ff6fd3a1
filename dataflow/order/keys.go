package order

import (
	"bytes"
	"cmp"
	"math/bits"
)

// Keys are the sort keys of a sequence of rows, made by an Encoder. Keys of one
// encoder, or of two made from the same schema and sort keys, compare with each
// other. The zero value is empty and ready. One goroutine writes at a time.
type Keys struct {
	// prefix grows with the key: a smaller prefix means a smaller key, an equal one
	// leaves the decision to the rest.
	prefix []uint64

	// A narrow key is a single number of at most eight bytes: the prefix says it
	// all, except that null needs a place beside the smallest (or, descending,
	// largest) value. tie is nil while there was no null.
	narrow bool
	tie    []uint8

	// Any other key is buf[off[i]:off[i+1]].
	buf []byte
	off []int64
}

const (
	tieNullFirst = 0
	tieValue     = 1
	tieNullLast  = 2
)

// Len is the number of rows.
func (k *Keys) Len() int { return len(k.prefix) }

// Reset forgets all rows and keeps the memory.
func (k *Keys) Reset() {
	k.prefix, k.buf, k.off, k.tie = k.prefix[:0], k.buf[:0], k.off[:0], nil
}

// Truncate forgets all rows but the first n.
func (k *Keys) Truncate(n int) {
	if n == 0 {
		k.Reset()
		return
	}
	k.prefix = k.prefix[:n]
	if k.tie != nil {
		k.tie = k.tie[:n]
	}
	if !k.narrow {
		k.off = k.off[:n+1]
		k.buf = k.buf[:k.off[n]]
	}
}

// Bytes is the memory held.
func (k *Keys) Bytes() int64 {
	return int64(8*cap(k.prefix) + cap(k.buf) + 8*cap(k.off) + cap(k.tie))
}

// Prefix is a number that never decreases with the key.
func (k *Keys) Prefix(i int) uint64 { return k.prefix[i] }

// Compare orders row i of k and row j of o: negative, zero or positive.
func (k *Keys) Compare(i int, o *Keys, j int) int {
	if a, b := k.prefix[i], o.prefix[j]; a != b {
		if a < b {
			return -1
		}
		return 1
	}
	return k.rest(i, o, j)
}

// rest compares rows of equal prefix.
func (k *Keys) rest(i int, o *Keys, j int) int {
	if k.narrow {
		if k.tie == nil && o.tie == nil {
			return 0
		}
		return cmp.Compare(k.tieOf(i), o.tieOf(j))
	}
	return bytes.Compare(k.key(i), o.key(j))
}

func (k *Keys) key(i int) []byte { return k.buf[k.off[i]:k.off[i+1]] }

func (k *Keys) tieOf(i int) uint8 {
	if k.tie == nil {
		return tieValue
	}
	return k.tie[i]
}

// Search is the number of rows of bounds, which must be sorted, that are not after
// row i of k: the partition of the row when each bound begins one.
func Search(bounds, k *Keys, i int) int {
	// The prefixes tell nearly all keys apart. This loop runs equally often for each row
	// and has no other condition: nothing is mispredicted.
	p, lo := k.prefix[i], 0
	for n := uint(len(bounds.prefix)); n > 0; n >>= 1 {
		half := int(n+1) >> 1
		_, less := bits.Sub64(bounds.prefix[lo+half-1], p, 0)
		lo += half & -int(less)
	}
	hi := bounds.Len()
	if lo == hi || bounds.prefix[lo] != p {
		return lo
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if bounds.Compare(mid, k, i) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// AppendFrom adds row i of o, which is of an encoder of the same schema and sort
// keys.
func (k *Keys) AppendFrom(o *Keys, i int) {
	if k.Len() == 0 {
		k.narrow = o.narrow
	}
	k.prefix = append(k.prefix, o.prefix[i])
	if !k.narrow {
		if len(k.off) == 0 {
			k.off = append(k.off, 0)
		}
		k.buf = append(k.buf, o.key(i)...)
		k.off = append(k.off, int64(len(k.buf)))
		return
	}
	if k.tie == nil && o.tieOf(i) != tieValue {
		for range len(k.prefix) - 1 {
			k.tie = append(k.tie, tieValue)
		}
	}
	if k.tie != nil || o.tieOf(i) != tieValue {
		k.tie = append(k.tie, o.tieOf(i))
	}
}

// RowBytes is about what a row takes.
func (k *Keys) RowBytes() int64 {
	if n := k.Len(); n > 0 {
		return int64(8*len(k.prefix)+len(k.buf)+8*len(k.off)+len(k.tie))/int64(n) + 1
	}
	return 0
}

// Numbers are the prefixes of all rows where nothing else tells keys apart, as for
// a single number without nulls; nil otherwise.
func (k *Keys) Numbers() []uint64 {
	if !k.narrow || k.tie != nil {
		return nil
	}
	return k.prefix
}
