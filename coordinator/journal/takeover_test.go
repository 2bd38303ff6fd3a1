package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// openOver takes dir over and keeps everything.
func openOver(t *testing.T, dir string, opt Options) (*Journal, []string) {
	t.Helper()
	opt.TakeOver = true
	var had []Record
	j, err := Open(dir, opt, func(r Record) error { had = append(had, r); return nil })
	must(t, err)
	must(t, j.Start(j.Epoch()+1, slices.Values(had)))
	var jobs []string
	for _, r := range had {
		jobs = append(jobs, r.Job)
	}
	return j, jobs
}

func TestTheHolderIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j, _ := open(t, dir, Options{})
	j.SetAddress("127.0.0.1:7070")
	_, err := Open(dir, Options{}, nil)
	var locked *Locked
	if !errors.Is(err, ErrLocked) || !errors.As(err, &locked) {
		t.Fatalf("got %v", err)
	}
	host, _ := os.Hostname()
	for _, want := range []string{dir, fmt.Sprintf("process %d on host %s, at 127.0.0.1:7070, since 20", os.Getpid(), host), "--take-over"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	must(t, j.Close())
	if j, _ := open(t, dir, Options{}); j.Close() != nil {
		t.Error("not free after the close")
	}
}

// TestTakeOver: what the first one has acknowledged is there, what it writes later is
// not acknowledged and nowhere, also when it begins a new file or a snapshot.
func TestTakeOver(t *testing.T) {
	for _, opt := range []Options{{}, {SegmentBytes: 100}, {SegmentBytes: 100, SnapshotBytes: 100, Condense: keepAll}} {
		dir := filepath.Join(t.TempDir(), "journal")
		old, _ := open(t, dir, opt)
		add(t, old, names(0, 9)...)
		j, had := openOver(t, dir, Options{})
		same(t, had, names(0, 9))
		if j.epoch != 2 {
			t.Errorf("epoch %d", j.epoch)
		}
		add(t, j, "new-0")
		for range 3 {
			_, err := old.Append(rec("late"))
			var fenced *Fenced
			if !errors.Is(err, ErrFenced) || !errors.As(err, &fenced) || fenced.Epoch != 1 || fenced.Holder.PID != os.Getpid() {
				t.Fatalf("the old one: %v", err)
			}
		}
		if err := old.Err(); !errors.Is(err, ErrFenced) {
			t.Errorf("its state: %v", err)
		}
		must(t, old.Close())
		add(t, j, "new-1")
		must(t, j.Close())
		again, err := held(t, dir)
		must(t, err)
		same(t, again, append(names(0, 9), "new-0", "new-1"))
		j, _ = open(t, dir, Options{})
		must(t, j.Close())
		left, err := os.ReadDir(filepath.Dir(dir))
		must(t, err)
		if len(left) != 2 || left[0].Name() != "journal" || left[1].Name() != "journal.gate" {
			t.Errorf("left: %v", left)
		}
	}
}

// TestWhoIsTakingOverIsNamed: also before the new one has read what there is.
func TestWhoIsTakingOverIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	old, _ := open(t, dir, Options{})
	add(t, old, "acknowledged")
	j, err := Open(dir, Options{TakeOver: true}, func(Record) error { return nil })
	must(t, err)
	var fenced *Fenced
	if _, err := old.Append(rec("late")); !errors.As(err, &fenced) || fenced.Holder.PID != os.Getpid() {
		t.Errorf("the old one: %v", err)
	}
	if _, err := Open(dir, Options{TakeOver: true}, nil); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("a third one: %v", err)
	}
	must(t, old.Close())
	must(t, j.Close())
}

// TestAnIdleOneFindsOut: also a journal that writes nothing ends when it was taken over.
func TestAnIdleOneFindsOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	old, _ := open(t, dir, Options{})
	j, _ := openOver(t, dir, Options{})
	<-old.ended
	if err := old.Err(); !errors.Is(err, ErrFenced) {
		t.Errorf("got %v", err)
	}
	must(t, old.Close())
	must(t, j.Close())
}

