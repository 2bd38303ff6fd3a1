package task

import (
	"sync/atomic"

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

func (c *countingAllocator) Free(b []byte) {
	c.used.Add(-int64(len(b)))
	c.Allocator.Free(b)
}
