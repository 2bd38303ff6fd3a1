// Package journal is what happened, durable: an append-only log of records in segment
// files, from which a new coordinator learns all that the one before had acknowledged.
//
// The format is described in docs/format/journal.md.
package journal

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/divisi-data/divisi/internal/bare"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// Errors that callers test for with errors.Is.
var (
	// ErrLocked: another process has the folder, see Locked.
	ErrLocked = errors.New("another coordinator uses this folder")
	// ErrFenced: another process has taken the folder over, see Fenced. Nothing is
	// written any more.
	ErrFenced = errors.New("fenced off")
	// ErrFull: there is no room for the next records. They are kept in memory, written
	// when there is, and not acknowledged before.
	ErrFull = errors.New("no room to write the journal")
	// ErrClosed: the journal was closed, or failed for good, before the record was
	// durable.
	ErrClosed = errors.New("journal closed")
)

// ErrJournalCorrupt is a bad record with good ones after it: not a write that was cut
// short, but damage. The journal is not opened, nothing is cut away.
type ErrJournalCorrupt struct {
	File   string
	Offset int64
	Why    string
}

func (e *ErrJournalCorrupt) Error() string {
	return fmt.Sprintf("journal corrupt: %s at offset %d: %s (restore the file from a copy; nothing was changed)", e.File, e.Offset, e.Why)
}

// Options of a journal.
type Options struct {
	Log *slog.Logger // nil: discarded
	// SegmentBytes after which a new file is begun; 0: 64 MiB.
	SegmentBytes int64
	// Condense makes snapshots while records are written; nil: none are made then.
	// It is called on a goroutine of its own, one call at a time.
	Condense Condenser
	// SnapshotBytes of records, and four times the size of the last snapshot, are written
	// before the next is made; 0: 64 MiB.
	SnapshotBytes int64
	// TakeOver: a folder that another process has is taken from it. That one is fenced off
	// (see ErrFenced), also if it is stopped and goes on later.
	TakeOver bool
	// Hook is called before and after each step on files, by name, and stands for the
	// crash or error that tests want to happen there. A snapshot's steps come from
	// another goroutine than a record's. Nil outside tests.
	Hook func(step string) error
	// Lull is the least time between a sync and the next one for which nobody waits; 0: 10
	// milliseconds. A task's result waits that long to be acknowledged, which keeps nobody
	// from work, and shares its sync with all those that come meanwhile.
	Lull time.Duration
	// FullRetry is how long to wait before room is looked for again; 0: a second.
	FullRetry time.Duration
}

// A Journal is open for appending. Its methods may be called from many goroutines.
type Journal struct {
	dir               string
	opt               Options
	*hold             // of the folder
	epoch             uint64
	started, tookOver bool

	mu      sync.Mutex
	wake    chan struct{} // holds a token when the writer has to look
	queue   []entry
	seq     uint64 // of the last record that was queued
	urgent  uint64 // of the last record that somebody waits for, see Hurry
	failed  error  // for good
	full    error  // for now
	closing bool
	stop    chan struct{}
	ended   chan struct{}

	// The writer's own.
	file      *os.File
	size      int64
	buf       []byte
	synced    time.Time // when the last batch was
	snapshots snapshotting

	telling sync.Mutex // guards holder and what the lock file says
	holder  Holder

	background sync.WaitGroup // a snapshot in the making
	beating    sync.WaitGroup
}

type entry struct {
	rec  *divisipb.JournalRecord
	seq  uint64
	done func(seq uint64, err error)
}

// Record is a record and its place.
type Record struct {
	Epoch    uint64
	Sequence uint64
	*divisipb.JournalRecord
}

