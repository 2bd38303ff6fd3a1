package dataflow

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// Values of one length, one behind the other, are hashed in a loop that calls nothing and
// asks of no value what its length means: a sixth of the work is saved. What is
// computed is XXH3, of which these are the constants.
const (
	xxhPrime = 0x9e3779b185ebca87
	xxhLast  = 0x165667919e3779f9
)

// xxhKeys is the beginning of its standard secret.
var xxhKeys = [...]uint64{
	0xbe4ba423396cfeb8, 0x1cad21f72c81017c, 0xdb979083e96dd4de, 0x1f67b3b7a4a44072,
	0x78e5c0cc4ee679cb, 0x2172ffcc7dd05a82, 0x8e2443f7744608b8, 0x4c263a81e69035e0,
	0xcb00c391bb52283c, 0xa32e531b8b65d088, 0x4ef90da297486471, 0xd8acdea946ef1938,
	0x3f349ce33f76faa8, 0x1d4f0bc7c7bbdcf9, 0x3159b4cd4be0518a, 0x647378d9c97e9fc8,
}

// oneLength is how long all values are which end where ends says and begin at first.
func oneLength[O int32 | int64](first O, ends []O) (width int, ok bool) {
	each := ends[0] - first
	for at, i := first, 0; i < len(ends); i++ {
		if ends[i]-at != each {
			return 0, false
		}
		at = ends[i]
	}
	return int(each), true
}

// foldRun folds the values at the front of data, each of so many bytes, into rows.
func foldRun(h []uint64, data []byte, width int) {
	switch {
	case 9 <= width && width <= 16:
		foldRun16(h, data, width)
	case 17 <= width && width <= 128:
		foldRun128(h, data, width)
	default:
		for i := range h {
			h[i] = fold(h[i], xxh3.Hash(data[:width]))
			data = data[width:]
		}
	}
}

// foldRun16 is foldRun of 9 to 16 bytes.
func foldRun16(h []uint64, data []byte, width int) {
	low0, high0 := xxhKeys[3]^xxhKeys[4], xxhKeys[5]^xxhKeys[6]
	for i := range h {
		v := data[:width]
		data = data[width:]
		low := word(v[:8], 0) ^ low0
		high := word(v[len(v)-8:], 0) ^ high0
		h[i] = fold(h[i], avalanche(uint64(width)+bits.ReverseBytes64(low)+high+mulFold(low, high)))
	}
}

// foldRun128 is foldRun of 17 to 128 bytes.
func foldRun128(h []uint64, data []byte, width int) {
	k := &xxhKeys
	length := uint64(width)
	length *= xxhPrime
	for i := range h {
		v := data[:width]
		data = data[width:]
		acc := length
		if width > 32 {
			if width > 64 {
				if width > 96 {
					a, z := v[48:64], v[len(v)-64:len(v)-48]
					acc += mulFold(word(a, 0)^k[12], word(a, 8)^k[13]) + mulFold(word(z, 0)^k[14], word(z, 8)^k[15])
				}
				a, z := v[32:48], v[len(v)-48:len(v)-32]
				acc += mulFold(word(a, 0)^k[8], word(a, 8)^k[9]) + mulFold(word(z, 0)^k[10], word(z, 8)^k[11])
			}
			a, z := v[16:32], v[len(v)-32:len(v)-16]
			acc += mulFold(word(a, 0)^k[4], word(a, 8)^k[5]) + mulFold(word(z, 0)^k[6], word(z, 8)^k[7])
		}
		a, z := v[:16], v[len(v)-16:]
		acc += mulFold(word(a, 0)^k[0], word(a, 8)^k[1]) + mulFold(word(z, 0)^k[2], word(z, 8)^k[3])
		h[i] = fold(h[i], avalanche(acc))
	}
}

func word(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func mulFold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func avalanche(x uint64) uint64 {
	x = (x ^ x>>37) * xxhLast
	return x ^ x>>32
}
