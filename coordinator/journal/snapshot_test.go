package journal

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// onlyTens is a condenser that keeps the records of jobs whose names end in 0.
func onlyTens(replay func(func(Record) error) error) (iter.Seq[Record], error) {
	var kept []Record
	err := replay(func(r Record) error {
		if strings.HasSuffix(r.Job, "0") {
			kept = append(kept, r)
		}
		return nil
	})
	return slices.Values(kept), err
}

func keepAll(replay func(func(Record) error) error) (iter.Seq[Record], error) {
	var kept []Record
	err := replay(func(r Record) error { kept = append(kept, r); return nil })
	return slices.Values(kept), err
}

// tens of the names.
func tens(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, "0") })
}

// TestSnapshotsWhileRunning: a journal that lives long stays small, readers see every
// record that is to be kept at any moment, and the next life finds them.
func TestSnapshotsWhileRunning(t *testing.T) {
	dir := t.TempDir()
	const n = 4000
	var made atomic.Int64
	opt := Options{SegmentBytes: 4000, SnapshotBytes: 8000, Condense: onlyTens, Hook: func(step string) error {
		if step == "after-rename" {
			made.Add(1)
		}
		return nil
	}}
	j, _ := open(t, dir, opt)
	var largest int64
	for i := 0; i < n; i += 50 {
		addTogether(t, j, names(i, i+50)...)
		largest = max(largest, size(t, dir))
		if i%400 == 0 {
			j.background.Wait() // nothing is being written: no new one begins
			had, err := held(t, dir)
			must(t, err)
			same(t, tens(had), tens(names(0, i+50)))
		}
	}
	must(t, j.Close())
	if made.Load() < 4 {
		t.Errorf("only %d snapshots", made.Load())
	}
	had, err := held(t, dir)
	must(t, err)
	same(t, tens(had), tens(names(0, n)))
	// A snapshot of 400 records at most, four times that, and what is written meanwhile.
	if all := int64(n * 50); largest > all*3/4 {
		t.Errorf("the folder had %d bytes, all records have more than %d", largest, all)
	}
	snaps, logs := segments(t, dir)
	if len(snaps) != 1 || snaps[0].seq >= logs[0].seq {
		t.Errorf("snapshots %v, logs %v", snaps, logs)
	}
	j, again := open(t, dir, opt)
	same(t, again, had)
	add(t, j, "more-0")
	must(t, j.Close())
}

// addTogether lets records wait for each other, so that few syncs do.
func addTogether(t *testing.T, j *Journal, jobs ...string) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Add(len(jobs))
	for _, n := range jobs {
		j.AppendAsync(rec(n), func(_ uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

func size(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if i, err := e.Info(); err == nil {
			bytes += i.Size()
		}
	}
	return bytes
}

// TestReadWhileFilesAreReplaced: inspectors read while snapshots take the files away.
func TestReadWhileFilesAreReplaced(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{SegmentBytes: 400, SnapshotBytes: 400, Condense: onlyTens})
	add(t, j, names(0, 10)...)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 10; i < 2000; i += 10 {
			addTogether(t, j, names(i, i+10)...)
		}
	})
	stop := make(chan struct{})
	go func() { wg.Wait(); close(stop) }()
	for reads := 0; ; reads++ {
		had, err := held(t, dir)
		must(t, err)
		had = tens(had)
		same(t, had, tens(names(0, 10*len(had)-9)))
		select {
		case <-stop:
			if reads == 0 {
				t.Error("nothing was read meanwhile")
			}
			must(t, j.Close())
			return
		default:
		}
	}
}

// steps are all that a journal takes once it has started.
var steps = []string{
	"before-create", "before-create-sync", "after-create", "before-write", "before-sync", "after-sync",
	"before-snapshot", "before-snapshot-sync", "before-rename", "after-rename", "before-delete", "after-delete",
}

// TestDeathInASnapshot kills the journal at each step, the first times that it comes to
// it, of the records' writer and of the snapshots that are made beside it.
func TestDeathInASnapshot(t *testing.T) {
	for _, step := range steps {
		for time := range 2 {
			t.Run(fmt.Sprintf("%s %d", step, time+1), func(t *testing.T) { dieAt(t, step, time+1) })
		}
	}
}