// Open locks the folder, which is made if need be, and replays what it holds: each
// record in order is given to replay, whose error ends it. A write that was cut short at
// the end is cut away. Appending begins with Start. It fails with a *Locked when another
// process has the folder, and with an *ErrJournalCorrupt when it is damaged.
func Open(dir string, opt Options, replay func(Record) error) (_ *Journal, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.SegmentBytes == 0 {
		opt.SegmentBytes = 64 << 20
	}
	if opt.SnapshotBytes == 0 {
		opt.SnapshotBytes = 64 << 20
	}
	if opt.Lull == 0 {
		opt.Lull = 10 * time.Millisecond
	}
	if opt.FullRetry == 0 {
		opt.FullRetry = time.Second
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	self := Holder{PID: os.Getpid(), Since: time.Now().Round(0)}
	self.Host, _ = os.Hostname() // for messages only
	h, err := acquire(dir, opt.TakeOver, self)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			h.release()
		}
	}()
	j := &Journal{
		dir: dir, opt: opt, hold: h, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		snapshots: snapshotting{due: opt.SnapshotBytes, result: make(chan result, 1)}, holder: self,
	}
	if err := j.holder.write(j.lock); err != nil {
		return nil, err
	}
	r := reader{d: h.d, cut: warn(opt.Log), mend: h.taken == nil, each: func(r Record) error {
		j.seq = max(j.seq, r.Sequence)
		j.epoch = max(j.epoch, r.Epoch)
		return replay(r)
	}}
	if h.taken != nil {
		j.tookOver = true
		r.d = h.taken
	}
	last, err := r.all()
	if err != nil {
		return nil, err
	}
	j.seq = max(j.seq, last)
	return j, nil
}

// TookOver says whether the folder was another process's.
func (j *Journal) TookOver() bool { return j.tookOver }

// Epoch of the last record, 0 for an empty journal. Start begins the next one.
func (j *Journal) Epoch() uint64 { return j.epoch }

// Start begins a new epoch in a new file. With keep, what keep yields replaces
// everything that was there (see Condenser); a take-over needs it.
func (j *Journal) Start(epoch uint64, keep iter.Seq[Record]) error {
	if epoch <= j.epoch {
		return fmt.Errorf("journal: epoch %d after %d", epoch, j.epoch)
	}
	j.epoch = epoch
	if keep == nil && j.taken != nil {
		return errors.New("journal: a take-over without what is to be kept")
	}
	if keep != nil {
		size, err := j.snapshot(j.seq, keep)
		if err != nil {
			return err
		}
		j.snapshots.due = j.opt.dueAfter(size)
	}
	if err := j.roll(); err != nil {
		return err
	}
	if j.taken != nil {
		if err := j.hold.finish(j.dir); err != nil {
			return err
		}
	}
	j.started = true
	go j.write()
	j.beating.Go(j.beat)
	return nil
}

// Append returns when the record is durable, with its sequence number.
func (j *Journal) Append(rec *divisipb.JournalRecord) (uint64, error) {
	type answer struct {
		seq uint64
		err error
	}
	c := make(chan answer, 1)
	j.AppendAsync(rec, func(seq uint64, err error) { c <- answer{seq, err} })
	j.Hurry()
	a := <-c
	return a.seq, a.err
}

// AppendAsync queues a record, which belongs to the journal from then on, and returns
// its sequence number. Done is called once, on the journal's goroutine and in order,
// when the record is durable or cannot become so; it must not block. Records wait for
// more to share a sync with, until Options.Lull has passed since the last one or Hurry is called.
func (j *Journal) AppendAsync(rec *divisipb.JournalRecord, done func(seq uint64, err error)) uint64 {
	j.mu.Lock()
	if j.failed != nil || j.closing {
		err := j.failed
		j.mu.Unlock()
		if err == nil {
			err = ErrClosed
		}
		done(0, err)
		return 0
	}
	j.seq++
	seq := j.seq
	j.queue = append(j.queue, entry{rec, seq, done})
	first := len(j.queue) == 1
	j.mu.Unlock()
	if first { // the writer knows of the others, or will
		j.poke()
	}
	return seq
}

// Hurry says that somebody waits for the records queued so far: they are written at once.
func (j *Journal) Hurry() {
	j.mu.Lock()
	news := len(j.queue) > 0 && j.urgent < j.seq
	j.urgent = j.seq
	j.mu.Unlock()
	if news {
		j.poke()
	}
}

func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Err is ErrFull (wrapped) while records wait for room, the error that ended the
// journal, or nil.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil {
		return j.failed
	}
	return j.full
}

// Close writes what is queued, unless there is no room, and gives up the folder.
func (j *Journal) Close() error {
	j.mu.Lock()
	again := j.closing
	j.closing = true
	j.mu.Unlock()
	if again {
		<-j.ended
		return nil
	}
	close(j.stop)
	if !j.started {
		close(j.ended)
		if j.file != nil {
			j.file.Close()
		}
		return j.release()
	}
	<-j.ended
	j.background.Wait()
	j.beating.Wait()
	return errors.Join(j.file.Close(), j.release())
}

