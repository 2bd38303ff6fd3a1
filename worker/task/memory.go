package task

import (
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// countingAllocator is Go's heap with a count. Batches that reach user code must lie
// there: a string that a job keeps points into them, and the garbage collector keeps
// what is pointed at. It may be used from many goroutines.
type countingAllocator struct {
	memory.Allocator
	used atomic.Int64
}

func newCountingAllocator() *countingAllocator {
	return &countingAllocator{Allocator: memory.NewGoAllocator()}
}

func (c *countingAllocator) Allocate(n int) []byte {
	c.used.Add(int64(n))
	return c.Allocator.Allocate(n)
}

func (c *countingAllocator) Reallocate(n int, b []byte) []byte {
	c.used.Add(int64(n - len(b)))
	return c.Allocator.Reallocate(n, b)
}

// Uncleared implements dataflow.Unclearer.
func (c *countingAllocator) Uncleared() memory.Allocator { return uncleared{c} }

func (c *countingAllocator) Free(b []byte) {
	c.used.Add(-int64(len(b)))
	c.Allocator.Free(b)
}

// uncleared is a countingAllocator whose memory holds anything.
type uncleared struct{ *countingAllocator }

// largeBytes is from where on clearing costs more than what is done around it. Go aligns
// what is that large to pages.
const largeBytes = 32 << 10

func (u uncleared) Allocate(n int) []byte {
	if n < largeBytes {
		return u.countingAllocator.Allocate(n)
	}
	u.used.Add(int64(n))
	// Of all that allocates, a string's builder alone does not clear.
	var b strings.Builder
	b.Grow(n)
	b.WriteByte(0)
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}
