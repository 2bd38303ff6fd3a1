package storage

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats: however many requests to a store fail at once, and again and again, what
// it is asked by their repetitions stays within the budget; requests that succeed earn a
// tenth of their number.
func TestRepeats(t *testing.T) {
	const span = time.Minute
	for _, test := range []struct{ failing, firsts int }{{1, 0}, {10, 0}, {1000, 0}, {1000, 5000}} {
		synctest.Test(t, func(t *testing.T) {
			var r Repeats
			var repeated atomic.Int64
			var all sync.WaitGroup
			end := time.Now().Add(span)
			for range test.failing {
				all.Go(func() {
					for pause := 100 * time.Millisecond; ; pause = min(2*pause, time.Second) {
						wait := max(pause, r.Take())
						if time.Now().Add(wait).After(end) {
							r.Return()
							return
						}
						time.Sleep(wait)
						repeated.Add(1)
					}
				})
			}
			all.Go(func() {
				for range test.firsts {
					r.First()
					time.Sleep(span / time.Duration(test.firsts))
				}
			})
			all.Wait()
			most := int64(100 + 10*span.Seconds() + float64(test.firsts)/10)
			if alone := int64(test.failing) * 62; alone < most {
				most = alone
			}
			if n := repeated.Load(); n > most || n < most*8/10 {
				t.Errorf("%d requests that fail and %d that do not: %d repetitions in %v, where the budget is %d", test.failing, test.firsts, n, span, most)
			}
		})
	}
}

// TestRepeatsRecover: a budget that was used up is full again after a while, and never
// more than full.
func TestRepeatsRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Repeats
		for round := range 3 {
			for i := range 100 {
				if wait := r.Take(); wait != 0 {
					t.Fatalf("round %d: repetition %d has to wait for %v", round, i, wait)
				}
			}
			if wait := r.Take(); wait != 100*time.Millisecond {
				t.Fatalf("round %d: the one beyond waits for %v", round, wait)
			}
			time.Sleep(time.Hour)
		}
	})
}
