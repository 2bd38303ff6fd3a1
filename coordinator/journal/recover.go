package journal

import (
	"encoding/binary"
	"fmt"
	"log/slog"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// Read gives every record of a folder to each, in order, and changes nothing, also while
// a coordinator writes it. A write that was cut short ends it quietly.
func Read(dir string, each func(Record) error) error {
	d, err := openFolder(dir)
	if err != nil {
		return err
	}
	defer d.close()
	r := reader{d: d, cut: func(Cut) {}, each: each}
	_, err = r.all()
	return err
}

// A Cut is the end of a log that is no whole record, with nothing behind it that a later
// write made: the write was cut short and never acknowledged.
type Cut struct {
	File          string
	Offset, Bytes int64
	Why           string
}

// A reader replays a folder.
type reader struct {
	d    *folder
	mend bool      // what was cut short is removed
	cut  func(Cut) // is told of it
	each func(Record) error
}

// warn tells of what is removed.
func warn(log *slog.Logger) func(Cut) {
	return func(c Cut) {
		log.Warn("the journal's end was cut short and is removed", "file", c.File, "offset", c.Offset, "bytes", c.Bytes, "why", c.Why)
	}
}

// all replays the newest snapshot and the logs after it.
func (r *reader) all() (last uint64, err error) {
	snap, logs, err := r.d.openAll()
	if err != nil {
		return 0, err
	}
	defer closeAll(snap, logs)
	return r.replay(snap, logs, len(logs)-1)
}

// sealed replays up to a number that is the last of its log; nothing of it is being
// written any more.
func (r *reader) sealed(upTo uint64) error {
	snap, logs, err := r.d.openAll()
	if err != nil {
		return err
	}
	defer closeAll(snap, logs)
	n := 0
	for n < len(logs) && logs[n].seq <= upTo {
		n++
	}
	last, err := r.replay(snap, logs[:n], -1)
	if err == nil && last != upTo {
		err = &ErrJournalCorrupt{r.d.path, 0, fmt.Sprintf("its files end with record %d instead of %d", last, upTo)}
	}
	return err
}

// replay reads files that follow each other; the log with the index newest, if any, may
// end badly.
func (r *reader) replay(snap *opened, logs []opened, newest int) (last uint64, err error) {
	if snap != nil {
		if last, err = r.snapshot(*snap); err != nil {
			return 0, err
		}
	}
	for i, l := range logs {
		if l.seq != last+1 {
			return 0, r.corrupt(l, 0, fmt.Sprintf("it begins with record %d, the one before ends with %d: a file is missing", l.seq, last))
		}
		if last, err = r.logged(l, i == newest); err != nil {
			return 0, err
		}
	}
	return last, nil
}

func (r *reader) corrupt(s opened, off int64, why string) error {
	return &ErrJournalCorrupt{r.d.full(s.name), off, why}
}

// snapshot reads a file that stands for all records up to its number. It was complete
// before it got its name, so that anything wrong with it is damage.
func (r *reader) snapshot(s opened) (last uint64, err error) {
	b, err := s.read()
	if err != nil {
		return 0, err
	}
	first, err := parseHeader(b)
	if err != nil {
		return 0, r.corrupt(s, 0, err.Error())
	}
	if first != s.seq {
		return 0, r.corrupt(s, 0, fmt.Sprintf("it says that it is snapshot %d", first))
	}
	off := headerBytes
	for {
		epoch, seq, payload, n, err := parseRecord(b[off:])
		if err != nil {
			return 0, r.corrupt(s, off, err.Error())
		}
		if len(payload) == 0 { // the end
			if seq != s.seq || off+int64(n) != int64(len(b)) {
				return 0, r.corrupt(s, off, "its end is misplaced")
			}
			return seq, nil
		}
		if seq <= last || seq > s.seq {
			return 0, r.corrupt(s, off, fmt.Sprintf("record %d after %d", seq, last))
		}
		last = seq
		if err := r.give(s, off, epoch, seq, payload); err != nil {
			return 0, err
		}
		off += int64(n)
	}
}

func (r *reader) give(s opened, off int64, epoch, seq uint64, payload []byte) error {
	var rec divisipb.JournalRecord
	if err := proto.Unmarshal(payload, &rec); err != nil {
		return r.corrupt(s, off, err.Error())
	}
	return r.each(Record{epoch, seq, &rec})
}

// logged reads a file of consecutive records. Only the newest may end badly: then a
// write was cut short, if nothing after it was written by a later one.
func (r *reader) logged(l opened, newest bool) (uint64, error) {
	b, err := l.read()
	if err != nil {
		return 0, err
	}
	first, err := parseHeader(b)
	switch {
	case err != nil && newest && int64(len(b)) <= headerBytes:
		// Cut short while it was made; nothing has been written to it yet.
		r.cut(Cut{r.d.full(l.name), 0, int64(len(b)), "the file has no whole header"})
		if r.mend {
			if err := r.d.root.Remove(l.name); err != nil {
				return 0, err
			}
			return l.seq - 1, r.d.sync()
		}
		return l.seq - 1, nil
	case err != nil:
		return 0, r.corrupt(l, 0, err.Error())
	case first != l.seq:
		return 0, r.corrupt(l, 0, fmt.Sprintf("it says that it begins with record %d", first))
	}
	last := l.seq - 1
	off := headerBytes
	for off < int64(len(b)) {
		epoch, seq, payload, n, err := parseRecord(b[off:])
		if err == nil && seq != last+1 {
			err = fmt.Errorf("record %d after %d", seq, last)
		}
		if err != nil {
			if !newest || later(b[off+1:], last+1) {
				return 0, r.corrupt(l, off, err.Error())
			}
			r.cut(Cut{r.d.full(l.name), off, int64(len(b)) - off, err.Error()})
			if r.mend {
				return last, r.d.cut(l.name, off)
			}
			return last, nil
		}
		if err := r.give(l, off, epoch, seq, payload); err != nil {
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
