package dataflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// A run is one attempt of a chain of typed operators: its inputs, where it is, and
// how it ends. Inside, a record goes from function to function by calls; a failure
// leaves by a panic that the stream catches (stopRun), so that no function on the
// way pays for a check.
type run struct {
	env   *Env
	ctx   context.Context
	in    []Stream
	steps []*Node // the chain's, in no order
	at    int     // the step whose code runs
	ended []func()

	// The record being worked on, for error messages; batch belongs to whoever set it.
	src   int // input
	batch Batch
	row   int
	show  func(b Batch, row int) string

	// While the operators of the chain are opened, the last one first: what takes the
	// values of the one being opened, where that can be had in more ways than by emit,
	// and what the one before it may use in the same way. Either may be nil.
	behind, takes any

	yield func(Batch) bool
	err   error
}

// stopRun ends a run: with an error, or with none when the reader went away.
type stopRun struct{ err error }

// step gives a node its number in the chain.
func (r *run) step(n *Node) int {
	r.steps = append(r.steps, n)
	return len(r.steps) - 1
}

// atEnd is called however the run ends; the last one registered is called first.
func (r *run) atEnd(f func()) { r.ended = append(r.ended, f) }

// fail ends the run.
func (r *run) fail(err error) { panic(stopRun{err}) }

// next is the next batch of an input, or nil after the last.
func (r *run) next(input int) Batch {
	if err := r.ctx.Err(); err != nil {
		r.fail(err)
	}
	b, err := r.in[input].Next(r.ctx)
	if err == io.EOF {
		return nil
	}
	if err != nil {
		r.fail(err)
	}
	return b
}

// send hands a batch to the reader and waits until it wants another.
func (r *run) send(b Batch) {
	if !r.yield(b) {
		panic(stopRun{})
	}
	if err := r.ctx.Err(); err != nil { // one record may make batches for ever
		r.fail(err)
	}
}

// A runStream is a run as a stream. The chain runs as a coroutine: it is switched
// to once per batch that comes out, so a function that makes a million records of
// one is stopped in the middle whenever a batch is full.
type runStream struct {
	r    *run
	pull func() (Batch, bool)
	stop func()
}

// openRun opens a chain that ends in values of T, encoded by c.
func openRun[T any](env *Env, in []Stream, f feeder[T], c *codec[T]) Stream {
	r := &run{env: env, in: in}
	s := &runStream{r: r}
	s.pull, s.stop = iter.Pull(func(yield func(Batch) bool) {
		r.yield = yield
		defer r.end()
		w := c.writer(env)
		r.atEnd(w.drop)
		r.behind = w
		f.feed(r, func(v T) {
			if w.append(v) {
				r.send(w.batch())
			}
		})()
		if w.n > 0 {
			r.send(w.batch())
		}
	})
	return s
}

// Next implements Stream.
func (s *runStream) Next(ctx context.Context) (Batch, error) {
	if s.r.err != nil {
		return nil, s.r.err
	}
	s.r.ctx = ctx
	b, ok := s.pull()
	if ok {
		return b, nil
	}
	if s.r.err == nil {
		s.r.err = io.EOF
	}
	return nil, s.r.err
}

// Close implements Stream.
func (s *runStream) Close() error {
	s.stop()
	if s.r.err == nil {
		s.r.err = errClosed
	}
	var errs []error
	for _, in := range s.r.in {
		errs = append(errs, in.Close())
	}
	s.r.in = nil
	return errors.Join(errs...)
}

var errClosed = errors.New("stream is closed")

// end is deferred around the chain.
func (r *run) end() {
	if v := recover(); v != nil {
		r.err = r.failure(v)
	}
	for i := len(r.ended) - 1; i >= 0; i-- {
		r.ended[i]()
	}
	r.batch = nil
}

// failure is what a panic means.
func (r *run) failure(v any) error {
	switch v := v.(type) {
	case stopRun:
		return v.err
	case userFailure:
		return r.userError(v.err)
	case *Error: // thrown by an encoder
		e := *v
		e.Op, e.Path, e.Task, e.Err = r.op(), r.where(), r.env.Task.String(), r.env.redact(e.Err)
		return &e
	}
	if r.env.Redact {
		v = RedactText(fmt.Sprint(v))
	}
	stack, authors := panicStack()
	e := &Error{Op: r.op(), Path: r.where(), Task: r.env.Task.String(), Kind: User,
		Err: Mark(fmt.Errorf("panic: %v\n%s", v, stack), ErrPanic), Try: "the job's function failed on this record"}
	if !authors {
		e.Kind, e.Try = Fatal, "the engine failed, not the job: please report it"
	}
	return e
}

// userError is what an author's function returned, with where that was.
func (r *run) userError(err error) error {
	kind := KindOf(err)
	if kind == Unknown {
		kind = User
	}
	return &Error{Op: r.op(), Path: r.where(), Task: r.env.Task.String(), Kind: kind, Err: r.env.redact(err)}
}

// op names the step whose code ran, and where the author wrote it.
func (r *run) op() string {
	if r.at >= len(r.steps) {
		return "run"
	}
	n := r.steps[r.at]
	return n.Name + " (" + n.Site + ")"
}

// where names the record being worked on.
func (r *run) where() string {
	if r.batch == nil {
		return ""
	}
	text := "record " + Redacted
	if !r.env.Redact {
		text = "record " + r.show(r.batch, r.row)
	}
	if place := Locate(r.in[r.src], r.row); place != "" {
		return place + ": " + text
	}
	return text
}

// panicStack is the top of the stack that panicked, as far as it is the author's, or
// else the engine's.
func panicStack() (text string, authors bool) {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	var lines []string
	panicked := false
	for more := true; more && len(lines) < 6; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case strings.HasPrefix(f.Function, "runtime."):
			panicked = panicked || f.Function == "runtime.gopanic"
			continue
		case !panicked: // the deferred functions that got us here
			continue
		case strings.HasPrefix(f.Function, ownPackage) && !strings.HasSuffix(f.File, "_test.go"):
			if authors {
				return strings.Join(lines, "\n"), true
			}
		default:
			authors = authors || len(lines) == 0
		}
		lines = append(lines, "\t"+path.Base(f.Function)+" "+shortFile(f.File)+":"+strconv.Itoa(f.Line))
	}
	return strings.Join(lines, "\n"), authors
}

// sameColumns is used by operators to say what they were given instead.
func sameColumns(in []*arrow.Schema, n int) error {
	if len(in) != n {
		return &Error{Op: "plan", Kind: Fatal, Err: fmt.Errorf("an operator of %d inputs was given %d", n, len(in))}
	}
	return nil
}
