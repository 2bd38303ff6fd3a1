package dataflow

import (
	"context"
	"fmt"
	"log/slog"
)

// A Task is what a function that runs in a task may ask of its surroundings. One
// is given to the factories of MapTask and its like, once per attempt; what they
// make (state in local variables) belongs to that attempt.
type Task struct {
	r    *run
	node *Node
}

// Counter is a named sum. A job's counters are the sums over the attempts that
// won, so a record counts once however often its task was tried. Ask for it in
// the factory and keep it; do not look it up per record.
func (t *Task) Counter(name string) *Counter { return t.r.env.Counters.Get(name) }

// File is the local path of a file that Job.File shipped.
func (t *Task) File(name string) (string, error) {
	if t.r.env.File == nil {
		return "", &Error{Op: "Task.File", Path: name, Kind: User, Err: fmt.Errorf("no files were shipped"), Try: "ship it with Job.File"}
	}
	return t.r.env.File(name)
}

// Log goes to the attempt's own log.
func (t *Task) Log() *slog.Logger { return t.r.env.Log }

// Context ends with the attempt.
func (t *Task) Context() context.Context { return t.r.env.Context }

// ID says which attempt this is. Results must not depend on the attempt's number.
func (t *Task) ID() TaskID { return t.r.env.Task }

// Fail ends the attempt with an error of the job's own, as if the function had
// panicked with it. It is for factories; MapErr and FlatMapErr return theirs.
func (t *Task) Fail(err error) { t.r.userError(err) }
