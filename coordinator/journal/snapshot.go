package journal

import (
	"bufio"
	"errors"
	"fmt"
	"iter"
	"os"
)

// A Condenser reads records in order and says which have to be kept of them: records as
// they were, or others that stand for several, under the number of the last of these;
// the numbers ascend.
type Condenser func(replay func(each func(Record) error) error) (iter.Seq[Record], error)

// A snapshot that is made while records are written. The writer begins it with the start
// of a new log and learns of its end from a channel.
type snapshotting struct {
	logged int64 // bytes of records since the newest snapshot
	due    int64 // when there are more of them, the next one is made
	busy   bool
	began  int64       // logged when it began
	result chan result // of the one that is being made
}

type result struct {
	size int64
	err  error
}

// dueAfter is how much may be logged after a snapshot: the larger it is the more a new
// one costs.
func (opt *Options) dueAfter(size int64) int64 { return max(opt.SnapshotBytes, 4*size) }

// snapshotDue takes in the end of the last snapshot and says whether it is time for the
// next.
func (j *Journal) snapshotDue() bool {
	s := &j.snapshots
	select {
	case r := <-s.result:
		s.busy = false
		if r.err != nil {
			// The files of before are all there. There is another try when more has come.
			s.due = s.logged + j.opt.SnapshotBytes
			break
		}
		s.logged -= s.began
		s.due = j.opt.dueAfter(r.size)
	default:
	}
	return j.opt.Condense != nil && !s.busy && s.logged > s.due
}

// beginSnapshot replaces all that lies before the newest log, which ends with last.
func (j *Journal) beginSnapshot(last uint64) {
	s := &j.snapshots
	s.busy, s.began = true, s.logged
	j.background.Go(func() {
		size, err := j.condense(last)
		switch {
		case err == nil:
			j.opt.Log.Info("the journal was replaced by a snapshot", "dir", j.d.path, "records", last, "bytes", size)
		case !errors.Is(err, ErrClosed):
			j.opt.Log.Error("the journal could not be replaced by a snapshot; it goes on growing", "dir", j.d.path, "error", err)
		}
		s.result <- result{size, err}
	})
}

// condense makes a snapshot of the files up to last. It looks at nothing but them.
func (j *Journal) condense(last uint64) (size int64, err error) {
	keep, err := j.opt.Condense(func(each func(Record) error) error {
		r := reader{d: j.d, cut: warn(j.opt.Log), each: func(r Record) error {
			select {
			case <-j.stop:
				return ErrClosed
			default:
			}
			return each(r)
		}}
		return r.sealed(last)
	})
	if err != nil {
		return 0, err
	}
	return j.snapshot(last, keep)
}

// snapshot replaces all files with records up to last by one of what keep yields. A
// crash at any moment leaves either the old files or the snapshot in charge.
func (j *Journal) snapshot(last uint64, keep iter.Seq[Record]) (size int64, err error) {
	if last == 0 {
		return 0, nil
	}
	f, err := j.d.root.OpenFile(temporaryName, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer j.d.root.Remove(temporaryName) // harmless once renamed
	size, err = j.fill(f, last, keep)
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("journal: snapshot: %w", err)
	}
	if err := j.hook("before-rename"); err != nil {
		return 0, err
	}
	name := segmentName(snapPrefix, last)
	if err := j.d.root.Rename(temporaryName, name); err != nil {
		return 0, err
	}
	if err := j.d.sync(); err != nil {
		return 0, err
	}
	if err := j.hook("after-rename"); err != nil {
		return 0, err
	}
	return size, j.removeUpTo(last, name)
}

// removeUpTo removes what a snapshot stands for.
func (j *Journal) removeUpTo(last uint64, snapshot string) error {
	snaps, logs, err := j.d.list()
	if err != nil {
		return err
	}
	for _, s := range append(snaps, logs...) {
		if s.name == snapshot || s.seq > last {
			continue
		}
		if err := j.hook("before-delete"); err != nil {
			return err
		}
		if err := j.d.root.Remove(s.name); err != nil {
			return err
		}
		if err := j.hook("after-delete"); err != nil {
			return err
		}
	}
	return j.d.sync()
}

func (j *Journal) fill(f *os.File, last uint64, keep iter.Seq[Record]) (size int64, err error) {
	if err := j.hook("before-snapshot"); err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	put := func(b []byte) error {
		size += int64(len(b))
		_, err := w.Write(b)
		return err
	}
	if err := put(header(last)); err != nil {
		return 0, err
	}
	var buf []byte
	var before uint64
	for r := range keep {
		if r.Sequence <= before || r.Sequence > last {
			return 0, fmt.Errorf("record %d after %d, of %d", r.Sequence, before, last)
		}
		before = r.Sequence
		if buf, err = appendRecord(buf[:0], r.Epoch, r.Sequence, r.JournalRecord); err != nil {
			return 0, err
		}
		if err := put(buf); err != nil {
			return 0, err
		}
	}
	if buf, err = appendRecord(buf[:0], j.epoch, last, nil); err != nil {
		return 0, err
	}
	if err := put(buf); err != nil {
		return 0, err
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	if err := j.hook("before-snapshot-sync"); err != nil {
		return 0, err
	}
	return size, f.Sync()
}
