package s3

import (
	"math/bits"
	"sync"
)

// spares keeps memory of blocks for the next ones: to get new memory, which is cleared
// first, is a tenth of the work of reading an object of some ten kilobytes.
type spares struct {
	classes [4 * 32]sync.Pool
}

// spareMin is from where on it is worth it.
const spareMin = 4 << 10

// take gives n bytes, whatever is in them.
func (s *spares) take(n int) []byte {
	if n < spareMin || n > 1<<30 {
		return make([]byte, n)
	}
	class, size := spareClass(n)
	if p, ok := s.classes[class].Get().(*[]byte); ok {
		return (*p)[:n]
	}
	return make([]byte, n, size)
}

// put takes bytes back that nobody looks at any more.
func (s *spares) put(b []byte) {
	if n := cap(b); n >= spareMin {
		if class, size := spareClass(n); size == n {
			s.classes[class].Put(&b)
		}
	}
}

// spareClass is which memory can stand for n bytes, and how much it is: up to a quarter
// more.
func spareClass(n int) (class, size int) {
	shift := bits.Len(uint(n-1)) - 3
	steps := (n-1)>>shift + 1 // 5 to 8
	return shift*4 + steps - 5, steps << shift
}
