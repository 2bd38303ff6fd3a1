package dataflow

// A leaving is memory that a task has had and that a later one of the same host may want:
// what is touched for the first time is many times slower than what is cleared. It lies in
// the room that nobody has reserved, and is forgotten when somebody reserves that.
type leaving struct {
	what  any
	bytes int64
}

// leave keeps what takes so many bytes, which are no longer reserved, for who asks with
// inherit, as long as there is room.
func leave[T any](m *Memory, what T, bytes int64) {
	r := m.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit > 0 && r.used+r.leftBytes+bytes > r.limit {
		return
	}
	r.left = append(r.left, leaving{what, bytes})
	r.leftBytes += bytes
}

// inherit takes what was left last of a type; false if nothing is. It is yet to be
// reserved.
func inherit[T any](m *Memory) (what T, ok bool) {
	return inheritThat(m, func(T) bool { return true })
}

// inheritThat is inherit of what is as wanted.
func inheritThat[T any](m *Memory, wanted func(T) bool) (what T, ok bool) {
	r := m.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.left) - 1; i >= 0; i-- {
		if what, ok = r.left[i].what.(T); ok && wanted(what) {
			r.unleave(i)
			return what, true
		}
	}
	return *new(T), false
}

// disinherit forgets of what was left that which is as unwanted.
func disinherit[T any](m *Memory, unwanted func(T) bool) {
	r := m.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.left) - 1; i >= 0; i-- {
		if what, ok := r.left[i].what.(T); ok && unwanted(what) {
			r.unleave(i)
		}
	}
}

// unleave takes out what was left i-th. The caller holds mu.
func (m *Memory) unleave(i int) {
	m.leftBytes -= m.left[i].bytes
	last := len(m.left) - 1
	m.left[i], m.left[last] = m.left[last], leaving{}
	m.left = m.left[:last]
}

// forget lets go of all that was left. The caller holds mu.
func (m *Memory) forget() {
	m.left, m.leftBytes = nil, 0
}
