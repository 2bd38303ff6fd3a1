package dataflow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
)

// Kind decides what is done about an error. The numbers travel and are kept for
// ever.
type Kind uint8

const (
	// Unknown is treated as Transient.
	Unknown Kind = 0
	// User errors are final: the job's code, its arguments or its data are wrong.
	User Kind = 1
	// Transient errors may pass: the attempt is tried again, with a budget.
	Transient Kind = 2
	// WorkerLost does not count against the task.
	WorkerLost Kind = 3
	// Corrupt data: fetch again, then run the producer again.
	Corrupt Kind = 4
	// Poison: the task killed its process several times.
	Poison Kind = 5
	// Fatal errors end the job at once: the system broke a promise to itself.
	Fatal Kind = 6
	// Canceled is not a failure.
	Canceled Kind = 7
	// OutOfMemory: tried again with twice the reservation, then alone.
	OutOfMemory Kind = 8
	// DiskFull: tried again elsewhere.
	DiskFull Kind = 9
	// InputLost: blocks of an earlier stage are gone; their producer runs again and
	// the attempt does not count.
	InputLost Kind = 10
)

var kindNames = [...]string{"unknown", "user", "transient", "worker-lost", "corrupt", "poison", "fatal", "canceled", "out-of-memory", "disk-full", "input-lost"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Errors that callers test for with errors.Is.
var (
	ErrOutputExists   = errors.New("output exists")
	ErrNoInput        = errors.New("no input")
	ErrRecordTooLarge = errors.New("record too large")
	ErrMalformed      = errors.New("malformed record")
	ErrColumns        = errors.New("the columns do not fit")
	ErrPanic          = errors.New("a function panicked")
	ErrOutOfMemory    = errors.New("out of memory")
	ErrDiskFull       = errors.New("disk full")
	ErrDiskQuota      = errors.New("disk quota exceeded")
	ErrChecksum       = errors.New("checksum mismatch")
	ErrNonDeterminism = errors.New("a second run gave other rows")
)

// An Error says which operation failed, in which task, on what, and what kind of
// failure it is. The scheduler branches on Kind, the user reads the rest.
type Error struct {
	Op   string // "shuffle.Fetch"
	Task string // the attempt, as TaskID prints it; "" outside a task
	Path string // file, peer, record position
	Kind Kind
	Err  error
	Try  string // what the user can do about it, a sentence or ""
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Op != "" {
		b.WriteString(e.Op + ": ")
	}
	if e.Task != "" {
		b.WriteString("task " + e.Task + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString(e.Kind.String() + " error")
	}
	if e.Try != "" {
		b.WriteString(" (" + e.Try + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the outermost *Error in err's tree that has one, or what
// well-known errors of the standard library mean.
func KindOf(err error) Kind {
	var e *Error
	for rest := err; errors.As(rest, &e); rest = e.Err {
		if e.Kind != Unknown {
			return e.Kind
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, ErrOutOfMemory):
		return OutOfMemory
	case errors.Is(err, ErrDiskFull), errors.Is(err, syscall.ENOSPC):
		return DiskFull
	case errors.Is(err, ErrChecksum):
		return Corrupt
	case errors.Is(err, ErrOutputExists), errors.Is(err, ErrNoInput), errors.Is(err, ErrRecordTooLarge),
		errors.Is(err, ErrMalformed), errors.Is(err, ErrColumns), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return User
	}
	return Unknown
}