// write is the journal's goroutine: it takes all that is queued, writes it and syncs
// once.
func (j *Journal) write() {
	defer close(j.ended)
	for {
		batch, stopping := j.take()
		var err error
		if len(batch) > 0 {
			err = j.commit(batch)
			j.synced = time.Now()
			for _, e := range batch {
				e.done(e.seq, err)
			}
		} else if !stopping {
			err = j.fenced()
		}
		if err != nil {
			j.fail(err)
			return
		}
		if stopping {
			j.fail(ErrClosed)
			return
		}
	}
}

// take waits until there is something to do: records to be written, or none if the writer
// was woken to look at its folder or is to stop.
func (j *Journal) take() (batch []entry, stopping bool) {
	var calm <-chan time.Time
	for {
		select {
		case <-j.wake:
		case <-calm:
		case <-j.stop:
			stopping = true
		}
		j.mu.Lock()
		if len(j.queue) > 0 && j.queue[0].seq > j.urgent && !stopping {
			if wait := j.opt.Lull - time.Since(j.synced); wait > 0 {
				j.mu.Unlock()
				calm = time.After(wait)
				continue
			}
		}
		batch, j.queue = j.queue, nil
		j.mu.Unlock()
		return batch, stopping
	}
}

// fail refuses everything from now on.
func (j *Journal) fail(err error) {
	j.mu.Lock()
	j.failed = err
	rest := j.queue
	j.queue = nil
	j.mu.Unlock()
	for _, e := range rest {
		e.done(e.seq, err)
	}
}

// commit makes a batch durable, however long there is no room for it.
func (j *Journal) commit(batch []entry) error {
	if bare.Journal() {
		return nil
	}
	j.buf = j.buf[:0]
	for _, e := range batch {
		e.rec.Batch = batch[0].seq
		var err error
		if j.buf, err = appendRecord(j.buf, j.epoch, e.seq, e.rec); err != nil {
			return err
		}
	}
	for {
		err := j.put()
		if err == nil {
			j.setFull(nil)
			return nil
		}
		if ferr := j.fenced(); ferr != nil {
			return ferr
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return fmt.Errorf("journal: %w", err)
		}
		// What was written of the batch goes, so that a crash finds a clean end.
		if terr := j.file.Truncate(j.size); terr != nil {
			return fmt.Errorf("journal: %w", errors.Join(err, terr))
		}
		full := fmt.Errorf("%w: %s: %w (make room; it goes on by itself)", ErrFull, j.d.path, err)
		if j.setFull(full) {
			j.opt.Log.Error("the journal waits for room", "dir", j.d.path, "error", err)
		}
		select {
		case <-j.stop:
			return full
		case <-time.After(j.opt.FullRetry):
		}
	}
}

func (j *Journal) setFull(err error) (first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	first = j.full == nil
	if err == nil && !first {
		j.opt.Log.Info("the journal has room again", "dir", j.d.path)
	}
	j.full = err
	return first
}

func (j *Journal) put() error {
	if j.size > headerBytes {
		due := j.snapshotDue()
		if due || j.size+int64(len(j.buf)) > j.opt.SegmentBytes {
			last, err := j.next()
			if err != nil {
				return err
			}
			if due {
				j.beginSnapshot(last)
			}
		}
	}
	if err := j.hook("before-write"); err != nil {
		return err
	}
	if _, err := j.file.WriteAt(j.buf, j.size); err != nil {
		return err
	}
	if err := j.hook("before-sync"); err != nil {
		return err
	}
	if err := datasync(j.file); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	j.size += int64(len(j.buf))
	j.snapshots.logged += int64(len(j.buf))
	if err := j.hook("after-sync"); err != nil {
		return err
	}
	return j.fenced()
}

func (j *Journal) hook(step string) error {
	if j.opt.Hook == nil {
		return nil
	}
	return j.opt.Hook(step)
}

// roll begins the first file of this life.
func (j *Journal) roll() error {
	f, err := j.d.createLog(j.seq+1, j.hook)
	if err != nil {
		return err
	}
	j.file, j.size = f, headerBytes
	return nil
}

// next begins the next file and says with which record the one before ends. The queue
// may be ahead of what is written, so the first number is that of the batch in hand.
func (j *Journal) next() (last uint64, err error) {
	_, seq, _, _, err := parseRecord(j.buf)
	if err != nil {
		return 0, err
	}
	f, err := j.d.createLog(seq, j.hook)
	if err != nil {
		return 0, err
	}
	old := j.file
	j.file, j.size = f, headerBytes
	return seq - 1, old.Close()
}
