package dataflow

import (
	"maps"
	"sync"
	"sync/atomic"
)

// Counters are one attempt's named sums. They travel with its receipt, and a job's
// counters are the sums over winning attempts only: exact however often a task
// was tried.
type Counters struct {
	mu sync.Mutex
	m  map[string]*Counter
}

// A Counter is one of them. The zero value of the pointer's target is ready.
type Counter struct{ n atomic.Int64 }

// Add adds n.
func (c *Counter) Add(n int64) { c.n.Add(n) }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Value is the sum so far, of this attempt.
func (c *Counter) Value() int64 { return c.n.Load() }

// NewCounters is an empty set.
func NewCounters() *Counters { return &Counters{m: map[string]*Counter{}} }

// Get finds or makes the counter of a name. Keep it; do not look it up per record.
func (c *Counters) Get(name string) *Counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.m[name]
	if !ok {
		n = &Counter{}
		c.m[name] = n
	}
	return n
}

// Values is a copy of all sums.
func (c *Counters) Values() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int64, len(c.m))
	for k, v := range maps.All(c.m) {
		out[k] = v.Value()
	}
	return out
}
