package crc32c

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// TestUpdate compares with the standard library, for all lengths around those where
// something else begins, from any place in memory and after any bytes.
func TestUpdate(t *testing.T) {
	if !wide {
		t.Log("this processor has no wide carry-less multiplication: nothing but the standard library runs here")
	}
	rng := rand.New(rand.NewPCG(32, 12))
	data := make([]byte, 1<<20+100)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	lengths := []int{0, 1, 255, 1 << 16, 1<<20 - 1, 1 << 20}
	for n := wideMin - 2; n < wideMin+2*foldBytes+2; n++ {
		lengths = append(lengths, n)
	}
	for _, n := range lengths {
		for _, before := range []uint32{0, 1, ^uint32(0), rng.Uint32()} {
			b := data[rng.IntN(100):][:n]
			if got, want := Update(before, b), crc32.Update(before, castagnoli, b); got != want {
				t.Fatalf("%d bytes after %08x: %08x, want %08x", n, before, got, want)
			}
		}
	}
	if got, want := Checksum(data), crc32.Checksum(data, castagnoli); got != want {
		t.Fatalf("%08x, want %08x", got, want)
	}
}

// TestFold folds any number of blocks, from one on, of zeros with one bit set, wherever
// it is.
func TestFold(t *testing.T) {
	if !wide {
		t.Skip("not on this processor")
	}
	for blocks := 1; blocks <= 5; blocks++ {
		b := make([]byte, blocks*foldBytes)
		for bit := range 8 * len(b) {
			b[bit/8] = 1 << (bit % 8)
			if got, want := folded(0, b), crc32.Checksum(b, castagnoli); got != want {
				t.Fatalf("%d blocks, bit %d: %08x, want %08x", blocks, bit, got, want)
			}
			b[bit/8] = 0
		}
	}
}

func BenchmarkChecksum(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20} {
		data := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				Checksum(data)
			}
		})
		b.Run(fmt.Sprint(n, "/standard"), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				crc32.Checksum(data, castagnoli)
			}
		})
	}
}
