package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", 0, "how many schedules to run; 0: as many as fit a test")
	first = flag.Uint64("first", 1, "the first of them")
	seed  = flag.Uint64("seed", 0, "the one schedule to run and to print")
)

// each runs schedules on all cores until one ends the search or there are no more.
func each(first, n uint64, look func(seed uint64, r Result) (stop bool)) {
	var next atomic.Uint64
	var over atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !over.Load() {
				i := next.Add(1) - 1
				if i >= n {
					return
				}
				if look(first+i, Run(first+i, false)) {
					over.Store(true)
				}
			}
		})
	}
	wg.Wait()
}

// TestSchedules runs many schedules. With -seed it runs one and prints its history.
func TestSchedules(t *testing.T) {
	if *seed > 0 {
		r := Run(*seed, true)
		fmt.Print(r.History)
		if r.Violation != "" {
			t.Fatalf("seed %d: %s", *seed, r.Violation)
		}
		return
	}
	n := *seeds
	if n == 0 {
		n = 300
	}
	var mu sync.Mutex
	var ends [3]int
	var events int64
	copies, splits, moves, founds, shares := 0, 0, 0, 0, 0
	bad := 0
	began := time.Now()
	each(*first, n, func(seed uint64, r Result) bool {
		mu.Lock()
		defer mu.Unlock()
		for i := range ends {
			ends[i] += r.Ends[i]
		}
		events += r.Events
		copies += r.Copies
		splits += r.Splits
		moves += r.Moves
		founds += r.Founds
		shares += r.Shares
		if r.Violation != "" {
			bad++
			t.Errorf("seed %d: %s\n\tmake sim SEED=%d prints its history", seed, r.Violation, seed)
		}
		return bad >= 10
	})
	t.Logf("%d schedules in %s, %d events a schedule; jobs: %d succeeded, %d failed, %d cancelled; %d copies, %d splits of slow attempts, %d moved outputs, %d of them found again, %d shares of partitions",
		n, time.Since(began).Round(time.Millisecond), events/int64(n), ends[0], ends[1], ends[2], copies, splits, moves, founds, shares)
	if bad == 0 && n >= 300 && (copies < int(n)/5 || splits < int(n)/15 || moves < int(n)/50 || founds < int(n)/50 || shares < int(n)/5) {
		t.Errorf("%d copies and %d splits of slow attempts, %d moved outputs, %d of them found again, and %d shares of partitions are too few to learn from", copies, splits, moves, founds, shares)
	}
	if bad == 0 && ends[0] < int(n)/2 {
		t.Errorf("of %d schedules only %d jobs have succeeded: the weather is too bad to learn from", n, ends[0])
	}
}

// TestReplay runs schedules twice: the histories are the same, letter by letter.
func TestReplay(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a, b := Run(seed, true), Run(seed, true)
		if a.History != b.History || a.History == "" {
			t.Errorf("seed %d: two histories, of %d and %d bytes", seed, len(a.History), len(b.History))
		}
		if c := Run(seed, false); c.Events != a.Events || c.Violation != a.Violation {
			t.Errorf("seed %d: to write the history changes it: %d and %d events", seed, a.Events, c.Events)
		}
	}
}