// TestTakeOverBetweenAnyTwoSteps: while the first one appends, at each of its steps, the
// second one takes over. What was acknowledged by either is there once and in order.
func TestTakeOverBetweenAnyTwoSteps(t *testing.T) {
	for _, where := range steps {
		for left := 1; left <= 2; left++ {
			t.Run(fmt.Sprintf("%s %d", where, left), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "journal")
				var mu sync.Mutex
				var j *Journal
				var had []string
				n := left
				opt := Options{SegmentBytes: 300, SnapshotBytes: 100, Condense: keepAll, Hook: func(step string) error {
					mu.Lock()
					defer mu.Unlock()
					if step == where {
						if n--; n == 0 {
							j, had = openOver(t, dir, Options{})
							add(t, j, "new")
						}
					}
					return nil
				}}
				old, err := Open(dir, opt, func(Record) error { return nil })
				must(t, err)
				acked := 0
				if err := old.Start(1, nil); err == nil {
					for _, name := range names(0, 40) {
						if _, err := old.Append(rec(name)); err != nil {
							if !errors.Is(err, ErrFenced) {
								t.Errorf("the old one ends with %v", err)
							}
							break
						}
						acked++
						old.background.Wait()
					}
				}
				must(t, old.Close())
				if j == nil {
					t.Fatal("it did not come to that")
				}
				must(t, j.Close())
				if len(had) < acked || len(had) > acked+1 {
					t.Errorf("%d were acknowledged, the next one found %d", acked, len(had))
				}
				same(t, had, names(0, len(had)))
				again, err := held(t, dir)
				must(t, err)
				same(t, again, append(had, "new"))
			})
		}
	}
}

// TestTakeOverDies: at each step of it. The next start goes on, with all that was
// acknowledged, and the first one stays fenced off.
func TestTakeOverDies(t *testing.T) {
	errDead := errors.New("dead")
	for die := 1; ; die++ {
		dir := filepath.Join(t.TempDir(), "journal")
		old, _ := open(t, dir, Options{})
		add(t, old, names(0, 5)...)
		n := 0
		j, err := Open(dir, Options{TakeOver: true, Hook: func(string) error {
			if n++; n == die {
				return errDead
			}
			return nil
		}}, func(Record) error { return nil })
		must(t, err)
		var kept iter.Seq[Record]
		var all []Record
		must(t, Read(dir+takenSuffix, func(r Record) error { all = append(all, r); return nil }))
		kept = slices.Values(all)
		err = j.Start(2, kept)
		must(t, j.Close())
		if _, err := old.Append(rec("late")); !errors.Is(err, ErrFenced) {
			t.Errorf("dead at step %d: the old one may write: %v", die, err)
		}
		must(t, old.Close())
		if err == nil {
			if die < 6 {
				t.Errorf("only %d steps", die)
			}
			return
		}
		var had []Record
		j, err = Open(dir, Options{}, func(r Record) error { had = append(had, r); return nil })
		must(t, err)
		must(t, j.Start(j.Epoch()+1, slices.Values(had)))
		add(t, j, "after")
		must(t, j.Close())
		again, err := held(t, dir)
		must(t, err)
		// The late one was written, if not acknowledged, before the second start read it.
		same(t, slices.DeleteFunc(again, func(n string) bool { return n == "late" }), append(names(0, 5), "after"))
	}
}

// TestOneStartAtATime: who takes over has the gate until the new folder is there.
func TestOneStartAtATime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	old, _ := open(t, dir, Options{})
	j, err := Open(dir, Options{TakeOver: true}, func(Record) error { return nil })
	must(t, err)
	for _, takeOver := range []bool{false, true} {
		if _, err := Open(dir, Options{TakeOver: takeOver}, nil); !errors.Is(err, ErrLocked) {
			t.Errorf("a third one: %v", err)
		}
	}
	if err := j.Start(1, nil); err == nil {
		t.Error("a take-over that keeps nothing")
	}
	must(t, j.Close())
	must(t, old.Close())
}

func TestStandby(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	wait := func(ctx context.Context, silence time.Duration) (bool, error) { return Standby(ctx, dir, silence) }
	if over, err := wait(t.Context(), time.Hour); over || err != nil {
		t.Errorf("with nobody there: %v, %v", over, err)
	}
	j, _ := open(t, dir, Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 3*beatEvery)
	defer cancel()
	if _, err := wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while one lives: %v", err)
	}
	must(t, j.Close())
	if over, err := wait(t.Context(), time.Hour); over || err != nil {
		t.Errorf("when it has gone: %v, %v", over, err)
	}
	// One that holds the lock and says nothing.
	d, err := openFolder(dir)
	must(t, err)
	defer d.close()
	h := &hold{d: d}
	free, err := h.lockFolder()
	must(t, err)
	defer h.lock.Close()
	if over, err := wait(t.Context(), 2*beatEvery); !over || err != nil || !free {
		t.Errorf("when it is silent: %v, %v", over, err)
	}
}
