package task

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/divisi-data/divisi/dataflow"
)

// Shares of a host's memory budget. Reservations cover what operators keep; the rest
// is for batches on their way, the runtime, and garbage not yet collected.
const (
	reservedShare = 0.45 // what may be reserved
	limitShare    = 0.80 // what Go's collector keeps the heap below, if it can
	scarceShare   = 0.90 // of the budget, occupied: nothing is lent any more that can be done without
	relaxedShare  = 0.75 // below it, things are lent again
)

// garbagePercent is how much garbage, in percent of what is in use, the collector lets
// come together before it looks, while limitShare bounds the heap: batches are large and
// short-lived, and at its usual 100 it works a fifth of the time.
const (
	garbagePercent = 300
	usualPercent   = 100 // Go's own, where nobody said another
)

// ballast counts as in use and is never touched, so that it is not in memory: with it
// the collector waits for 64 MiB of garbage more. What a host has in use between tasks is
// a few MiB, and a tenfold of that is one batch. It is made when the first limit is, while
// what is new needs no clearing, and kept, since later it would.
var ballast = sync.OnceValue(func() []byte { return make([]byte, 16<<20) })

const (
	watchEvery = 100 * time.Millisecond
	freeEvery  = time.Second
)

// A budget is a host's memory: half of what may be reserved is the slots' own, in
// equal parts, and half is lent to whoever asks first, so that one task that runs
// alone has most of it and a second that comes later is not left with nothing.
type budget struct {
	bytes  int64 // of the process, 0: no limit
	root   *dataflow.Memory
	lent   *dataflow.Memory
	own    int64 // of each slot
	rss    atomic.Int64
	rssMax atomic.Int64
}

func newBudget(name string, bytes int64, slots int) *budget {
	b := &budget{bytes: bytes}
	reserved := int64(reservedShare * float64(bytes))
	b.root, b.lent = dataflow.NewMemory(name, reserved), dataflow.NewMemory("lent", reserved/2)
	b.own = reserved / 2 / int64(max(slots, 1))
	b.measure()
	if bytes > 0 {
		heapLimits.set(b, int64(limitShare*float64(bytes)))
	}
	return b
}

// close ends what the budget asked of the process.
func (b *budget) close() { heapLimits.set(b, 0) }

// relax has the collector wait for garbagePercent, unless the program or its environment
// said another. It returns what held before.
func relax() (before int) {
	if before = debug.SetGCPercent(garbagePercent); before != usualPercent {
		debug.SetGCPercent(before)
	}
	return before
}

// Relax is for programs that are a job and nothing else, when they begin: what the
// packages they are made of have set up by then is nearly enough for the collector to
// look at it all, and all of it stays.
func Relax() { relax() }

// heapLimits are the limits that the hosts in this process ask of Go's collector: one,
// but where a program runs its cluster in itself. The largest counts, and when none is
// left, the program's own. While there is one, the collector also waits for more garbage,
// unless the program or its environment said how much.
var heapLimits limits

type limits struct {
	mu      sync.Mutex
	own     int64 // the program's, while of is not empty
	percent int   // likewise
	of      map[*budget]int64
}

func (l *limits) set(b *budget, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.of) == 0 {
		if n == 0 {
			return
		}
		l.own, l.of = debug.SetMemoryLimit(-1), map[*budget]int64{}
		l.percent = relax()
	}
	delete(l.of, b)
	if n > 0 {
		l.of[b] = n
	}
	most := int64(0)
	for _, n := range l.of {
		most = max(most, n)
	}
	if most == 0 {
		debug.SetMemoryLimit(l.own)
		debug.SetGCPercent(l.percent)
		return
	}
	debug.SetMemoryLimit(most + int64(len(ballast())))
}

// attempt is one attempt's share. With more than 0 bytes wanted, so many are its own.
func (b *budget) attempt(name string, want int64) *dataflow.Memory {
	if b.bytes == 0 {
		return b.root.Child(name, 0)
	}
	return b.root.Borrower(name, max(want, b.own), b.lent)
}

// shared is what attempts have together: nothing of its own, and what is lent.
func (b *budget) shared(name string) *dataflow.Memory {
	if b.bytes == 0 {
		return b.root.Child(name, 0)
	}
	return b.root.Borrower(name, 0, b.lent)
}

// measure asks the kernel what it counts for the process, and returns how much of that
// is in use, see residentBytes.
func (b *budget) measure() int64 {
	resident, occupied := residentBytes()
	b.rss.Store(resident)
	b.rssMax.Store(max(b.rssMax.Load(), resident))
	return occupied
}

// watch measures what the kernel counts for the process until ctx ends. When that
// comes near the budget, only what cannot be done without is lent, and free memory goes
// back to the system.
func (b *budget) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	defer b.lent.Scarce(false)
	var freed time.Time
	for {
		if b.ration(b.measure()) && time.Since(freed) >= freeEvery {
			debug.FreeOSMemory()
			freed = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// ration stops lending, or lends again, where so many bytes are occupied. It says whether
// they are near the budget.
func (b *budget) ration(occupied int64) (scarce bool) {
	switch {
	case b.bytes == 0:
	case float64(occupied) > scarceShare*float64(b.bytes):
		b.lent.Scarce(true)
		b.root.Forget()
		return true
	case float64(occupied) < relaxedShare*float64(b.bytes):
		b.lent.Scarce(false)
	}
	return false
}
