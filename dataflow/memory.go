package dataflow

import (
	"fmt"
	"sync"
)

// Memory is a tree of reservations: a task host's budget, its tasks' shares, their
// operators'. What a child reserves counts for all its ancestors. An operator asks
// before it keeps something large; told no, it spills. All methods may be called
// from many goroutines.
type Memory struct {
	name   string
	parent *Memory
	limit  int64 // 0: only the ancestors' limits hold

	mu         sync.Mutex
	used, peak int64
}

// NewMemory is a root with a limit in bytes; 0 means none.
func NewMemory(name string, limit int64) *Memory { return &Memory{name: name, limit: limit} }

// Child is a reservation below m, with a limit of its own or 0.
func (m *Memory) Child(name string, limit int64) *Memory {
	return &Memory{name: name, parent: m, limit: limit}
}

// TryReserve takes n bytes, or nothing and false.
func (m *Memory) TryReserve(n int64) bool {
	m.mu.Lock()
	if m.limit > 0 && m.used+n > m.limit {
		m.mu.Unlock()
		return false
	}
	m.used += n
	m.peak = max(m.peak, m.used)
	m.mu.Unlock()
	if m.parent != nil && !m.parent.TryReserve(n) {
		m.mu.Lock()
		m.used -= n
		m.mu.Unlock()
		return false
	}
	return true
}

// Reserve is for what cannot be spilled: it fails with an error that wraps
// ErrOutOfMemory and names who holds how much.
func (m *Memory) Reserve(n int64) error {
	if m.TryReserve(n) {
		return nil
	}
	top := m
	for top.parent != nil {
		top = top.parent
	}
	return &Error{Op: "memory", Path: m.name, Kind: OutOfMemory,
		Err: fmt.Errorf("%w: asked for %d bytes, holds %d of %d, %s holds %d of %d", ErrOutOfMemory, n, m.Used(), m.limit, top.name, top.Used(), top.limit),
		Try: "give the task host more with --memory, or use more partitions"}
}

// Release gives n bytes back.
func (m *Memory) Release(n int64) {
	for r := m; r != nil; r = r.parent {
		r.mu.Lock()
		r.used -= n
		if r.used < 0 {
			r.mu.Unlock()
			panic("dataflow: memory " + r.name + " released more than it reserved")
		}
		r.mu.Unlock()
	}
}

// Used is what is reserved now.
func (m *Memory) Used() int64 { m.mu.Lock(); defer m.mu.Unlock(); return m.used }

// Peak is the most that was ever reserved.
func (m *Memory) Peak() int64 { m.mu.Lock(); defer m.mu.Unlock(); return m.peak }

// Limit is the smallest limit on the way to the root; 0 means none.
func (m *Memory) Limit() int64 {
	var l int64
	for r := m; r != nil; r = r.parent {
		if r.limit > 0 && (l == 0 || r.limit < l) {
			l = r.limit
		}
	}
	return l
}

// Close gives back whatever is still reserved.
func (m *Memory) Close() { m.Release(m.Used()) }
