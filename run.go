package divisi

import (
	"context"
	"errors"
	"io"
	"runtime"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
)

// A Summary is what a job did.
type Summary = console.Summary

// An Option changes how Run runs a job.
type Option func(*runOptions)

type runOptions struct {
	name     string
	slots    int
	memory   int64
	redact   bool
	tmp      []string
	plan     plan.Options
	progress io.Writer
	analyze  io.Writer

	taskBytes int64 // see coordinator.Config
}

// Name is what the job is called; without it, what its build function is.
func Name(name string) Option { return func(o *runOptions) { o.name = name } }

// Parallelism is how many tasks run at a time; without it, the number of cores.
func Parallelism(n int) Option { return func(o *runOptions) { o.slots = max(n, 1) } }

// Partitions is the number of partitions of every shuffle that the job does not
// fix itself; without it, or 0, it is chosen.
func Partitions(n int) Option { return func(o *runOptions) { o.plan.Partitions = n } }

// Memory is the budget in bytes; without it, a share of what the machine has.
func Memory(bytes int64) Option { return func(o *runOptions) { o.memory = bytes } }

// Mode says what to do when an output exists; without it the job fails.
func Mode(m dataflow.Mode) Option { return func(o *runOptions) { o.plan.Mode = m } }

// TempDir adds a folder for spill and shuffle files; without it, the system's.
func TempDir(dir string) Option { return func(o *runOptions) { o.tmp = append(o.tmp, dir) } }

// Check asserts in every task what the plan promises of the order of rows. It
// costs time; it is for tests.
func Check() Option { return func(o *runOptions) { o.plan.Check = true } }

// RedactRecords keeps what records hold out of errors and logs: an error about a record says
// where it is and how long, and why it is wrong. What the job's own code logs is its own.
func RedactRecords() Option { return func(o *runOptions) { o.redact = true } }

// Progress writes a line to w whenever the job's state changes; without it
// nothing is written.
func Progress(w io.Writer) Option { return func(o *runOptions) { o.progress = w } }

// Analyze writes the job's plan to w when the job has ended, with what each operator was
// expected to do and did: rows, bytes, time, what it spilled and the memory it held.
func Analyze(w io.Writer) Option { return func(o *runOptions) { o.analyze = w } }

// Run runs a job in this process, over the same code path as on a cluster, and
// returns when all of it has ended and its temporary files are gone. Cancelling
// ctx cancels the job. The error says why the job did not succeed; the summary is
// that of the job if it was begun.
func Run(ctx context.Context, build func(*dataflow.Job), args []string, opts ...Option) (Summary, error) {
	o := runOptions{name: jobName(build), slots: runtime.GOMAXPROCS(0), plan: plan.Options{Mode: dataflow.Fail}}
	for _, opt := range opts {
		opt(&o)
	}
	o.plan.Slots = o.slots
	mode := console.ProgressNone
	if o.progress != nil {
		mode = console.ProgressPlain
	}
	progress, err := console.NewProgress(o.progress, mode)
	if err != nil {
		return Summary{}, err
	}
	b, err := buildJob(o.name, build, args, o.plan, o.memory, o.redact)
	if err != nil {
		return Summary{}, err
	}
	if o.analyze != nil {
		if err := b.estimate(ctx, func(err error) { progress.Note("%v", err) }); err != nil {
			return Summary{}, err
		}
	}
	l, err := startLocal(ctx, build, localConfig{slots: o.slots, memory: o.memory, tmp: o.tmp, named: "divisi.TempDir", taskBytes: o.taskBytes})
	if err != nil {
		return Summary{}, err
	}
	defer l.close()
	st, err := submit(ctx, l.client, b.sub, progress)
	if st == nil || !client.Ended(st.State) {
		return Summary{}, err
	}
	var analyzeErr error
	if o.analyze != nil {
		analyzeErr = console.Analyze(b.program.Plan, st).Print(o.analyze, false)
	}
	return console.Summarize(st), errors.Join(console.Outcome(st), analyzeErr)
}
