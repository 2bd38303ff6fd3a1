package dataflow

import (
	"reflect"
	"unsafe"
)

// anyTable is for all other keys: entries in the order they came, and an index of
// their hashes beside.
type anyTable[K comparable, V any] struct {
	b       *budget
	hash    func(unsafe.Pointer, uint64) uint64
	alike   func(p, q unsafe.Pointer) int // 0 of keys that are one though Go's == is false; or nil
	entries []anyEntry[K, V]
	index   []uint32 // position in entries plus one; 0: empty
	mask    uint64
	key     K       // where hash finds the key: an address that is the table's own
	keeper  *keeper // of keys
	keys    int64   // bytes that keys hold
}

type anyEntry[K comparable, V any] struct {
	h uint64
	k K
	v V
}

func newAnyTable[K comparable, V any](b *budget, key *layout) *anyTable[K, V] {
	t := &anyTable[K, V]{b: b, hash: key.hash, keeper: keeperOf(reflect.TypeFor[K]())}
	if holdsFloat(reflect.TypeFor[K]()) {
		t.alike = key.cmp
	}
	b.must(t.bytes(tableSlotsMin))
	t.make(tableSlotsMin)
	return t
}

// holdsFloat says whether values of a type may be NaN or hold one, which Go's == takes for
// unlike itself. All NaNs are one key, as they are for sorts and joins.
func holdsFloat(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Float32, reflect.Float64:
		return true
	case reflect.Struct:
		for i := range t.NumField() {
			if holdsFloat(t.Field(i).Type) {
				return true
			}
		}
	}
	return false
}

func (t *anyTable[K, V]) bytes(slots int) int64 {
	return int64(slots) * (4 + int64(unsafe.Sizeof(anyEntry[K, V]{}))*5/8)
}

func (t *anyTable[K, V]) make(slots int) {
	t.index = make([]uint32, slots)
	t.mask = uint64(slots - 1)
	t.entries = append(make([]anyEntry[K, V], 0, slots*5/8), t.entries...)
}

func (t *anyTable[K, V]) at(k K) (*V, bool) {
	t.key = k
	h := t.hash(unsafe.Pointer(&t.key), 0)
	i := h & t.mask
	for ; t.index[i] != 0; i = (i + 1) & t.mask {
		if e := &t.entries[t.index[i]-1]; e.h == h && (e.k == k || t.alike != nil && t.alike(unsafe.Pointer(&e.k), unsafe.Pointer(&t.key)) == 0) {
			return &e.v, false
		}
	}
	if !roomy(len(t.entries), len(t.index)) {
		if !t.grow() {
			return nil, true
		}
		i = t.empty(h)
	}
	if t.keeper != nil {
		n := t.keeper.heap(unsafe.Pointer(&t.key))
		if !t.b.grow(n) {
			return nil, true
		}
		t.keys += n
		t.keeper.own(nil, unsafe.Pointer(&t.key))
	}
	t.entries = append(t.entries, anyEntry[K, V]{h: h, k: t.key})
	t.index[i] = uint32(len(t.entries))
	return &t.entries[len(t.entries)-1].v, true
}

func (t *anyTable[K, V]) empty(h uint64) uint64 {
	i := h & t.mask
	for t.index[i] != 0 {
		i = (i + 1) & t.mask
	}
	return i
}

func (t *anyTable[K, V]) grow() bool {
	old := len(t.index)
	if !t.b.grow(t.bytes(2 * old)) {
		return false
	}
	t.make(2 * old)
	for n := range t.entries {
		t.index[t.empty(t.entries[n].h)] = uint32(n + 1)
	}
	t.b.shrink(t.bytes(old))
	return true
}

func (t *anyTable[K, V]) len() int { return len(t.entries) }

func (t *anyTable[K, V]) each(f func(K, *V)) {
	for i := range t.entries {
		f(t.entries[i].k, &t.entries[i].v)
	}
}

func (t *anyTable[K, V]) reset() {
	clear(t.entries)
	t.entries = t.entries[:0]
	clear(t.index)
	t.b.shrink(t.keys)
	t.keys = 0
}

func (t *anyTable[K, V]) free() {
	t.entries, t.index = nil, nil
	t.b.close()
}
