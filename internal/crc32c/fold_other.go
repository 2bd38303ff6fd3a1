//go:build !amd64

package crc32c

const wide = false

func fold(*[16]byte, uint32, *byte, int) { panic("crc32c: not on this processor") }
