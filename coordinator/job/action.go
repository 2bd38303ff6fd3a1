package job

import (
	"fmt"
	"strings"
	"time"
)

// An Action is something the shell is to do. Its String is for tests and people.
type Action interface{ String() string }

type (
	// Journal a record. What comes after it, in this and all later steps, waits until
	// it is durable.
	Journal struct{ Record Record }
	// Want a task to be run somewhere.
	Want struct {
		Key     Key
		Hosts   []string // near which its input lies
		Workers []string // that hold most of its input, best first
		Memory  int64    // a larger reservation than usual, bytes; 0: the usual
		Alone   bool     // nothing else is to run on the worker
		Exclude []string // workers where it failed: others first
		Delay   time.Duration
		// Copy is over 0 for a copy beside a slow attempt, for which only an idle slot is
		// to be used, on none of the workers of Exclude. It tells wants of a task apart.
		Copy int
	}
	// Unwant a task that has not been launched.
	Unwant struct {
		Key  Key
		Copy int
	}
	// CancelAttempt that runs or waits on a worker.
	CancelAttempt struct {
		Attempt Attempt
		Worker  Worker
		Why     string
	}
	// AskCut asks an attempt to give away a part of its split, all but about a share of
	// what it has not begun. The answer is Answered.
	AskCut struct {
		Attempt Attempt
		Worker  Worker
		Keep    float64 // 0..1
	}
	// Ack tells a worker that a result or failure needs not be sent again. Lost: it is
	// not the winner, its output is of no use.
	Ack struct {
		Attempt Attempt
		Worker  Worker
		Lost    bool
	}
	// Moved: where the outputs of an exchange lie has changed under running readers.
	Moved struct{ Exchange int }
	// Prepared: what a sink said is to be told to workers that know the job.
	Prepared struct{ Sink int }
	// EndJob tells all workers to kill the job's hosts and, not HostsOnly, to drop all
	// they have of it. The answer is Gone.
	EndJob struct{ HostsOnly bool }
)

func (a Journal) String() string { return "journal " + a.Record.String() }

func (a Want) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "want %s", a.Key)
	if len(a.Hosts) > 0 {
		fmt.Fprintf(&b, " hosts=%s", strings.Join(a.Hosts, ","))
	}
	if len(a.Workers) > 0 {
		fmt.Fprintf(&b, " workers=%s", strings.Join(a.Workers, ","))
	}
	if a.Memory > 0 {
		fmt.Fprintf(&b, " memory=%d", a.Memory)
	}
	if a.Alone {
		b.WriteString(" alone")
	}
	if len(a.Exclude) > 0 {
		fmt.Fprintf(&b, " not-on=%s", strings.Join(a.Exclude, ","))
	}
	if a.Copy > 0 {
		fmt.Fprintf(&b, " copy=%d", a.Copy)
	}
	if a.Delay > 0 {
		fmt.Fprintf(&b, " in=%s", a.Delay)
	}
	return b.String()
}

func (a Unwant) String() string {
	if a.Copy > 0 {
		return fmt.Sprintf("unwant %s copy=%d", a.Key, a.Copy)
	}
	return fmt.Sprintf("unwant %s", a.Key)
}

func (a CancelAttempt) String() string {
	return fmt.Sprintf("cancel %s on %s: %s", a.Attempt, a.Worker.ID, a.Why)
}

func (a AskCut) String() string {
	return fmt.Sprintf("ask %s on %s to keep %g", a.Attempt, a.Worker.ID, a.Keep)
}

func (a Ack) String() string {
	if a.Lost {
		return fmt.Sprintf("ack %s on %s: lost", a.Attempt, a.Worker.ID)
	}
	return fmt.Sprintf("ack %s on %s", a.Attempt, a.Worker.ID)
}

func (a Moved) String() string    { return fmt.Sprintf("moved exchange %d", a.Exchange) }
func (a Prepared) String() string { return fmt.Sprintf("tell prepared %d", a.Sink) }

func (a EndJob) String() string {
	if a.HostsOnly {
		return "end hosts"
	}
	return "end job"
}
