package coordinator

import (
	"log/slog"
	"time"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A Log takes records, and calls done in their order when they are durable or cannot
// become so: a journal.Journal, or a model of one.
type Log interface {
	AppendAsync(rec *divisipb.JournalRecord, done func(seq uint64, err error)) uint64
	// Hurry says that somebody waits for what was appended so far. Otherwise it may take
	// a moment to become durable, with more.
	Hurry()
	// Err is journal.ErrFull, wrapped, while there is no room.
	Err() error
}

// A Core is the coordinator without sockets, files, goroutines and clock: all that the
// loop owns, for who brings the rest. The simulator does. One goroutine uses it, the
// journal's callbacks included.
type Core struct{ s *state }

// CoreConfig is what a Core is given instead of a machine to run on.
type CoreConfig struct {
	Config                          // Listen, HTTP, State and Pages are not used
	Clock  func() int64             // nanoseconds, never backwards
	Random func(letters int) string // names that are not used twice
}

// NewCore replays old, the journal of epochs up to last, begins the next epoch and goes
// on with what was under way. Start is called once, with the epoch and what the journal
// is to hold from now on, and returns where further records go.
func NewCore(cfg CoreConfig, old []journal.Record, last uint64, start func(epoch uint64, kept []journal.Record) Log) (*Core, error) {
	cfg.setTimes()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{cfg: cfg.Config, log: cfg.Log, box: newMailbox()}
	s := newState(c)
	c.state = s
	s.clock = func() job.Instant { return job.Instant(cfg.Clock()) }
	s.random = cfg.Random
	re := newReplay(s)
	for _, r := range old {
		if err := re.record(r); err != nil {
			return nil, err
		}
	}
	s.epoch = last + 1
	var kept []journal.Record
	re.keep(func(r journal.Record) bool { kept = append(kept, r); return true })
	s.begin(start(s.epoch, kept))
	s.resume()
	return &Core{s}, nil
}

// A Stream is a worker's, as long as it lasts.
type Stream struct{ ses *session }

// Epoch of the coordinator.
func (c *Core) Epoch() uint64 { return c.s.epoch }

// Attach takes in a worker's first message. An error, with a gRPC code, refuses it.
func (c *Core) Attach(r *divisipb.Register) (*Stream, error) {
	ses := newSession(c.s.epoch)
	if err := c.s.register(r, ses); err != nil {
		return nil, err
	}
	return &Stream{ses}, nil
}

// Receive takes in a further message.
func (c *Core) Receive(st *Stream, m *divisipb.FromWorker) {
	if err := c.s.message(st.ses, m); err != nil {
		st.ses.end(err)
	}
}

// Detach says that the stream has ended.
func (c *Core) Detach(st *Stream) { c.s.detach(st.ses) }

// Take is what is to be sent, and why the stream is to end after it, or nil.
func (st *Stream) Take() ([]*divisipb.ToWorker, error) {
	m := st.ses.take()
	select {
	case <-st.ses.done:
		return m, st.ses.reason
	default:
		return m, nil
	}
}

// Turn does what is due, after some of the others were called or the time that the last
// Turn returned has passed.
func (c *Core) Turn() time.Duration { return c.s.turn() }

// Submit enters a job; answer is called when it is durable.
func (c *Core) Submit(r *divisipb.SubmitRequest, answer func(id string, existed bool)) error {
	id, existed, err := c.s.submit(clone(r), nil)
	if err == nil {
		c.s.out(func() { answer(id, existed) })
	}
	return err
}

// Cancel a job; answer is called when that is durable.
func (c *Core) Cancel(id, why string, answer func(divisipb.JobState)) error {
	return c.s.cancelJob(id, why, answer)
}

// Drain lets a worker end what it has and takes nothing new to it.
func (c *Core) Drain(worker string) error { return c.s.drain(worker, 0) }

// Broken is why the coordinator has to end, or nil.
func (c *Core) Broken() error { return c.s.broken }

// Job is the machine of a job, to look at; nil if it is not known or only its summary is
// kept, whose state is Status's.
func (c *Core) Job(id string) *job.Job {
	if js := c.s.jobs[id]; js != nil {
		return js.job
	}
	return nil
}

// Status of a job: its state and whether all is over, as a client is told.
func (c *Core) Status(id string) (st divisipb.JobState, over, known bool) {
	js := c.s.jobs[id]
	if js == nil {
		return 0, false, false
	}
	return js.state(), js.over(), true
}

// Books are how many tasks the scheduler believes to be on a worker and how many attempts
// the jobs believe to be there: the same.
func (c *Core) Books(worker string) (placed, active int) {
	w := c.s.workers[worker]
	if w == nil {
		return c.s.sched.Placed(worker), 0
	}
	for _, js := range c.s.order {
		if !js.over() {
			active += len(js.job.ActiveOn(w.who()))
		}
	}
	return c.s.sched.Placed(worker), active
}

// Used is how many of a worker's slots the scheduler believes to be taken.
func (c *Core) Used(worker string) int { return c.s.sched.Used(worker) }
