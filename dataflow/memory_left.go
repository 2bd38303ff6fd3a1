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
	r := m.root()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.left) - 1; i >= 0; i-- {
		if what, ok = r.left[i].what.(T); ok {
			r.leftBytes -= r.left[i].bytes
			last := len(r.left) - 1
			r.left[i], r.left[last] = r.left[last], leaving{}
			r.left = r.left[:last]
			return what, true
		}
	}
	return what, false
}

// forget lets go of all that was left. The caller holds mu.
func (m *Memory) forget() {
	m.left, m.leftBytes = nil, 0
}
