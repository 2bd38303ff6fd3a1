package dataflow

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/zeebo/xxh3"
)

// shortMax is the longest string that fits two words.
const shortMax = 16

// A shortKey is a string of at most 16 bytes as two words, zeros behind its end. With
// the length they say which string it is, also where it holds NULs.
type shortKey struct {
	lo, hi uint64
	size   uint64 // length plus one: a shortKey of zeros is none
}

// shortOf is a string of at most 16 bytes.
func shortOf(s string) shortKey {
	lo, hi := loadShort(s)
	return shortKey{lo, hi, uint64(len(s)) + 1}
}

func (k *shortKey) hash() uint64 { return mix64(k.lo^k.size<<56, k.hi+k.size) }

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

func (a *keyArena) short(lo, hi uint64, n int) string {
	if n == 0 {
		return ""
	}
	if len(a.room) < shortMax {
		a.room = make([]byte, arenaBytes)
	}
	b := a.room[:n:n]
	binary.LittleEndian.PutUint64(a.room, lo)
	binary.LittleEndian.PutUint64(a.room[8:], hi)
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
