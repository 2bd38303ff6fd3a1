package ops

import (
	"math/bits"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// A table finds rows by their key: flat, open addressing, a slot for each distinct
// key. A slot is the upper half of the key's hash above the row's number plus one;
// 0 is free. Keys compare by the bytes of package order, so that what sorts alike
// joins alike: -0 and 0, all NaNs.
type table struct {
	slots []uint64
	shift uint // of a hash, to the slot where its probe begins
}

const homeFactor = 0x9e3779b97f4a7c15

// slotBytes is the most that a table of n rows takes.
func slotBytes(n int) int64 { return 8 * int64(slotsFor(n)) }

func slotsFor(n int) int { return 1 << bits.Len(uint(max(n+n/2, 8)-1)) }

// reset makes the table empty, with room for n keys.
func (t *table) reset(n int) {
	size := slotsFor(n)
	if cap(t.slots) >= size {
		t.slots = t.slots[:size]
		clear(t.slots)
	} else {
		t.slots = make([]uint64, size)
	}
	t.shift = uint(64 - bits.Len(uint(size-1)))
}

// home is where the probe of a hash begins. The hash is multiplied because the
// bits that scattered rows into runs are the same within a run.
func (t *table) home(h uint64) uint64 { return h * homeFactor >> t.shift }

// find is the row of have that has the key of row i of k, and the slot where it is
// or, if -1, where it belongs.
func (t *table) find(h uint64, k *order.Keys, i int, have *order.Keys) (row int32, slot uint64) {
	mask := uint64(len(t.slots) - 1)
	for at := t.home(h); ; at = (at + 1) & mask {
		s := t.slots[at]
		if s == 0 {
			return -1, at
		}
		if s>>32 == h>>32 {
			if r := int32(uint32(s) - 1); k.Compare(i, have, int(r)) == 0 {
				return r, at
			}
		}
	}
}

// findAll sets rows[i], for the i that sel names, to what find says of row i of k. Numbers
// take a loop of their own.
func (t *table) findAll(rows, sel []int32, hashes []uint64, k, have *order.Keys) {
	a, b := k.Numbers(), have.Numbers()
	if a == nil || b == nil {
		for _, i := range sel {
			rows[i], _ = t.find(hashes[i], k, int(i), have)
		}
		return
	}
	slots, shift := t.slots, t.shift
	mask := uint64(len(slots) - 1)
	for _, i := range sel {
		h := hashes[i]
		v, found := a[i], int32(-1)
		for at := h * homeFactor >> shift; ; at++ {
			s := slots[at&mask]
			if s == 0 {
				break
			}
			if r := uint32(s) - 1; s>>32 == h>>32 && b[r] == v {
				found = int32(r)
				break
			}
		}
		rows[i] = found
	}
}

// free is the slot for a key of a hash that is known to be new.
func (t *table) free(h uint64) uint64 {
	at := t.home(h)
	for t.slots[at] != 0 {
		at = (at + 1) & uint64(len(t.slots)-1)
	}
	return at
}

// put sets a slot to the row of a key.
func (t *table) put(slot, h uint64, row int32) {
	t.slots[slot] = h>>32<<32 | uint64(uint32(row)+1)
}

// orderBy is the columns as sort keys, whose bytes tell keys apart.
func orderBy(cols []int) []dataflow.SortKey {
	keys := make([]dataflow.SortKey, len(cols))
	for i, c := range cols {
		keys[i].Column = c
	}
	return keys
}
