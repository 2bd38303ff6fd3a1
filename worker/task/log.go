package task

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"

	"github.com/divisi-data/divisi/worker/exchange"
)

// keptLogBytes bounds what is kept of a log whose file cannot be made.
const keptLogBytes = 64 << 10

// An attemptLog is where an attempt's lines go, one with each Write. Its first, that it
// begins, and its last, that it has ended, are kept in memory. As soon as there is
// another, or the attempt has taken a while, it has a file of its own; if that never is,
// its lines are put with those of the other attempts that had nothing to say.
type attemptLog struct {
	dir, attempt string

	mu     sync.Mutex
	file   *os.File // nil: none yet
	kept   []byte   // while there is none
	ending bool
}

func (l *attemptLog) name() string { return filepath.Join(l.dir, l.attempt+".log") }

// Write adds a line.
func (l *attemptLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && len(l.kept) > 0 && !l.ending {
		l.open()
	}
	if l.file != nil {
		return l.file.Write(line)
	}
	if len(l.kept)+len(line) <= keptLogBytes {
		l.kept = append(l.kept, line...)
	}
	return len(line), nil
}

// show makes the log a file that can be read while the attempt goes on.
func (l *attemptLog) show() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil && len(l.kept) > 0 && !l.ending {
		l.open()
	}
}

// open makes the log's file; where that fails, its lines are still kept, for the report
// of a failure. The caller holds mu.
func (l *attemptLog) open() {
	f, err := os.OpenFile(l.name(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return
	}
	f.Write(l.kept)
	l.file, l.kept = f, nil
}

// end says that what comes now are the last lines of an attempt that has ended well.
func (l *attemptLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true
}

// close puts the log where it stays.
func (l *attemptLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ending = true // a goroutine that the attempt left behind writes to memory
	if l.file != nil {
		err := l.file.Close()
		l.file = nil
		return err
	}
	if len(l.kept) == 0 {
		return nil
	}
	return exchange.KeepQuiet(l.dir, l.attempt, l.kept)
}

// tail is the end of the log.
func (l *attemptLog) tail(n int) string {
	l.mu.Lock()
	kept := bytes.Clone(l.kept)
	l.mu.Unlock()
	if len(kept) > 0 {
		from := max(len(kept)-n, 0)
		return wholeLines(kept[from:], from > 0)
	}
	return tail(l.name(), int64(n))
}
