package dataflow

import (
	"encoding/binary"
	"math/bits"
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
	high  bool  // slots lie in the order of the hashes: by their high bits, not the low ones
	shift uint8 // what of a hash is above it, under the mask, is the slot
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
	return (&stringTable[K, V]{b: b}).open()
}

// newHighTable is a table whose slots lie in the order of the hashes, so that keys of
// neighbouring hashes are found near to each other. It must not be filled in that order:
// until it has grown they would all want the same few slots.
func newHighTable[K comparable, V any](b *budget) *stringTable[K, V] {
	return (&stringTable[K, V]{b: b, high: true}).open()
}

func (t *stringTable[K, V]) open() *stringTable[K, V] {
	t.room = longRoomMin
	t.b.must(t.bytes(tableSlotsMin) + longRoomMin)
	t.make(tableSlotsMin)
	return t
}

func (t *stringTable[K, V]) bytes(slots int) int64 {
	return int64(slots) * int64(unsafe.Sizeof(stringSlot[V]{}))
}

func (t *stringTable[K, V]) make(slots int) {
	slab := make([]stringSlot[V], slots)
	hugePages(slab)
	t.use(slab)
}

// use takes empty slots, a power of two of them.
func (t *stringTable[K, V]) use(slots []stringSlot[V]) {
	t.slots, t.mask = slots, uint64(len(slots)-1)
	if t.high {
		t.shift = uint8(bits.LeadingZeros64(t.mask))
	}
}

// slot is where a key of a hash lies if nothing is in its way.
func (t *stringTable[K, V]) slot(h uint64) uint64 { return h >> (t.shift & 63) & t.mask }

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
	i := t.slot(h)
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
	slots, mask, shift := t.slots, t.mask, t.shift&63
	for _, h := range hashes {
		sum += slots[h>>shift&mask&uint64(len(slots)-1)].hi
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
	i := t.slot(h)
	for ; ; i = (i + 1) & t.mask {
		e := &t.slots[i]
		if e.none() {
			break
		}
		if e.lo == h && e.long() && t.longKey(&e.shortKey) == s {
			return &e.v, false
		}
	}
	if need := int64(len(t.long) + longHead + len(s)); need > t.room && !t.growLong(need) {
		return nil, true
	}
	v, _ := t.insert(i, h, &shortKey{h, longTag<<56 | uint64(len(t.long))})
	if v != nil {
		t.long = binary.LittleEndian.AppendUint32(t.long, uint32(len(s)))
		t.long = append(t.long, s...)
	}
	return v, true
}

// growLong makes room for so many bytes of long keys, and if it can for more to come.
func (t *stringTable[K, V]) growLong(need int64) bool {
	room := max(2*t.room, need)
	if t.n == 0 && !t.b.spare(room-t.room) { // of the first key no more than must be
		room = need
		if !t.b.grow(room - t.room) {
			return false
		}
	} else if t.n > 0 && !t.b.grow(room-t.room) {
		return false
	}
	t.room = room
	t.long = append(make([]byte, 0, room), t.long...)
	return true
}

// longKey is the string of a long key; it lies in the table.
func (t *stringTable[K, V]) longKey(k *shortKey) string {
	at := t.long[k.hi&^(longTag<<56):]
	return unsafe.String(&at[longHead], binary.LittleEndian.Uint32(at))
}

// empty finds a free slot for a hash.
func (t *stringTable[K, V]) empty(h uint64) uint64 {
	i := t.slot(h)
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