func dieAt(t *testing.T, where string, left int) {
	errDead := errors.New("dead")
	dir := t.TempDir()
	var mu sync.Mutex
	dead := false
	opt := Options{SegmentBytes: 300, SnapshotBytes: 100, Condense: keepAll, Hook: func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if step == where && !dead {
			left--
			dead = left == 0
		}
		if dead {
			return errDead
		}
		return nil
	}}
	var acked []string
	j, err := Open(dir, opt, func(Record) error { return nil })
	must(t, err)
	if err := j.Start(1, nil); err == nil {
		for _, n := range names(0, 40) {
			if _, err := j.Append(rec(n)); err != nil {
				break
			}
			acked = append(acked, n)
			j.background.Wait() // the next one begins with the next record
		}
	}
	must(t, j.Close())
	if !dead {
		t.Fatalf("it did not come to that with %d records", len(acked))
	}
	had, err := held(t, dir)
	must(t, err)
	if len(had) < len(acked) || len(had) > len(acked)+1 {
		t.Fatalf("%d acknowledged, %d there", len(acked), len(had))
	}
	same(t, had, names(0, len(had)))
	opt.Hook = nil
	j, again := open(t, dir, opt)
	same(t, again, had)
	add(t, j, "after")
	must(t, j.Close())
	had, err = held(t, dir)
	must(t, err)
	same(t, had, append(again, "after"))
}

// TestSnapshotThatFails: the journal goes on, says so once for each try, and tries again.
func TestSnapshotThatFails(t *testing.T) {
	dir := t.TempDir()
	var log syncBuffer
	var mu sync.Mutex
	left := 3
	done := make(chan struct{})
	j, _ := open(t, dir, Options{SegmentBytes: 300, SnapshotBytes: 300, Condense: onlyTens, Log: slog.New(slog.NewTextHandler(&log, nil)), Hook: func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case step == "before-snapshot-sync" && left > 0:
			left--
			return fmt.Errorf("sync: %w", syscall.ENOSPC)
		case step == "after-rename" && left == 0:
			left--
			close(done)
		}
		return nil
	}})
	n := 0
	for waiting := true; waiting; n++ {
		add(t, j, fmt.Sprintf("job-%d", n))
		select {
		case <-done:
			waiting = false
		default:
		}
	}
	must(t, j.Close())
	had, err := held(t, dir)
	must(t, err)
	same(t, tens(had), tens(names(0, n)))
	if got := strings.Count(log.String(), "could not be replaced by a snapshot"); got != 3 {
		t.Errorf("said %d times: %s", got, log.String())
	}
	if _, err := os.Stat(dir + "/" + temporaryName); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half snapshot was left: %v", err)
	}
}

// TestSnapshotOfADamagedLog: damage that is found while the journal lives is said, and
// nothing is removed.
func TestSnapshotOfADamagedLog(t *testing.T) {
	dir := t.TempDir()
	var log syncBuffer
	tried := make(chan error, 100)
	j, _ := open(t, dir, Options{SegmentBytes: 300, SnapshotBytes: 2000, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Condense: func(replay func(func(Record) error) error) (iter.Seq[Record], error) {
			kept, err := keepAll(replay)
			tried <- err
			return kept, err
		}})
	add(t, j, names(0, 8)...)
	name := dir + "/" + segmentName(logPrefix, 1)
	b, err := os.ReadFile(name)
	must(t, err)
	b[50] ^= 1
	must(t, os.WriteFile(name, b, 0o600))
	n := 8
	for waiting := true; waiting; n++ {
		add(t, j, fmt.Sprintf("job-%d", n))
		select {
		case err := <-tried:
			var corrupt *ErrJournalCorrupt
			if !errors.As(err, &corrupt) || corrupt.File != name {
				t.Errorf("got %v", err)
			}
			waiting = false
		default:
		}
	}
	must(t, j.Close())
	snaps, logs := segments(t, dir)
	if len(snaps) != 0 || logs[0].seq != 1 {
		t.Errorf("snapshots %v, logs %v", snaps, logs)
	}
	if !strings.Contains(log.String(), "journal corrupt") {
		t.Errorf("said: %s", log.String())
	}
}
