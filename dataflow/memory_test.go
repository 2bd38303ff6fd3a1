package dataflow

import (
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

func TestMemoryTree(t *testing.T) {
	root := NewMemory("root", 100)
	a, b := root.Child("a", 60), root.Child("b", 0)
	for _, s := range []struct {
		m    *Memory
		n    int64
		want bool
	}{{a, 60, true}, {a, 1, false}, {b, 41, false}, {b, 40, true}, {b, 1, false}} {
		if got := s.m.TryReserve(s.n); got != s.want {
			t.Errorf("%s: reserving %d gives %v", s.m.name, s.n, got)
		}
	}
	a.Release(10)
	if root.Used() != 90 || a.Used() != 50 || a.Peak() != 60 || root.Peak() != 100 {
		t.Errorf("used %d of %d, peaks %d and %d", a.Used(), root.Used(), a.Peak(), root.Peak())
	}
	err := b.Reserve(20)
	if !errors.Is(err, ErrOutOfMemory) || KindOf(err) != OutOfMemory || !strings.Contains(err.Error(), "asked for 20 bytes, holds 40 of 100, root holds 90 of 100") {
		t.Errorf("out of memory says %v", err)
	}
	a.Close()
	b.Close()
	if root.Used() != 0 {
		t.Errorf("%d bytes are left", root.Used())
	}
}

func TestMemoryBorrowers(t *testing.T) {
	root, pool := NewMemory("root", 100), NewMemory("lent", 50)
	a, b := root.Borrower("a", 25, pool), root.Borrower("b", 25, pool)
	if a.Limit() != 75 {
		t.Errorf("the limit of one is %d, want 75", a.Limit())
	}
	if !a.TryReserve(75) || a.TryReserve(1) {
		t.Error("one alone has its own and the pool")
	}
	if !b.TryReserve(25) || b.TryReserve(1) {
		t.Error("the other still has its own, and nothing to borrow")
	}
	a.Release(60) // 15 are left, nothing borrowed
	if pool.Used() != 0 || root.Used() != 40 {
		t.Errorf("lent %d, used %d", pool.Used(), root.Used())
	}
	if !b.TryReserve(50) || b.TryReserve(1) {
		t.Error("what was given back is lent again")
	}
	b.Close()
	a.Close()
	if pool.Used() != 0 || root.Used() != 0 {
		t.Errorf("left: lent %d, used %d", pool.Used(), root.Used())
	}
	defer func() {
		if recover() == nil {
			t.Error("releasing what was not reserved goes unnoticed")
		}
	}()
	a.Release(1)
}

// What is scarce is kept for those who cannot do without, and never more than there is.
func TestScarceMemory(t *testing.T) {
	root, pool := NewMemory("root", 100), NewMemory("lent", 50)
	a := root.Borrower("a", 50, pool).Child("operator", 0)
	if !a.TryReserve(60) {
		t.Fatal("60 of 100 bytes are refused")
	}
	pool.Scarce(true)
	if a.TryReserve(1) {
		t.Error("what can be done without is lent although it is scarce")
	}
	if err := a.Reserve(40); err != nil {
		t.Errorf("what cannot be done without is refused: %v", err)
	}
	if err := a.Reserve(1); !errors.Is(err, ErrOutOfMemory) || pool.Used() != 50 || root.Used() != 100 {
		t.Errorf("more than there is: %v; lent %d, used %d", err, pool.Used(), root.Used())
	}
	a.Release(60)
	if !a.TryReserve(10) || a.TryReserve(1) {
		t.Error("what is its own is not scarce, the rest still is")
	}
	pool.Scarce(false)
	if !a.TryReserve(1) {
		t.Error("what is no longer scarce is not lent")
	}
	a.Close()
	if pool.Used() != 0 || root.Used() != 0 {
		t.Errorf("left: lent %d, used %d", pool.Used(), root.Used())
	}
}

// What a task leaves behind is there for the next, in room that nobody wants.
func TestLeftMemory(t *testing.T) {
	root := NewMemory("root", 100)
	a, b := root.Child("a", 0), root.Child("b", 0)
	if _, ok := inherit[string](a); ok {
		t.Error("something is inherited that nobody left")
	}
	leave(a, "first", 30)
	leave(a, 7, 30)
	leave(a, "second", 30)
	leave(a, "too large", 11)
	if root.Used() != 0 {
		t.Errorf("%d bytes are reserved of what is left", root.Used())
	}
	if s, ok := inherit[string](b); !ok || s != "second" {
		t.Errorf("inherited %q, %v; want the second string", s, ok)
	}
	if !b.TryReserve(40) {
		t.Fatal("the room beside what is left is refused")
	}
	if n, ok := inherit[int](b); !ok || n != 7 {
		t.Errorf("inherited %d, %v; want the number", n, ok)
	}
	if !b.TryReserve(31) {
		t.Fatal("the room of what is left is refused")
	}
	if s, ok := inherit[string](b); ok {
		t.Errorf("%q is inherited although its room was wanted", s)
	}
	leave(a, "again", 29)
	a.Forget()
	if _, ok := inherit[string](a); ok {
		t.Error("what was forgotten is inherited")
	}
	b.Close()
	leave(a, "all", 100)
	if s, _ := inherit[string](a); s != "all" {
		t.Error("what had been left still takes room")
	}

	free := NewMemory("without a limit", 0)
	leave(free, "large", 1<<60)
	if s, _ := inherit[string](free); s != "large" {
		t.Error("without a limit something is forgotten")
	}
}

// What is lent never exceeds the pool, whatever the order; run with -race.
func TestMemoryBorrowersAtOnce(t *testing.T) {
	const tasks, own, lent = 4, 10, 40
	root, pool := NewMemory("root", tasks*own+lent), NewMemory("lent", lent)
	var wg sync.WaitGroup
	for i := range tasks {
		m := root.Borrower("task", own, pool)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		wg.Go(func() {
			held := int64(0)
			for range 2000 {
				n := r.Int64N(9)
				if held > 0 && r.IntN(2) == 0 {
					n = min(n, held)
					m.Release(n)
					held -= n
					continue
				}
				ok := m.TryReserve(n)
				if ok {
					held += n
				}
				if !ok && held+n <= own {
					t.Errorf("holding %d of its own %d, %d more are refused", held, own, n)
				}
			}
			if m.Used() != held {
				t.Errorf("uses %d, want %d", m.Used(), held)
			}
			m.Close()
		})
	}
	wg.Wait()
	if pool.Peak() > lent || pool.Peak() == 0 || root.Used() != 0 || pool.Used() != 0 {
		t.Errorf("lent %d at most of %d; left %d and %d", pool.Peak(), lent, root.Used(), pool.Used())
	}
}

// What an ancestor refuses was never held.
func TestMemoryPeakIsOfWhatWasGranted(t *testing.T) {
	root := NewMemory("root", 100)
	child := root.Child("child", 0)
	if !child.TryReserve(60) || child.TryReserve(50) {
		t.Fatal("60 of 100 bytes, and no 50 more, can be reserved")
	}
	child.Release(20)
	if !child.TryReserve(10) {
		t.Fatal("10 of 60 free bytes are refused")
	}
	if child.Peak() != 60 || root.Peak() != 60 {
		t.Errorf("the peaks are %d and %d, want 60", child.Peak(), root.Peak())
	}
}

// Who refuses for a test is asked for all that is below, but not what must be had.
func TestMemoryRefuse(t *testing.T) {
	root := NewMemory("root", 100)
	child := root.Child("child", 0)
	var asked []int64
	root.Refuse(func(n int64) bool { asked = append(asked, n); return n > 10 })
	if child.TryReserve(11) || !child.TryReserve(10) || root.TryReserve(70) {
		t.Error("more or less is given than is not refused")
	}
	if err := child.Reserve(20); err != nil {
		t.Error(err)
	}
	if len(asked) != 3 || root.Used() != 30 || child.Used() != 30 {
		t.Errorf("asked for %v, used %d of %d", asked, child.Used(), root.Used())
	}
	root.Refuse(nil)
	if !child.TryReserve(60) {
		t.Error("it is refused for ever")
	}
}
