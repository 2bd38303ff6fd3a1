package dataflow

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

// Of all that want something one makes it, at a time; what fails is tried by the next.
func TestSharedIsMadeOnce(t *testing.T) {
	root := NewMemory("root", 1000)
	s := NewShared(root.Child("shared", 0))
	w := Whole{Stage: 1, Of: "0.0"}
	broken := errors.New("broken")
	var tries, made atomic.Int32
	var wg sync.WaitGroup
	var failed atomic.Int32
	all := make(chan func(), 20)
	for range 20 {
		wg.Go(func() {
			got, release, err := MakeShared(t.Context(), s, w, func() (string, int64, error) {
				if tries.Add(1) <= 3 {
					return "", 0, broken
				}
				made.Add(1)
				return "it", 100, nil
			})
			if err != nil {
				failed.Add(1)
				if !errors.Is(err, broken) {
					t.Errorf("failed with %v", err)
				}
				return
			}
			if got != "it" || release == nil {
				t.Errorf("got %q, shared: %v", got, release != nil)
			}
			all <- release
		})
	}
	wg.Wait()
	close(all)
	if made.Load() != 1 || failed.Load() != 3 {
		t.Errorf("made %d times, failed %d times; want 1, and 3 who tried before", made.Load(), failed.Load())
	}
	if root.Used() != 100 {
		t.Errorf("%d bytes are reserved while it is used, want 100", root.Used())
	}
	for release := range all {
		release()
	}
	if root.Used() != 0 {
		t.Errorf("%d bytes are reserved of what nobody uses", root.Used())
	}
}

// share wants something of 100 bytes, and says whether it had to be made.
func share(t *testing.T, s *Shared, w Whole) (release func(), made bool) {
	t.Helper()
	_, release, err := MakeShared(t.Context(), s, w, func() (string, int64, error) {
		made = true
		return w.Of, 100, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return release, made
}

// What nobody uses any more is there for the next who comes, unless somebody wanted its
// room or another stage has begun.
func TestSharedIsLeft(t *testing.T) {
	root := NewMemory("root", 1000)
	s := NewShared(root.Child("shared", 0))
	w, other := Whole{Stage: 1, Of: "0.0"}, Whole{Stage: 1, Input: 1, Of: "0.0"}
	step := func(what string, w Whole, want bool) {
		t.Helper()
		release, made := share(t, s, w)
		if made != want {
			t.Errorf("%s: made is %v, want %v", what, made, want)
		}
		if root.Used() != 100 {
			t.Errorf("%s: %d bytes are reserved, want 100", what, root.Used())
		}
		release()
	}
	step("the first", w, true)
	step("the second", w, false)
	step("another input", other, true)
	step("the first input again", w, false)
	root.Forget()
	step("forgotten", w, true)
	if !root.TryReserve(1000) {
		t.Fatal("there is no room beside what nobody uses")
	}
	root.Release(1000)
	step("its room was wanted", w, true)
	step("another stage", Whole{Stage: 2, Of: "0.0"}, true)
	step("the first stage again", w, true)
	step("outputs that were made again", Whole{Stage: 1, Of: "0.1"}, true)
}

// Without room everybody makes his own, at the same time.
func TestSharedWithoutRoom(t *testing.T) {
	root := NewMemory("root", 99)
	s := NewShared(root.Child("shared", 0))
	for range 3 {
		release, made := share(t, s, Whole{})
		if release != nil || !made {
			t.Errorf("shared: %v, made: %v", release != nil, made)
		}
	}
	if root.Used() != 0 {
		t.Errorf("%d bytes are reserved", root.Used())
	}
	// Two at once: each waits, while it makes its own, for the other to do so too.
	var both sync.WaitGroup
	both.Add(2)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			_, release, err := MakeShared(t.Context(), s, Whole{}, func() (string, int64, error) {
				both.Done()
				both.Wait()
				return "own", 100, nil
			})
			if err != nil || release != nil {
				t.Errorf("shared: %v, %v", release != nil, err)
			}
		})
	}
	wg.Wait()
}

// Who is cancelled while he waits goes, and the others do not notice; nor do they when he
// who makes it panics.
func TestSharedWhileOneMakesIt(t *testing.T) {
	s := NewShared(NewMemory("root", 0))
	begun, go_ := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		MakeShared(t.Context(), s, Whole{}, func() (string, int64, error) {
			close(begun)
			<-go_
			panic("broken")
		})
	})
	<-begun
	why := errors.New("not needed")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, _, err := MakeShared(ctx, s, Whole{}, func() (string, int64, error) { return "", 1, nil }); !errors.Is(err, why) {
		t.Errorf("who was cancelled got %v", err)
	}
	close(go_)
	release, made := share(t, s, Whole{})
	if release == nil || !made {
		t.Errorf("after the panic: shared %v, made %v", release != nil, made)
	}
	wg.Wait()
}
