package journal

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// Read gives every record of a folder to each, in order, and changes nothing: for
// inspectors. A write that was cut short ends it quietly.
func Read(dir string, each func(Record) error) error {
	_, err := read(dir, slog.New(slog.DiscardHandler), false, each)
	return err
}

func readFolder(dir string, log *slog.Logger, each func(Record) error) (last uint64, err error) {
	return read(dir, log, true, each)
}

type segment struct {
	name  string
	first uint64
}

// read replays the newest snapshot and the logs after it.
func read(dir string, log *slog.Logger, mend bool, each func(Record) error) (last uint64, err error) {
	snaps, logs, err := list(dir)
	if err != nil {
		return 0, err
	}
	if len(snaps) > 0 {
		s := snaps[len(snaps)-1]
		if last, err = readSnapshot(dir, s, each); err != nil {
			return 0, err
		}
		logs = slices.DeleteFunc(logs, func(l segment) bool { return l.first <= last })
	}
	for i, l := range logs {
		if l.first != last+1 && (i > 0 || len(snaps) > 0 || l.first != 1) {
			return 0, &ErrJournalCorrupt{l.name, 0, fmt.Sprintf("it begins with record %d, the one before ends with %d: a file is missing", l.first, last)}
		}
		if last, err = readLog(dir, l, i == len(logs)-1, log, mend, each); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func list(dir string) (snaps, logs []segment, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		for prefix, to := range map[string]*[]segment{logPrefix: &logs, snapPrefix: &snaps} {
			hex, ok := strings.CutPrefix(n.Name(), prefix)
			if !ok {
				continue
			}
			hex, ok = strings.CutSuffix(hex, fileSuffix)
			if seq, err := strconv.ParseUint(hex, 16, 64); ok && err == nil && n.Name() == fileName(prefix, seq) {
				*to = append(*to, segment{filepath.Join(dir, n.Name()), seq})
			}
		}
	}
	bySeq := func(a, b segment) int {
		if a.first < b.first {
			return -1
		}
		return 1
	}
	slices.SortFunc(snaps, bySeq)
	slices.SortFunc(logs, bySeq)
	return snaps, logs, nil
}

// readSnapshot reads a file that stands for all records up to its number. It was
// complete before it got its name, so that anything wrong with it is damage.
func readSnapshot(dir string, s segment, each func(Record) error) (last uint64, err error) {
	b, err := os.ReadFile(s.name)
	if err != nil {
		return 0, err
	}
	first, err := parseHeader(b)
	if err != nil {
		return 0, &ErrJournalCorrupt{s.name, 0, err.Error()}
	}
	if first != s.first {
		return 0, &ErrJournalCorrupt{s.name, 0, fmt.Sprintf("it says that it is snapshot %d", first)}
	}
	off := headerBytes
	for {
		epoch, seq, payload, n, err := parseRecord(b[off:])
		if err != nil {
			return 0, &ErrJournalCorrupt{s.name, off, err.Error()}
		}
		if len(payload) == 0 { // the end
			if seq != s.first || off+int64(n) != int64(len(b)) {
				return 0, &ErrJournalCorrupt{s.name, off, "its end is misplaced"}
			}
			return seq, nil
		}
		if seq <= last || seq > s.first {
			return 0, &ErrJournalCorrupt{s.name, off, fmt.Sprintf("record %d after %d", seq, last)}
		}
		last = seq
		if err := give(s.name, off, epoch, seq, payload, each); err != nil {
			return 0, err
		}
		off += int64(n)
	}
}

func give(name string, off int64, epoch, seq uint64, payload []byte, each func(Record) error) error {
	var r divisipb.JournalRecord
	if err := proto.Unmarshal(payload, &r); err != nil {
		return &ErrJournalCorrupt{name, off, err.Error()}
	}
	return each(Record{epoch, seq, &r})
}

// readLog reads a file of consecutive records. Only the newest may end badly: then a
// write was cut short, if nothing after it was written by a later one.
func readLog(dir string, l segment, newest bool, log *slog.Logger, mend bool, each func(Record) error) (uint64, error) {
	b, err := os.ReadFile(l.name)
	if err != nil {
		return 0, err
	}
	first, err := parseHeader(b)
	switch {
	case err != nil && newest && int64(len(b)) <= headerBytes:
		// Cut short while it was made; nothing has been written to it yet.
		log.Warn("a journal file without a beginning is removed", "file", l.name, "bytes", len(b))
		if mend {
			if err := os.Remove(l.name); err != nil {
				return 0, err
			}
			return l.first - 1, syncDir(dir)
		}
		return l.first - 1, nil
	case err != nil:
		return 0, &ErrJournalCorrupt{l.name, 0, err.Error()}
	case first != l.first:
		return 0, &ErrJournalCorrupt{l.name, 0, fmt.Sprintf("it says that it begins with record %d", first)}
	}
	last := l.first - 1
	off := headerBytes
	for off < int64(len(b)) {
		epoch, seq, payload, n, err := parseRecord(b[off:])
		if err == nil && seq != last+1 {
			err = fmt.Errorf("record %d after %d", seq, last)
		}
		if err != nil {
			if !newest || later(b[off+1:], last+1) {
				return 0, &ErrJournalCorrupt{l.name, off, err.Error()}
			}
			log.Warn("the journal's end was cut short and is removed", "file", l.name, "offset", off, "bytes", int64(len(b))-off, "why", err)
			if mend {
				return last, cut(l.name, off)
			}
			return last, nil
		}
		if err := give(l.name, off, epoch, seq, payload, each); err != nil {
			return 0, err
		}
		last = seq
		off += int64(n)
	}
	return last, nil
}

// later looks for a whole record that was written after bad had been synced: its batch
// began after bad.
func later(b []byte, bad uint64) bool {
	for off := 0; off+recordHeader <= len(b); off++ {
		// Look at the numbers first: a checksum at every offset would take for ever.
		epoch, seq := binary.LittleEndian.Uint64(b[off+8:]), binary.LittleEndian.Uint64(b[off+16:])
		if seq <= bad || seq-bad > 1<<32 || epoch == 0 || epoch > 1<<32 {
			continue
		}
		_, _, payload, _, err := parseRecord(b[off:])
		if err != nil || len(payload) == 0 {
			continue
		}
		var r divisipb.JournalRecord
		if proto.Unmarshal(payload, &r) == nil && r.Batch > bad && r.Batch <= seq {
			return true
		}
	}
	return false
}

func cut(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}
