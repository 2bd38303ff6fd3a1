package dataflow

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
)

// A Batch is some rows of one schema, in columns. Whoever receives a batch owns
// one reference to it and releases it; batches are never changed once made.
// A batch holds at most Env.BatchRows rows and aims at Env.BatchBytes.
//
// Its memory is Go's (of Env.Alloc), is never pooled and never written again, also
// after the last release: strings that typed operators give to a job's functions
// point into it, and the collector keeps it for as long as one does.
type Batch = arrow.RecordBatch

// A Stream is a sequence of batches of one schema, read by one goroutine.
type Stream interface {
	// Next returns the next batch, never an empty one, or io.EOF after the last,
	// again and again. Any other error is final too. The caller owns the batch.
	Next(ctx context.Context) (Batch, error)
	// Close frees all the stream holds, inputs included. Closing early or twice
	// is fine.
	Close() error
}

// An Operator makes one stream of none or several. It is immutable and may be
// opened many times; everything that changes lives in the stream it opens.
type Operator interface {
	// Schema is called while planning: the schema of what comes out, given those
	// of what goes in, or why these inputs do not fit.
	Schema(in ...*arrow.Schema) (*arrow.Schema, error)
	// Open is called in a task. The stream it returns owns the inputs, also when
	// Open fails.
	Open(env *Env, in ...Stream) (Stream, error)
}

// A Source reads what lies outside. It is made from its registered kind and
// arguments in every process that needs it and keeps no state between calls.
type Source interface {
	// Schema is what every stream of Open yields. It may look at the data.
	Schema(ctx context.Context) (*arrow.Schema, error)
	// Splits cuts the data into pieces that tasks read independently: every record
	// lies in exactly one, and the same data gives the same splits in the same
	// order. It runs once a job, in a control task, and calls Advance as it goes.
	Splits(ctx context.Context, hint SplitHint) ([]Split, error)
	// Open reads one split. The stream may also implement Progresser, Splitter
	// and Locator.
	Open(env *Env, s Split) (Stream, error)
}

// SplitHint says how finely a source should be cut. It is advice.
type SplitHint struct {
	Slots    int   // task slots in the cluster
	MaxBytes int64 // a split should not be larger, 0: the source's choice
}

// A Split is one task's share of a source.
type Split struct {
	ID      string   `json:"id"`    // stable across retries and restarts
	Bytes   int64    `json:"bytes"` // estimate, only to balance
	Hosts   []string `json:"hosts,omitempty"`
	Payload []byte   `json:"payload,omitempty"` // for the source that made it; opaque to the scheduler
}

// A Sink takes a stage's rows to the outside, in two steps: attempts write and
// seal, unseen; then the receipts of the winners, and nothing else, are published.
//
// Prepare, Publish and Clean run in control tasks, one at a time, and may run
// again after a crash: each is idempotent. Each calls Advance as it goes.
type Sink interface {
	// Prepare checks that the output may be written under c.Mode and returns what
	// attempts need to know, to be found in Commit.Prepared from then on. It fails
	// with an error of kind User that wraps ErrOutputExists in mode fail.
	Prepare(ctx context.Context, c Commit) ([]byte, error)
	// Open begins one attempt's share. env.Output says which.
	Open(env *Env) (Writer, error)
	// Publish makes what the winners sealed visible, once per job.
	Publish(ctx context.Context, c Commit, won []Receipt) error
	// Clean removes everything that any attempt of c.Job left and that was not
	// published. It runs after the end of the job, whatever its end, when no
	// attempt is alive.
	Clean(ctx context.Context, c Commit) error
}

// A Sizer is a Sink that wants files of a size: a task's rows should be enough for one.
type Sizer interface {
	TargetBytes() int64 // 0: any size
}

// Commit names the job an output belongs to and what Prepare said.
type Commit struct {
	Job      string
	Mode     Mode
	Prepared []byte
}

// Mode says what to do when an output exists.
type Mode string

const (
	Fail    Mode = "fail"
	Append  Mode = "append"
	Replace Mode = "replace"
)

// A Writer is one attempt's share of a sink, used by one goroutine. It ends with
// exactly one of Seal and Abort; a second call of either is harmless.
type Writer interface {
	// Write takes rows; the batch stays the caller's.
	Write(ctx context.Context, b Batch) error
	// Seal makes what was written durable and still invisible.
	Seal(ctx context.Context) (Receipt, error)
	// Abort throws away what was written. Call it with a context that outlives a
	// cancellation.
	Abort(ctx context.Context) error
}

// A Receipt is what an attempt reports of what it sealed, and all that Publish
// needs. The coordinator journals it; Payload is the sink's own.
type Receipt struct {
	Task  TaskID `json:"task"`
	Rows  int64  `json:"rows"`
	Bytes int64  `json:"bytes"`
	// Hash is the order-independent hash of the rows, see RowHash, or 0 where the sink does
	// not say. It is for people who compare: what is sealed is not made again, so that the
	// engine, which compares what tasks leave for others, has nothing to compare it with.
	Hash    uint64 `json:"hash,omitempty"`
	Payload []byte `json:"payload,omitempty"`
}

// TaskID names one attempt of one task of one job.
type TaskID struct {
	Job     string `json:"job"`
	Stage   int    `json:"stage"`
	Index   int    `json:"index"`
	Attempt int    `json:"attempt"`
}

// String is "job/stage/index.attempt".
func (t TaskID) String() string {
	return fmt.Sprintf("%s/%d/%d.%d", t.Job, t.Stage, t.Index, t.Attempt)
}

// Optional abilities of streams.
type (
	// A Progresser says how far it has come. Called from any goroutine.
	Progresser interface {
		Progress() Progress
	}
	// A Splitter gives away what it has not begun. Called from any goroutine.
	Splitter interface {
		// TrySplit gives away all but about the given share (0..1) of what is not
		// begun: kept is what the stream reads from its beginning to its new end,
		// rest what it does not read any more. Each record of the split is in
		// exactly one of them, and splits of one ID read the same. False where
		// nothing is left to give; the stream goes on as it was.
		TrySplit(keep float64) (kept, rest Split, ok bool)
	}
	// A Locator says where a row of the batch that Next returned last came from,
	// for error messages: "access.log:1234567" or "topic[3]@42".
	Locator interface {
		Locate(row int) string
	}
)

// Progress of a reader. Fraction is of its split, 0..1.
type Progress struct {
	Fraction float64
	Bytes    int64
	Rows     int64
}

// Locate asks s where a row came from; "" where it does not know.
func Locate(s Stream, row int) string {
	if l, ok := s.(Locator); ok {
		return l.Locate(row)
	}
	return ""
}
