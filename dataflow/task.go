package dataflow

import (
	"context"
	"errors"
	"log/slog"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// A Task is what a function that runs in a task may ask of its surroundings. One
// is given to the factories of MapTask and its like, once per attempt; what they
// make (state in local variables) belongs to that attempt.
type Task struct {
	env   *Env
	node  *Node
	atEnd func(func())
}

// Counter is a named sum. A job's counters are the sums over the attempts that
// won, so a record counts once however often its task was tried. Ask for it in
// the factory and keep it; do not look it up per record.
func (t *Task) Counter(name string) *Counter { return t.env.Counters.Get(name) }

// File is the local path of a file that Job.File shipped.
func (t *Task) File(name string) (string, error) {
	if t.env.File == nil {
		return "", &Error{Op: "Task.File", Path: name, Kind: User, Err: errors.New("no files were shipped"), Try: "ship it with Job.File"}
	}
	return t.env.File(name)
}

// Log goes to the attempt's own log.
func (t *Task) Log() *slog.Logger { return t.env.Log }

// Context ends with the attempt.
func (t *Task) Context() context.Context { return t.env.Context }

// Alloc is the attempt's allocator, for functions over batches: what is allocated
// with it counts for the task, and it is Go memory, so that strings may point to it.
func (t *Task) Alloc() memory.Allocator { return t.env.Alloc }

// ID says which attempt this is. Results must not depend on the attempt's number.
func (t *Task) ID() TaskID { return t.env.Task }

// Fail ends the attempt with an error of the job's own; it does not return. It is
// for factories and what they make; MapErr and FlatMapErr return theirs.
func (t *Task) Fail(err error) { panic(userFailure{err}) }

// userFailure carries an author's error out of the author's function.
type userFailure struct{ err error }

// keep reserves memory until the attempt ends.
func (t *Task) keep(n int64) error {
	if err := t.env.Memory.Reserve(n); err != nil {
		return err
	}
	t.atEnd(func() { t.env.Memory.Release(n) })
	return nil
}
