package dataflow

import "github.com/apache/arrow-go/v18/arrow/memory"

// An Unclearer is an allocator that can also give memory that holds anything instead of
// zeros, counted with its own.
type Unclearer interface {
	Uncleared() memory.Allocator
}

// NewBuffer is a buffer of n bytes whose contents are not defined: it is for who fills all
// of them. Clearing large buffers first would cost as much as filling them.
func NewBuffer(mem memory.Allocator, n int) *memory.Buffer {
	if u, ok := mem.(Unclearer); ok {
		mem = u.Uncleared()
	}
	b := memory.NewResizableBuffer(mem)
	b.Resize(n)
	return b
}
