package journal

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
)

// compact replaces all files by a snapshot of what keep yields, in ascending order of
// sequence numbers: records as they were, or others that stand for several, under the
// number of the last of these. A crash at any moment leaves either the old files or the
// snapshot in charge.
func (j *Journal) compact(keep func(yield func(Record) bool)) error {
	if j.seq == 0 {
		return nil
	}
	tmp := filepath.Join(j.dir, temporaryName)
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // harmless once renamed
	if err := j.fill(f, keep); err != nil {
		f.Close()
		return fmt.Errorf("journal: snapshot: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := j.hook("before-rename"); err != nil {
		return err
	}
	name := filepath.Join(j.dir, fileName(snapPrefix, j.seq))
	if err := os.Rename(tmp, name); err != nil {
		return err
	}
	if err := syncDir(j.dir); err != nil {
		return err
	}
	if err := j.hook("after-rename"); err != nil {
		return err
	}
	snaps, logs, err := list(j.dir)
	if err != nil {
		return err
	}
	for _, s := range append(snaps, logs...) {
		if s.name == name {
			continue
		}
		if err := os.Remove(s.name); err != nil {
			return err
		}
	}
	return syncDir(j.dir)
}

func (j *Journal) fill(f *os.File, keep func(yield func(Record) bool)) error {
	w := bufio.NewWriterSize(f, 1<<20)
	if _, err := w.Write(header(j.seq)); err != nil {
		return err
	}
	var last uint64
	var err error
	keep(func(r Record) bool {
		if r.Sequence <= last || r.Sequence > j.seq {
			err = fmt.Errorf("record %d after %d, of %d", r.Sequence, last, j.seq)
			return false
		}
		last = r.Sequence
		j.buf, err = appendRecord(j.buf[:0], r.Epoch, r.Sequence, r.JournalRecord)
		if err == nil {
			_, err = w.Write(j.buf)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	if j.buf, err = appendRecord(j.buf[:0], j.epoch, j.seq, nil); err != nil {
		return err
	}
	if _, err := w.Write(j.buf); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := j.hook("before-snapshot-sync"); err != nil {
		return err
	}
	return f.Sync()
}
