package dataflow

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Memory is a tree of reservations: a task host's budget, its tasks' shares, their
// operators'. What a child reserves counts for all its ancestors. An operator asks
// before it keeps something large; told no, it spills. All methods may be called
// from many goroutines.
type Memory struct {
	name   string
	parent *Memory
	limit  int64 // 0: only the ancestors' limits hold

	own  int64   // of a borrower: what it need not borrow
	pool *Memory // of a borrower: where it borrows the rest

	refuse atomic.Pointer[func(n int64) bool]

	mu         sync.Mutex
	used, peak int64
	scarce     bool
	left       []leaving // of a root
	leftBytes  int64     // of them, not counted in used
}

// NewMemory is a root with a limit in bytes; 0 means none.
func NewMemory(name string, limit int64) *Memory { return &Memory{name: name, limit: limit} }

// Child is a reservation below m, with a limit of its own or 0.
func (m *Memory) Child(name string, limit int64) *Memory {
	return &Memory{name: name, parent: m, limit: limit}
}

// Borrower is a reservation below m that may hold own bytes whatever its siblings
// do, and more as far as pool, which they share, has them.
func (m *Memory) Borrower(name string, own int64, pool *Memory) *Memory {
	return &Memory{name: name, parent: m, own: own, pool: pool}
}

// TryReserve takes n bytes, or nothing and false.
func (m *Memory) TryReserve(n int64) bool { return m.reserve(n, false) }

// Scarce says whether TryReserve is to take no more from m for now. Reserve still does:
// what is left of m is for those who cannot do without.
func (m *Memory) Scarce(is bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scarce = is
}

// Refuse has f asked by every TryReserve of m and what is below it, with the bytes
// wanted: it takes nothing where f says true. For tests: f is what other tasks take and
// give back between any two requests, which it may do itself, by Reserve.
func (m *Memory) Refuse(f func(n int64) bool) { m.refuse.Store(&f) }

// Forget lets go of what tasks have left behind for others.
func (m *Memory) Forget() {
	r := m.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

func (m *Memory) reserve(n int64, must bool) bool {
	if f := m.refuse.Load(); f != nil && !must && *f != nil && (*f)(n) {
		return false
	}
	if !m.take(n, must) {
		return false
	}
	if m.parent != nil && !m.parent.reserve(n, must) {
		m.giveBack(n)
		return false
	}
	m.mark()
	return true
}

// mark notes what is reserved now, which nobody has refused, as the peak if it is.
func (m *Memory) mark() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.peak = max(m.peak, m.used)
}

// take counts n bytes here, and what of them is borrowed in the pool.
func (m *Memory) take(n int64, must bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.limit > 0 && m.used+n > m.limit || m.scarce && !must {
		return false
	}
	if more := m.borrowed(m.used+n) - m.borrowed(m.used); more > 0 && !m.pool.reserve(more, must) {
		return false
	}
	m.used += n
	if m.limit > 0 && m.used+m.leftBytes > m.limit {
		m.forget()
	}
	return true
}

// giveBack is the opposite of take; false when there is not so much.
func (m *Memory) giveBack(n int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n > m.used {
		return false
	}
	if less := m.borrowed(m.used) - m.borrowed(m.used-n); less > 0 {
		m.pool.Release(less)
	}
	m.used -= n
	return true
}

// borrowed is what of used bytes is the pool's.
func (m *Memory) borrowed(used int64) int64 {
	if m.pool == nil {
		return 0
	}
	return max(used-m.own, 0)
}

// Reserve is for what cannot be spilled: it fails with an error that wraps
// ErrOutOfMemory and names who holds how much.
func (m *Memory) Reserve(n int64) error {
	if m.reserve(n, true) {
		return nil
	}
	top := m.root()
	return &Error{Op: "memory", Path: m.name, Kind: OutOfMemory,
		Err: fmt.Errorf("%w: asked for %d bytes, holds %d of %d, %s holds %d of %d", ErrOutOfMemory, n, m.Used(), m.Limit(), top.name, top.Used(), top.limit),
		Try: "give the task host more with --memory, or use more partitions"}
}

// Release gives n bytes back: to the ancestors first, so that these never count more
// than is reserved below them. Else one that borrows what is given back could take the
// room that is another's own.
func (m *Memory) Release(n int64) {
	enough := n <= m.Used()
	if enough && m.parent != nil {
		m.parent.Release(n)
	}
	if !enough || !m.giveBack(n) {
		panic("dataflow: memory " + m.name + " released more than it reserved")
	}
}

// root is the ancestor of all.
func (m *Memory) root() *Memory {
	for m.parent != nil {
		m = m.parent
	}
	return m
}

// Used is what is reserved now.
func (m *Memory) Used() int64 { m.mu.Lock(); defer m.mu.Unlock(); return m.used }

// Peak is the most that was ever reserved.
func (m *Memory) Peak() int64 { m.mu.Lock(); defer m.mu.Unlock(); return m.peak }

// Limit is the smallest limit on the way to the root; 0 means none.
func (m *Memory) Limit() int64 {
	var l int64
	for r := m; r != nil; r = r.parent {
		limit := r.limit
		if r.pool != nil && r.pool.limit > 0 {
			limit = r.own + r.pool.limit
		}
		if limit > 0 && (l == 0 || limit < l) {
			l = limit
		}
	}
	return l
}

// Close gives back whatever is still reserved.
func (m *Memory) Close() { m.Release(m.Used()) }
