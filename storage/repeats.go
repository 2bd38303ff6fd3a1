package storage

import (
	"cmp"
	"sync"
	"time"
)

const (
	repeatsAtOnce    = 100 // that a target is owed at first, and at most
	repeatsPerSecond = 10
	repeatsPerFirst  = 0.1 // what a request that is made for the first time earns
)

// Repeats is a target's budget of repetitions: of all that a process asks a store, repetitions
// may be a tenth, and ten a second besides, and a hundred at once. Each request alone
// waits longer and longer between its attempts, which is no help to a store that
// thousands of requests wait for at once; with the budget the load that failures add is
// the same however many fail. Nothing fails for it: who has no share yet waits for one.
//
// The zero value is a full budget. Its methods may be called from many goroutines.
//
// The method is that of the budgets of retries of Finagle (RetryBudget) and of gRPC
// (retry throttling, proposal A6), in which requests beyond the budget fail at once.
type Repeats struct {
	// PerSecond is how many repetitions a second there are for any load; 0: ten.
	PerSecond float64

	mu    sync.Mutex
	spent float64   // of what may be owed at most; beyond it, what later ones wait for
	at    time.Time // when spent was so
}

// First says that a request is made for the first time.
func (r *Repeats) First() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent = max(0, r.spent-repeatsPerFirst)
}

// Take takes a share for one repetition, and is how long the caller has to wait before
// it makes it. Who does not wait so long gives the share back.
func (r *Repeats) Take() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, rate := time.Now(), cmp.Or(r.PerSecond, repeatsPerSecond)
	r.spent = max(0, r.spent-now.Sub(r.at).Seconds()*rate) + 1
	r.at = now
	return time.Duration(max(0, r.spent-repeatsAtOnce) / rate * float64(time.Second))
}

// Return gives back what Take took.
func (r *Repeats) Return() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spent = max(0, r.spent-1)
}
