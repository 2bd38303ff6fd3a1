package dataflow

import "unsafe"

// intTable is open addressing for keys of eight bytes. Zero marks an empty slot;
// the key zero has a place of its own.
type intTable[K comparable, V any] struct {
	b     *budget
	slots []intSlot[V]
	mask  uint64
	n     int
	zero  V
	has0  bool
}

type intSlot[V any] struct {
	k uint64
	v V
}

func newIntTable[K comparable, V any](b *budget) *intTable[K, V] {
	t := &intTable[K, V]{b: b}
	b.must(t.bytes(tableSlotsMin))
	t.make(tableSlotsMin)
	return t
}

func (t *intTable[K, V]) bytes(slots int) int64 {
	return int64(slots) * int64(unsafe.Sizeof(intSlot[V]{}))
}

func (t *intTable[K, V]) make(slots int) {
	t.slots = make([]intSlot[V], slots)
	t.mask = uint64(slots - 1)
}

func (t *intTable[K, V]) at(key K) (*V, bool) {
	k := *(*uint64)(unsafe.Pointer(&key))
	if k == 0 {
		fresh := !t.has0
		t.has0 = true
		return &t.zero, fresh
	}
	i := mix64(k, 0) & t.mask
	for {
		e := &t.slots[i]
		if e.k == k {
			return &e.v, false
		}
		if e.k == 0 {
			break
		}
		i = (i + 1) & t.mask
	}
	if !roomy(t.n, len(t.slots)) {
		if !t.grow() {
			return nil, true
		}
		i = t.empty(k)
	}
	t.n++
	t.slots[i].k = k
	return &t.slots[i].v, true
}

func (t *intTable[K, V]) empty(k uint64) uint64 {
	i := mix64(k, 0) & t.mask
	for t.slots[i].k != 0 {
		i = (i + 1) & t.mask
	}
	return i
}

func (t *intTable[K, V]) grow() bool {
	old := t.slots
	if !t.b.grow(t.bytes(2 * len(old))) {
		return false
	}
	t.make(2 * len(old))
	for i := range old {
		if old[i].k != 0 {
			t.slots[t.empty(old[i].k)] = old[i]
		}
	}
	t.b.shrink(t.bytes(len(old)))
	return true
}

func (t *intTable[K, V]) len() int {
	if t.has0 {
		return t.n + 1
	}
	return t.n
}

func (t *intTable[K, V]) each(f func(K, *V)) {
	var k uint64
	if t.has0 {
		f(*(*K)(unsafe.Pointer(&k)), &t.zero)
	}
	for i := range t.slots {
		if k = t.slots[i].k; k != 0 {
			f(*(*K)(unsafe.Pointer(&k)), &t.slots[i].v)
		}
	}
}

func (t *intTable[K, V]) reset() {
	clear(t.slots)
	var v V
	t.n, t.zero, t.has0 = 0, v, false
}

func (t *intTable[K, V]) free() {
	t.slots = nil
	t.b.close()
}
