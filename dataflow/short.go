package dataflow

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// shortMax is the longest string that fits two words.
const shortMax = 16

// A shortKey is a string of at most 16 bytes as two words, so that keys are compared and
// hashed without going to memory for them. The highest byte of hi says how it lies:
//
//	shortTag + n   a string of n bytes, n < 16, and zeros behind its end
//	below          the last of 16 bytes. It is never so high in UTF-8
//	longTag        a string that is neither; its owner knows what the rest means
//
// All bytes of a key that is none are zeros. Equal keys are equal strings.
type shortKey struct{ lo, hi uint64 }

const (
	shortTag = 0xc0
	longTag  = 0xff
)

// shortOf is the key of a string, if it has one.
func shortOf(s string) (k shortKey, ok bool) {
	if len(s) < shortMax {
		lo, hi := loadShort(s)
		return shortKey{lo, hi | uint64(shortTag+len(s))<<56}, true
	}
	if len(s) > shortMax || s[15] >= shortTag {
		return shortKey{}, false
	}
	lo, hi := loadShort(s)
	return shortKey{lo, hi}, hi != 0
}

// none says that k is no string's.
func (k *shortKey) none() bool { return k.hi == 0 }

// long says that k is of a string that does not fit.
func (k *shortKey) long() bool { return k.hi>>56 == longTag }

// len is the length of a string that fits.
func (k *shortKey) len() int {
	if tag := int(k.hi >> 56); tag >= shortTag {
		return tag - shortTag
	}
	return shortMax
}

// differs is 0 for equal keys.
func (k *shortKey) differs(o *shortKey) uint64 { return (k.lo ^ o.lo) | (k.hi ^ o.hi) }

func (k *shortKey) hash() uint64 { return mix64(k.lo, k.hi) }

// loadShort is the two words of a string of at most 16 bytes.
func loadShort(s string) (lo, hi uint64) {
	n := len(s)
	p := unsafe.Pointer(unsafe.StringData(s))
	switch {
	case n >= 8:
		lo = binary.LittleEndian.Uint64((*[8]byte)(p)[:])
		hi = binary.LittleEndian.Uint64((*[8]byte)(unsafe.Add(p, n-8))[:]) >> (128 - 8*uint(n))
	case n >= 4:
		lo = uint64(binary.LittleEndian.Uint32((*[4]byte)(p)[:])) |
			uint64(binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(p, n-4))[:]))<<(8*uint(n-4))
	case n > 0:
		lo = uint64(s[0]) | uint64(s[n/2])<<(8*uint(n/2)) | uint64(s[n-1])<<(8*uint(n-1))
	}
	return lo, hi
}

// A keyArena makes strings of short keys. What it hands out is never written again.
type keyArena struct{ room []byte }

const arenaBytes = 16 << 10

func (a *keyArena) short(k *shortKey) string {
	n := k.len()
	if n == 0 {
		return ""
	}
	if len(a.room) < shortMax {
		a.room = make([]byte, arenaBytes)
	}
	b := a.room[:n:n]
	binary.LittleEndian.PutUint64(a.room, k.lo)
	binary.LittleEndian.PutUint64(a.room[8:], k.hi)
	a.room = a.room[n:]
	return unsafe.String(unsafe.SliceData(b), n)
}

// mix64 spreads the bits of a and b over 64: one wide multiplication.
func mix64(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xd6e8feb86659fd93)
	return hi ^ lo
}

// hashString is a hash that is the same in every process. Up to 16 bytes are two
// loads and two multiplications.
func hashString(s string, seed uint64) uint64 {
	if len(s) <= shortMax {
		lo, hi := loadShort(s)
		return mix64(mix64(lo, hi^seed), uint64(len(s)))
	}
	return xxh3.HashStringSeed(s, seed)
}
