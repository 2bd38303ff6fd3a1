// Package crc32c computes the checksum of all that is stored and sent: CRC-32 with
// Castagnoli's polynomial. It is the standard library's, but for large data on
// processors with wide carry-less multiplication, which do it in half the time or less.
package crc32c

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is that of b.
func Checksum(b []byte) uint32 { return Update(0, b) }

// Update is the checksum of what crc is that of, followed by b.
func Update(crc uint32, b []byte) uint32 {
	if wide && len(b) >= wideMin {
		n := len(b) &^ (foldBytes - 1)
		crc = folded(crc, b[:n])
		b = b[n:]
	}
	return crc32.Update(crc, castagnoli, b)
}

const (
	foldBytes = 256     // that fold takes at once
	wideMin   = 4 << 10 // below it the difference does not show
)

// folded is Update for a multiple of foldBytes.
//
// A checksum is the remainder of a division of polynomials. What is divided may be
// replaced by anything with the same remainder, so the first 16 bytes of a long stretch
// may be multiplied into the 16 that lie 256 further on: they are replaced by their product
// with the remainder of x^2048. This is done until only 16 bytes are left, the checksum
// of which, begun with nothing, is the whole's.
func folded(crc uint32, b []byte) uint32 {
	var left [16]byte
	fold(&left, ^crc, &b[0], len(b)/foldBytes)
	return crc32.Update(^uint32(0), castagnoli, left[:])
}
