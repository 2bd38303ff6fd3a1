package dataflow

import (
	"encoding/binary"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// stringTable is open addressing with the keys in the slots: a short key is two words
// that are compared at once, a longer one its hash and its place in an arena. A key that
// is kept is copied, so that it does not hold on to the batch it came in.
type stringTable[K comparable, V any] struct {
	b     *budget
	slots []stringSlot[V]
	mask  uint64
	n     int
	long  []byte // the long keys, each behind its length
	room  int64  // of long, as reserved
	keys  keyArena
}

type stringSlot[V any] struct {
	shortKey // of a long key: hash, longTag and place in long; none: the slot is empty
	v        V
}

const (
	// longRoomMin is room for long keys that a table has from the beginning.
	longRoomMin = 4 << 10
	// longHead is what stands before a long key: its length.
	longHead = 4
)

func newStringTable[K comparable, V any](b *budget) *stringTable[K, V] {
	t := &stringTable[K, V]{b: b, room: longRoomMin}
	b.must(t.bytes(tableSlotsMin) + longRoomMin)
	t.make(tableSlotsMin)
	return t
}

func (t *stringTable[K, V]) bytes(slots int) int64 {
	return int64(slots) * int64(unsafe.Sizeof(stringSlot[V]{}))
}

func (t *stringTable[K, V]) make(slots int) {
	t.slots = make([]stringSlot[V], slots)
	hugePages(t.slots)
	t.mask = uint64(slots - 1)
}

func (t *stringTable[K, V]) at(k K) (*V, bool) {
	s := *(*string)(unsafe.Pointer(&k))
	if short, ok := shortOf(s); ok {
		return t.atShort(&short, short.hash())
	}
	return t.atLong(s)
}

// atShort is at for a key whose hash is known.
func (t *stringTable[K, V]) atShort(k *shortKey, h uint64) (*V, bool) {
	slots, mask := t.slots, t.mask
	i := h & mask
	for {
		e := &slots[i&uint64(len(slots)-1)]
		if e.differs(k) == 0 {
			return &e.v, false
		}
		if e.none() {
			break
		}
		i = (i + 1) & mask
	}
	return t.insert(i, h, k)
}

// touch brings the slots of some hashes into the processor's cache, all at once: what
// it returns means nothing.
func (t *stringTable[K, V]) touch(hashes []uint64) (sum uint64) {
	slots, mask := t.slots, t.mask
	for _, h := range hashes {
		sum += slots[h&mask&uint64(len(slots)-1)].hi
	}
	return sum
}

// insert fills the empty slot i, or makes room and fills another. The hash of a long
// key is its lo.
func (t *stringTable[K, V]) insert(i, h uint64, k *shortKey) (*V, bool) {
	if !roomy(t.n, len(t.slots)) {
		if !t.grow() {
			return nil, true
		}
		i = t.empty(h)
	}
	t.n++
	e := &t.slots[i]
	e.shortKey = *k
	return &e.v, true
}

func (t *stringTable[K, V]) atLong(s string) (*V, bool) {
	h := xxh3.HashString(s)
	i := h & t.mask
	for ; ; i = (i + 1) & t.mask {
		e := &t.slots[i]
		if e.none() {
			break
		}
		if e.lo == h && e.long() && t.longKey(&e.shortKey) == s {
			return &e.v, false
		}
	}
	if need := int64(len(t.long) + longHead + len(s)); need > t.room {
		room := max(2*t.room, need)
		if !t.b.grow(room - t.room) {
			return nil, true
		}
		t.room = room
		t.long = append(make([]byte, 0, room), t.long...)
	}
	v, _ := t.insert(i, h, &shortKey{h, longTag<<56 | uint64(len(t.long))})
	if v != nil {
		t.long = binary.LittleEndian.AppendUint32(t.long, uint32(len(s)))
		t.long = append(t.long, s...)
	}
	return v, true
}

// longKey is the string of a long key; it lies in the table.
func (t *stringTable[K, V]) longKey(k *shortKey) string {
	at := t.long[k.hi&^(longTag<<56):]
	return unsafe.String(&at[longHead], binary.LittleEndian.Uint32(at))
}

// empty finds a free slot for a hash.
func (t *stringTable[K, V]) empty(h uint64) uint64 {
	i := h & t.mask
	for !t.slots[i].none() {
		i = (i + 1) & t.mask
	}
	return i
}

func (t *stringTable[K, V]) grow() bool {
	old := t.slots
	if !t.b.grow(t.bytes(2 * len(old))) {
		return false
	}
	t.make(2 * len(old))
	for k := range old {
		e := &old[k]
		if e.none() {
			continue
		}
		h := e.lo
		if !e.long() {
			h = e.hash()
		}
		t.slots[t.empty(h)] = *e
	}
	t.b.shrink(t.bytes(len(old)))
	return true
}

func (t *stringTable[K, V]) len() int { return t.n }

func (t *stringTable[K, V]) each(f func(K, *V)) {
	for i := range t.slots {
		e := &t.slots[i]
		if e.none() {
			continue
		}
		var s string
		if e.long() {
			s = t.longKey(&e.shortKey)
		} else {
			s = t.keys.short(&e.shortKey)
		}
		f(*(*K)(unsafe.Pointer(&s)), &e.v)
	}
}

func (t *stringTable[K, V]) reset() {
	clear(t.slots)
	t.n, t.long = 0, nil // each handed out strings that lie in long
	t.b.shrink(t.room - longRoomMin)
	t.room = longRoomMin
}

func (t *stringTable[K, V]) free() {
	t.slots, t.long = nil, nil
	t.b.close()
}
