package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/divisi-data/divisi/proto/divisipb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rec(job string) *divisipb.JournalRecord {
	return &divisipb.JournalRecord{UnixNanos: 12345, Job: job, Body: &divisipb.JournalRecord_SinkPublished{SinkPublished: &divisipb.SinkPublished{Sink: 3}}}
}

// open replays dir and starts it; the names of the jobs are what it held.
func open(t *testing.T, dir string, opt Options) (*Journal, []string) {
	t.Helper()
	var had []string
	j, err := Open(dir, opt, func(r Record) error { had = append(had, r.Job); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Start(j.Epoch()+1, nil); err != nil {
		t.Fatal(err)
	}
	return j, had
}

func held(t *testing.T, dir string) (jobs []string, err error) {
	t.Helper()
	err = Read(dir, func(r Record) error { jobs = append(jobs, r.Job); return nil })
	return jobs, err
}

func names(from, to int) []string {
	var n []string
	for i := from; i < to; i++ {
		n = append(n, fmt.Sprintf("job-%d", i))
	}
	return n
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func add(t *testing.T, j *Journal, jobs ...string) {
	t.Helper()
	for _, n := range jobs {
		if _, err := j.Append(rec(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	for life := range 4 {
		j, had := open(t, dir, Options{SegmentBytes: 200})
		same(t, had, names(0, life*10))
		if j.epoch != uint64(life+1) {
			t.Fatalf("epoch %d in life %d", j.epoch, life)
		}
		add(t, j, names(life*10, life*10+10)...)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, logs := segments(t, dir)
	if len(logs) < 8 {
		t.Errorf("%d files of at most 200 bytes", len(logs))
	}
	if _, err := (&Journal{closing: true, failed: nil}).Append(rec("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}

func TestConcurrentAppendsShareSyncs(t *testing.T) {
	dir := t.TempDir()
	syncs := 0
	release := make(chan struct{})
	j, _ := open(t, dir, Options{Hook: func(step string) error {
		if step == "before-sync" {
			if syncs++; syncs == 1 {
				<-release // the first batch is under way while all others come
			}
		}
		return nil
	}})
	var wg sync.WaitGroup
	wg.Add(1000)
	var order []uint64
	for range 1000 {
		j.AppendAsync(rec("x"), func(seq uint64, err error) {
			if err != nil {
				t.Error(err)
			}
			order = append(order, seq)
			wg.Done()
		})
	}
	close(release)
	wg.Wait()
	j.Close()
	if syncs > 3 {
		t.Errorf("%d syncs for 1000 records that waited together", syncs)
	}
	for i, s := range order {
		if s != uint64(i+1) {
			t.Fatalf("callback %d is for record %d", i, s)
		}
	}
}

// TestRecordsWaitForOthers: what nobody waits for is written with what somebody does, in
// order, or when the journal is closed.
func TestRecordsWaitForOthers(t *testing.T) {
	dir := t.TempDir()
	syncs := 0
	j, _ := open(t, dir, Options{Lull: time.Hour, Hook: func(step string) error {
		if step == "before-sync" {
			syncs++
		}
		return nil
	}})
	add(t, j, "job-0") // the first; from now on an hour is to pass
	var order []uint64
	done := func(seq uint64, err error) {
		if err != nil {
			t.Error(err)
		}
		order = append(order, seq)
	}
	for _, n := range names(1, 100) {
		j.AppendAsync(rec(n), done)
	}
	add(t, j, "job-100")
	if len(order) != 99 || syncs != 2 {
		t.Errorf("%d records that waited are durable after %d syncs, want 99 after 2", len(order), syncs)
	}
	j.AppendAsync(rec("job-101"), done)
	j.Hurry()
	j.Hurry()
	j.AppendAsync(rec("job-102"), done)
	must(t, j.Close())
	for i, seq := range order {
		if want := uint64(i + 2); i < 99 && seq != want {
			t.Fatalf("callback %d is for record %d", i, seq)
		}
	}
	if len(order) != 101 || syncs > 4 {
		t.Errorf("%d records are durable in the end, want 101; %d syncs", len(order), syncs)
	}
	had, err := held(t, dir)
	must(t, err)
	same(t, had, names(0, 103))
}

// TestLull: what nobody waits for becomes durable all the same.
func TestLull(t *testing.T) {
	j, _ := open(t, t.TempDir(), Options{Lull: time.Millisecond})
	defer j.Close()
	for range 10 {
		durable := make(chan error, 1)
		j.AppendAsync(rec("x"), func(_ uint64, err error) { durable <- err })
		must(t, <-durable)
	}
}

// TestCutEverywhere cuts the last file at every length: what remains is a prefix, and
// the journal goes on from there.
func TestCutEverywhere(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{})
	add(t, j, names(0, 3)...)
	j.Close()
	name := filepath.Join(dir, segmentName(logPrefix, 1))
	whole, _ := os.ReadFile(name)
	for n := range whole {
		d := t.TempDir()
		must(t, os.WriteFile(filepath.Join(d, filepath.Base(name)), whole[:n], 0o600))
		j, had := open(t, d, Options{})
		same(t, had, names(0, len(had)))
		if n < len(whole) && len(had) == 3 {
			t.Fatalf("3 records in %d of %d bytes", n, len(whole))
		}
		add(t, j, "after")
		j.Close()
		again, err := held(t, d)
		must(t, err)
		same(t, again, append(names(0, len(had)), "after"))
	}
}

// TestFlipEverywhere flips each bit of a file: the journal refuses to open, or what it
// has lost is from the last write only.
func TestFlipEverywhere(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{})
	add(t, j, names(0, 4)...)
	j.Close()
	name := filepath.Join(dir, segmentName(logPrefix, 1))
	whole, _ := os.ReadFile(name)
	lastAt := bytes.LastIndex(whole, []byte("job-3")) - 60
	refused := 0
	d := t.TempDir()
	for i := range whole {
		for bit := range 8 {
			b := bytes.Clone(whole)
			b[i] ^= 1 << bit
			must(t, os.WriteFile(filepath.Join(d, filepath.Base(name)), b, 0o600))
			had, err := held(t, d)
			var corrupt *ErrJournalCorrupt
			switch {
			case errors.As(err, &corrupt):
				refused++
			case err != nil:
				t.Fatal(err)
			case len(had) != 3 || i < lastAt:
				t.Fatalf("byte %d, bit %d flipped: %s", i, bit, had)
			}
		}
	}
	if refused < 8*len(whole)/2 {
		t.Errorf("only %d of %d flips were refused", refused, 8*len(whole))
	}
}

func TestDamageIsRefusedByName(t *testing.T) {
	for _, c := range []struct {
		name  string
		harm  func(dir string) error
		wants string
	}{
		{"missing file", func(d string) error { return os.Remove(filepath.Join(d, segmentName(logPrefix, 11))) }, "a file is missing"},
		{"missing first file", func(d string) error { return os.Remove(filepath.Join(d, segmentName(logPrefix, 1))) }, "a file is missing"},
		{"short file before the last", func(d string) error { return os.Truncate(filepath.Join(d, segmentName(logPrefix, 1)), 100) }, "corrupt"},
		{"renamed file", func(d string) error {
			return os.Rename(filepath.Join(d, segmentName(logPrefix, 11)), filepath.Join(d, segmentName(logPrefix, 12)))
		}, "corrupt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for life := range 3 {
				j, _ := open(t, dir, Options{})
				add(t, j, names(life*10, life*10+10)...)
				j.Close()
			}
			must(t, c.harm(dir))
			before := contents(t, dir)
			_, err := Open(dir, Options{}, func(Record) error { return nil })
			var corrupt *ErrJournalCorrupt
			if !errors.As(err, &corrupt) || !strings.Contains(err.Error(), c.wants) {
				t.Fatalf("got %v, want %q", err, c.wants)
			}
			if after := contents(t, dir); after != before {
				t.Error("a refused journal was changed")
			}
		})
	}
}

// TestTornBatch: the system may write the pages of one write in any order. A batch that
// was never synced may have good records behind a bad one.
func TestTornBatch(t *testing.T) {
	var b []byte
	var err error
	put := func(seq, batch uint64) {
		r := rec(fmt.Sprintf("job-%d", seq-1))
		r.Batch = batch
		b, err = appendRecord(b, 1, seq, r)
		must(t, err)
	}
	b = append(b, header(1)...)
	put(1, 1)
	at := len(b)
	put(2, 2)
	put(3, 2)
	write := func(b []byte) string {
		d := t.TempDir()
		b = bytes.Clone(b)
		b[at+30] ^= 1
		must(t, os.WriteFile(filepath.Join(d, segmentName(logPrefix, 1)), b, 0o600))
		return d
	}
	had, err := held(t, write(b))
	must(t, err)
	same(t, had, names(0, 1))
	put(4, 4)
	if _, err := held(t, write(b)); err == nil {
		t.Error("a later write proves that the bad record was durable, yet it was cut away")
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	full := make(chan struct{}, 100)
	room := make(chan struct{})
	var log syncBuffer
	j, _ := open(t, dir, Options{FullRetry: time.Microsecond, Log: slog.New(slog.NewTextHandler(&log, nil)), Hook: func(step string) error {
		if step != "before-sync" {
			return nil
		}
		select {
		case <-room:
			return nil
		default:
		}
		select {
		case full <- struct{}{}:
		default:
		}
		return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	}})
	acked := make(chan error, 1)
	j.AppendAsync(rec("job-0"), func(_ uint64, err error) { acked <- err })
	<-full
	<-full
	<-full
	if err := j.Err(); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), dir) {
		t.Errorf("while full: %v", err)
	}
	select {
	case err := <-acked:
		t.Fatalf("acknowledged without room: %v", err)
	default:
	}
	close(room)
	must(t, <-acked)
	must(t, j.Err())
	j.Close()
	had, err := held(t, dir)
	must(t, err)
	same(t, had, names(0, 1))
	if n := strings.Count(log.String(), "waits for room"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestFullDiskAtClose(t *testing.T) {
	dir := t.TempDir()
	full := make(chan struct{}, 1)
	j, _ := open(t, dir, Options{FullRetry: time.Hour, Hook: func(step string) error {
		if step == "before-write" {
			full <- struct{}{}
			return syscall.ENOSPC
		}
		return nil
	}})
	acked := make(chan error, 1)
	j.AppendAsync(rec("x"), func(_ uint64, err error) { acked <- err })
	<-full
	must(t, j.Close())
	if err := <-acked; !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
}

func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{})
	if _, err := Open(dir, Options{}, nil); !errors.Is(err, ErrLocked) {
		t.Errorf("a second one: %v", err)
	}
	j.Close()
	j, _ = open(t, dir, Options{})
	j.Close()
}

// TestDeathAtEveryStep kills the journal at each step it takes, in three lives with a
// compaction between: what was acknowledged is there afterwards, in order, and nothing
// is there twice.
func TestDeathAtEveryStep(t *testing.T) {
	errDead := errors.New("dead")
	for die := 1; ; die++ {
		dir := t.TempDir()
		steps, dead := 0, false
		opt := Options{SegmentBytes: 150, Hook: func(string) error {
			if steps++; dead || steps == die {
				dead = true
				return errDead
			}
			return nil
		}}
		var acked []string
		life := func(from int, compacts bool) {
			var all []Record
			j, err := Open(dir, opt, func(r Record) error { all = append(all, r); return nil })
			must(t, err)
			defer j.Close()
			var keep func(func(Record) bool)
			if compacts {
				keep = func(yield func(Record) bool) {
					for _, r := range all {
						if !yield(r) {
							return
						}
					}
				}
			}
			if err := j.Start(j.Epoch()+1, keep); err != nil {
				if !errors.Is(err, errDead) {
					t.Fatal(err)
				}
				return
			}
			for _, n := range names(from, from+5) {
				if _, err := j.Append(rec(n)); err != nil {
					return
				}
				acked = append(acked, n)
			}
		}
		life(0, false)
		if !dead {
			life(5, true)
		}
		if !dead {
			life(10, true)
		}
		had, err := held(t, dir)
		must(t, err)
		if len(had) < len(acked) || len(had) > len(acked)+1 {
			t.Fatalf("dead at step %d: %d acknowledged, %d there", die, len(acked), len(had))
		}
		same(t, had, names(0, len(had)))
		if !dead {
			if die < 40 {
				t.Errorf("only %d steps", die)
			}
			return
		}
		// It lives on.
		dead, steps = false, -1<<30
		j, again := open(t, dir, Options{})
		same(t, again, had)
		add(t, j, "after")
		j.Close()
		had, err = held(t, dir)
		must(t, err)
		same(t, had, append(again, "after"))
	}
}

func TestSnapshotDamageIsRefused(t *testing.T) {
	dir := t.TempDir()
	j, _ := open(t, dir, Options{})
	add(t, j, names(0, 3)...)
	j.Close()
	var all []Record
	j, err := Open(dir, Options{}, func(r Record) error { all = append(all, r); return nil })
	must(t, err)
	must(t, j.Start(2, func(yield func(Record) bool) {
		_ = yield(all[0]) && yield(all[2])
	}))
	add(t, j, "job-3")
	j.Close()
	had, err := held(t, dir)
	must(t, err)
	same(t, had, []string{"job-0", "job-2", "job-3"})

	name := filepath.Join(dir, segmentName(snapPrefix, 3))
	whole, err := os.ReadFile(name)
	must(t, err)
	var corrupt *ErrJournalCorrupt
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		must(t, os.WriteFile(name, b, 0o600))
		if _, err := held(t, dir); !errors.As(err, &corrupt) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		must(t, os.WriteFile(name, whole[:i], 0o600))
		if _, err := held(t, dir); !errors.As(err, &corrupt) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	var b []byte
	b = append(b, header(1)...)
	for i := range 3 {
		r := rec("seed")
		r.Batch = uint64(i + 1)
		b, _ = appendRecord(b, 1, uint64(i+1), r)
	}
	f.Add(b)
	f.Add(b[:len(b)-7])
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, segmentName(logPrefix, 1)), b, 0o600))
		n := 0
		j, err := Open(dir, Options{}, func(Record) error { n++; return nil })
		var corrupt *ErrJournalCorrupt
		if errors.As(err, &corrupt) {
			return
		}
		must(t, err)
		j.Close()
		again, err := held(t, dir)
		must(t, err)
		if len(again) != n {
			t.Fatalf("%d records, then %d", n, len(again))
		}
	})
}

// BenchmarkAppend is a job of 1,000 tasks: each result is a record of its own.
func BenchmarkAppend(b *testing.B) {
	j, err := Open(b.TempDir(), Options{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := j.Start(1, nil); err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	for b.Loop() {
		var wg sync.WaitGroup
		wg.Add(1000)
		for range 1000 {
			j.AppendAsync(rec("x"), func(uint64, error) { wg.Done() })
		}
		wg.Wait()
	}
}

func segments(t *testing.T, dir string) (snaps, logs []segment) {
	t.Helper()
	d, err := openFolder(dir)
	must(t, err)
	defer d.close()
	snaps, logs, err = d.list()
	must(t, err)
	return snaps, logs
}

func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() == lockName {
			continue // says who had it last
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		fmt.Fprintf(&b, "%s %x\n", e.Name(), data)
	}
	return b.String()
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
