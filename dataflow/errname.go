package dataflow

import (
	"errors"
	"io/fs"
	"slices"
	"sync"
)

// errorNames are the errors that keep what they are on the way to the job's client.
var errorNames = struct {
	sync.RWMutex
	m map[string]error
}{m: map[string]error{}}

func init() {
	for name, err := range map[string]error{
		"output-exists": ErrOutputExists, "no-input": ErrNoInput, "record-too-large": ErrRecordTooLarge, "malformed": ErrMalformed,
		"columns": ErrColumns, "panic": ErrPanic, "unsupported": errors.ErrUnsupported,
		"out-of-memory": ErrOutOfMemory, "disk-full": ErrDiskFull, "disk-quota": ErrDiskQuota, "checksum": ErrChecksum,
		"non-determinism": ErrNonDeterminism, "not-found": fs.ErrNotExist, "exists": fs.ErrExist, "not-permitted": fs.ErrPermission, "invalid": fs.ErrInvalid,
	} {
		RegisterError(name, err)
	}
}

// RegisterError gives an error a name. A task's failure reaches the job's client as text,
// through other processes and the journal; the names of the errors that it is go with
// it, so that errors.Is finds them in the error of divisi.Run. A name stays what it is
// for ever. Called from init; a second error of a name panics.
func RegisterError(name string, err error) {
	errorNames.Lock()
	defer errorNames.Unlock()
	if _, twice := errorNames.m[name]; twice {
		panic("dataflow: two errors are called " + name)
	}
	errorNames.m[name] = err
}

// ErrorNames are the names of the registered errors that err is, in order; none of nil.
func ErrorNames(err error) []string {
	errorNames.RLock()
	defer errorNames.RUnlock()
	var names []string
	for name, known := range errorNames.m {
		if errors.Is(err, known) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// NamedError is an error with a text from elsewhere that is each of the registered
// errors of these names. Names that this program does not know are left out.
func NamedError(text string, names []string) error {
	errorNames.RLock()
	defer errorNames.RUnlock()
	e := &namedError{text: text}
	for _, name := range names {
		if known, ok := errorNames.m[name]; ok {
			e.is = append(e.is, known)
		}
	}
	return e
}

type namedError struct {
	text string
	is   []error
}

func (e *namedError) Error() string   { return e.text }
func (e *namedError) Unwrap() []error { return e.is }

// Mark makes err one of another error too, for errors.Is; its text stays as it is, and
// nil stays nil.
func Mark(err, is error) error {
	if err == nil {
		return nil
	}
	return marked{err, is}
}

type marked struct {
	error
	is error
}

func (m marked) Unwrap() []error { return []error{m.error, m.is} }
