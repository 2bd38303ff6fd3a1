package dataflow

import (
	"context"
	"log/slog"
	"os"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Default size of a batch; whichever is reached first.
const (
	DefaultBatchRows  = 64 << 10
	DefaultBatchBytes = 1 << 20
)

// Env is what a task gives the operators, sources and sinks it opens. It lives as
// long as the attempt.
type Env struct {
	Context context.Context // ends with the attempt; carries Alloc for Arrow's kernels
	Task    TaskID
	Log     *slog.Logger     // goes to the attempt's own log
	Alloc   memory.Allocator // of Go memory that is not used again, see Batch; it may count
	Memory  *Memory          // to be asked before anything large is kept
	Temp    Temp             // files for spilling
	Spill   Spill            // batches kept outside memory; nil in a bare environment

	Counters *Counters
	Events   *Events // what is worth telling; nil when nobody listens

	// Side opens all the rows of an earlier stage that the stage takes as a
	// broadcast input, by the ID the plan gave that input.
	Side func(ctx context.Context, input int) (Stream, error)
	// Shared is what tasks make of such rows for one another; nil where nothing is shared.
	Shared *Shared
	// File is the local path of a file shipped with the job.
	File func(name string) (string, error)

	BatchRows  int
	BatchBytes int

	// Output is set for the stage's sink.
	Output Output
	// Check turns on assertions of what the plan promises (order, partitioning).
	Check bool
	// Redact keeps what records hold out of errors and logs.
	Redact bool
	// Share is which part of all keys the attempt has, where its input was partitioned
	// by hash; Of is 0 where it was not.
	Share Share
}

// Output says which share of a sink an attempt writes.
type Output struct {
	Commit Commit
	Part   int // number of the part, unique in the job's sink: part-00007
}

// Share is the partitions Lo up to and without Hi, of so many.
type Share struct{ Lo, Hi, Of int }

// Temp makes spill files. They belong to the attempt and are removed with it.
type Temp interface {
	// Create makes a file open for reading and writing in the folder that has most
	// room, or fails with an error that wraps ErrDiskFull and names folder, free
	// and needed bytes. The caller closes and removes it.
	Create(name string) (*os.File, error)
}

// Spill keeps batches outside memory. Package block has the implementation.
type Spill interface {
	// Create begins a run of batches of one schema.
	Create(env *Env, name string, schema *arrow.Schema) (SpillWriter, error)
}

// A SpillWriter takes the batches of one run. It is used by one goroutine and ends
// with Finish or Abort.
type SpillWriter interface {
	Write(b Batch) error // the batch stays the caller's
	Finish() (SpillRun, error)
	Abort()
}

// A SpillRun is a finished run. It may be opened several times, also at once.
type SpillRun interface {
	Open() (Stream, error)
	Rows() int64
	Bytes() int64 // on disk
	Remove() error
}

// Events is told what happens inside a task. A nil field means nobody listens.
// Calls are made on the goroutine that does the work and must not block.
type Events struct {
	Spilled func(SpillInfo)
}

// SpillInfo describes one spill.
type SpillInfo struct {
	Operator string
	Rows     int64
	Bytes    int64
}

// Spilled tells whoever listens.
func (e *Env) Spilled(i SpillInfo) {
	if e.Events != nil && e.Events.Spilled != nil {
		e.Events.Spilled(i)
	}
}

// NewEnv is an environment for tests and tools: no task, everything in memory, a
// limit on nothing.
func NewEnv(ctx context.Context) *Env {
	return &Env{
		Context: ctx, Log: slog.New(slog.DiscardHandler), Alloc: memory.DefaultAllocator,
		Memory: NewMemory("test", 0), Temp: DirTemp(os.TempDir()), Counters: NewCounters(),
		BatchRows: DefaultBatchRows, BatchBytes: DefaultBatchBytes, Check: true,
	}
}

// DirTemp makes spill files in one folder.
type DirTemp string

// Create implements Temp.
func (d DirTemp) Create(name string) (*os.File, error) {
	return os.CreateTemp(string(d), name+"-*")
}
