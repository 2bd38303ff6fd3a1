package task

import (
	"testing"
	"unsafe"

	"github.com/divisi-data/divisi/dataflow"
)

// TestAllocator counts what is held, of buffers that are cleared and of those that are
// not, and finds them where Arrow wants them: at multiples of 64 bytes.
func TestAllocator(t *testing.T) {
	a := newCountingAllocator()
	var held int64
	for _, n := range []int{1, 64, largeBytes - 1, largeBytes, 1 << 20, 3<<20 + 1} {
		before := a.used.Load()
		b := dataflow.NewBuffer(a, n)
		if b.Len() != n || len(b.Bytes()) != n || b.Cap() < n {
			t.Fatalf("%d bytes of %d, want %d", b.Len(), b.Cap(), n)
		}
		if at := uintptr(unsafe.Pointer(&b.Bytes()[0])); at%64 != 0 {
			t.Errorf("%d bytes lie at %#x", n, at)
		}
		if held = a.used.Load() - before; held < int64(n) || held > int64(n)+64 {
			t.Errorf("%d bytes are counted as %d", n, held)
		}
		for i := range b.Bytes() {
			b.Bytes()[i] = 0xff
		}
		b.Resize(2 * n)
		if b.Bytes()[n-1] != 0xff || a.used.Load() < before+int64(2*n) {
			t.Errorf("%d bytes grown hold %x at their end and count as %d", n, b.Bytes()[n-1], a.used.Load()-before)
		}
		b.Release()
		if a.used.Load() != before {
			t.Errorf("%d bytes are counted when %d are released", a.used.Load()-before, n)
		}
		c := a.Allocate(n)
		for _, v := range c {
			if v != 0 {
				t.Fatal("memory that should be cleared is not")
			}
		}
		a.Free(c)
	}
}
