package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A folder is an open directory: what is done in it is done to that directory even when
// its name has come to mean another.
type folder struct {
	root *os.Root
	path string // for messages
}

func openFolder(path string) (*folder, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &folder{r, path}, nil
}

func (d *folder) close() error { return d.root.Close() }

// full is a file's name for messages.
func (d *folder) full(name string) string { return filepath.Join(d.path, name) }

// sync makes names in the folder durable.
func (d *folder) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// cut shortens a file, durably.
func (d *folder) cut(name string, size int64) error {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

// A segment is a file of records: a log from a number on, or a snapshot up to one.
type segment struct {
	name string
	seq  uint64
}

func segmentName(prefix string, seq uint64) string {
	return fmt.Sprintf("%s%016x%s", prefix, seq, fileSuffix)
}

// parseName is the reverse.
func parseName(name string) (prefix string, seq uint64, ok bool) {
	for _, prefix := range []string{logPrefix, snapPrefix} {
		hex, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		hex, ok = strings.CutSuffix(hex, fileSuffix)
		if seq, err := strconv.ParseUint(hex, 16, 64); ok && err == nil && name == segmentName(prefix, seq) {
			return prefix, seq, true
		}
	}
	return "", 0, false
}

// list has the files of records, in order.
func (d *folder) list() (snaps, logs []segment, err error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	names, err := f.ReadDir(-1)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		switch prefix, seq, ok := parseName(n.Name()); {
		case !ok:
		case prefix == logPrefix:
			logs = append(logs, segment{n.Name(), seq})
		default:
			snaps = append(snaps, segment{n.Name(), seq})
		}
	}
	bySeq := func(a, b segment) int {
		if a.seq < b.seq {
			return -1
		}
		return 1
	}
	slices.SortFunc(snaps, bySeq)
	slices.SortFunc(logs, bySeq)
	return snaps, logs, nil
}

// opened is a segment whose content can be had also after its name has gone.
type opened struct {
	segment
	file *os.File
}

func (o opened) read() ([]byte, error) { return io.ReadAll(o.file) }

// openAll opens what has to be read: the newest snapshot, if there is one, and the logs
// after it. The owner of the folder may replace files at any time, and a listing that is
// made meanwhile may hold some of the new ones and some of the old.
func (d *folder) openAll() (snap *opened, logs []opened, err error) {
	for try := 1; ; try++ {
		snap, logs, err = d.tryOpenAll()
		replaced := errors.Is(err, fs.ErrNotExist) || err == nil && !follows(snap, logs)
		if !replaced || try == 10 {
			return snap, logs, err
		}
		closeAll(snap, logs)
	}
}

// follows says whether the first log goes on where the snapshot ends.
func follows(snap *opened, logs []opened) bool {
	first := uint64(1)
	if snap != nil {
		first = snap.seq + 1
	}
	return len(logs) == 0 || logs[0].seq == first
}

func (d *folder) tryOpenAll() (snap *opened, logs []opened, err error) {
	snaps, all, err := d.list()
	if err != nil {
		return nil, nil, err
	}
	if len(snaps) > 0 {
		s := snaps[len(snaps)-1]
		all = slices.DeleteFunc(all, func(l segment) bool { return l.seq <= s.seq })
		f, err := d.root.Open(s.name)
		if err != nil {
			return nil, nil, err
		}
		snap = &opened{s, f}
	}
	for _, l := range all {
		f, err := d.root.Open(l.name)
		if err != nil {
			closeAll(snap, logs)
			return nil, nil, err
		}
		logs = append(logs, opened{l, f})
	}
	return snap, logs, nil
}

// closeAll closes files that were only read.
func closeAll(snap *opened, logs []opened) {
	if snap != nil {
		snap.file.Close()
	}
	for _, l := range logs {
		l.file.Close()
	}
}
