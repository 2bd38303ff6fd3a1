package job

import (
	"fmt"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
)

// Key names a task of the job. Control tasks have stages below zero, and the source or
// sink they are about as index.
type Key struct{ Stage, Index int }

// Stages of control tasks.
const (
	StageSplits  = -1
	StagePrepare = -2
	StagePublish = -3
	StageClean   = -4
)

var controlNames = [...]string{"", "splits", "prepare", "publish", "clean"}

// Control says that the task belongs to no stage of the plan and takes no slot.
func (k Key) Control() bool { return k.Stage < 0 }

// Valid says that the stage is one of the control stages or might be one of a plan.
func (k Key) Valid() bool { return k.Stage >= StageClean && k.Index >= 0 }

// String is "stage/index", or "splits/0".
func (k Key) String() string {
	if k.Control() && -k.Stage < len(controlNames) {
		return fmt.Sprintf("%s/%d", controlNames[-k.Stage], k.Index)
	}
	return fmt.Sprintf("%d/%d", k.Stage, k.Index)
}

// Attempt is one try of a task. Numbers are never used twice within a job.
type Attempt struct {
	Key
	Number int32
}

// String is "stage/index.number".
func (a Attempt) String() string { return fmt.Sprintf("%s.%d", a.Key, a.Number) }

// Worker is one life of a worker process.
type Worker struct{ ID, Incarnation string }

// Stats are what an attempt measured of itself; of a stage or job, sums over winners
// and for the peaks maxima.
type Stats struct {
	RowsIn, BytesIn, RowsOut, BytesOut    int64
	BytesShuffled, BytesSpilled           int64
	BytesFetchedLocal, BytesFetchedRemote int64
	PeakMemory, HostRSS                   int64
	WallNanos, CPUNanos, FetchWaitNanos   int64
}

// add adds sign times b; peaks only ever grow.
func (s *Stats) add(b Stats, sign int64) {
	s.RowsIn += sign * b.RowsIn
	s.BytesIn += sign * b.BytesIn
	s.RowsOut += sign * b.RowsOut
	s.BytesOut += sign * b.BytesOut
	s.BytesShuffled += sign * b.BytesShuffled
	s.BytesSpilled += sign * b.BytesSpilled
	s.BytesFetchedLocal += sign * b.BytesFetchedLocal
	s.BytesFetchedRemote += sign * b.BytesFetchedRemote
	s.WallNanos += sign * b.WallNanos
	s.CPUNanos += sign * b.CPUNanos
	s.FetchWaitNanos += sign * b.FetchWaitNanos
	s.PeakMemory = max(s.PeakMemory, b.PeakMemory)
	s.HostRSS = max(s.HostRSS, b.HostRSS)
}

// Result is what an attempt that ended well has to say.
type Result struct {
	Receipt  []byte  // of a task that writes to a sink, as it came
	Bytes    []int64 // of a task that writes to an exchange: by partition
	Rows     []int64
	RowHash  uint64
	Counters map[string]int64
	Stats    Stats
	Ops      []plan.OpStats   // of the stage's operators, where it says
	Cut      *Cut             // what it has given away of its split
	Splits   []dataflow.Split // of a splits task
	Prepared []byte           // of a prepare task
}

// An Event is something that happened.
type Event interface{ event() }

type (
	// Submitted starts a job.
	Submitted struct{ Slots int }
	// Slots tells the size of the cluster, to plan later stages by.
	Slots struct{ Slots int }
	// Launched: the shell gave a wanted task to a worker, with the number that
	// NextAttempt returned.
	Launched struct {
		Attempt Attempt
		Worker  Worker
		Copy    int // as it was wanted
		// Double wants a copy beside it at once, however it gets on.
		Double bool
	}
	// Adopted: a worker that came back after a restart says it runs this attempt.
	Adopted struct {
		Attempt Attempt
		Worker  Worker
	}
	// Done: an attempt ended well.
	Done struct {
		Attempt Attempt
		Worker  Worker
		Address string // where its output is served
		Result  *Result
	}
	// Failure: an attempt did not.
	Failure struct {
		Attempt Attempt
		Worker  Worker
		Kind    dataflow.Kind
		Message string
		Names   []string // of the errors that it is
		Stack   string
		LogTail string
		Killed  bool      // its host's process died
		Lost    []Attempt // producers whose output could not be had
		LostAt  []string  // the addresses at which Lost was asked for, as far as known
		Memory  int64     // what the attempt could use at most, bytes; 0: not known
		Stats   Stats
	}
	// OutputsLost: outputs that a worker no longer has, or that could not be read there.
	OutputsLost struct {
		Attempts   []Attempt
		Why        string
		Unreadable bool
	}
	// WorkerLost: all that ran or lay there is gone. Other incarnations of the same id
	// are other workers.
	WorkerLost struct {
		Worker Worker
		Why    string
	}
	// Rehomed: another worker has a copy of an output, from now on the one that counts.
	Rehomed struct {
		Attempt Attempt
		Worker  Worker
		Address string
	}
	// Observed tells how the running attempts get on; now and then.
	Observed struct {
		Progress []Progress
		Idle     int           // slots of the cluster that nothing wants
		Hung     time.Duration // without progress an attempt is given up after it, 0: never
	}
	// Answered: what an attempt that was asked to has given away, nil: nothing.
	Answered struct {
		Attempt Attempt
		Worker  Worker
		Cut     *Cut
	}
	// Cancel by a user.
	Cancel struct{ Why string }
	// Gone: no worker has hosts of the job any more, or, not HostsOnly, anything.
	Gone struct{ HostsOnly bool }
	// Abandon gives up a clean that cannot be done, for want of workers for example.
	Abandon struct{ Why string }
)

func (Submitted) event()   {}
func (Slots) event()       {}
func (Launched) event()    {}
func (Adopted) event()     {}
func (Done) event()        {}
func (Failure) event()     {}
func (OutputsLost) event() {}
func (WorkerLost) event()  {}
func (Rehomed) event()     {}
func (Observed) event()    {}
func (Answered) event()    {}
func (Cancel) event()      {}
func (Gone) event()        {}
func (Abandon) event()     {}
