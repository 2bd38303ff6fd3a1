package crc32c

import "golang.org/x/sys/cpu"

// wide says whether fold works here.
var wide = cpu.X86.HasAVX512F && cpu.X86.HasAVX512VPCLMULQDQ

// fold sets left to 16 bytes whose checksum, begun with nothing, is that of blocks times
// 256 bytes from p on, begun with what init says. There is at least one block.
//
//go:noescape
func fold(left *[16]byte, init uint32, p *byte, blocks int)
