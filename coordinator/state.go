package coordinator

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/coordinator/sched"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/internal/version"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// Bounds of what is kept of the past.
const (
	endedJobsMax    = 1_000   // with status and events
	machinesMax     = 50      // ended jobs of which every detail is kept
	eventsMax       = 5_000   // of a job, in memory
	archivedEvents  = 200     // of an ended job, after a restart
	departedMax     = 1_000   // lost incarnations that are refused
	failuresMax     = 200     // failures of a job whose log tails are kept
	blocksPerChunk  = 1_000   // of a Locations message
	receiptBytesMax = 2 << 20 // of a Launch message
	tickEvery       = 100 * time.Millisecond
	watchEvery      = 100 * time.Millisecond
	exclusionScore  = 5.0 // failures on a worker, each halved every exclusionDecay
	exclusionDecay  = time.Minute
	clusterIDLength = 10
	aheadMax        = 1_000 // results that the journal does not have when more is launched
)

// state is all that the loop owns.
type state struct {
	c       *Coordinator
	log     *slog.Logger
	epoch   uint64
	cluster string
	clock   func() job.Instant
	random  func(n int) string // a name of so many letters
	journal Log

	jobs    map[string]*jobState
	order   []*jobState       // as submitted
	keys    map[string]string // idempotency key -> job
	workers map[string]*workerState
	members []*workerState // of workers, by id
	sched   *sched.Scheduler

	// Incarnations that were given up: they may not come back.
	departed      map[job.Worker]bool
	departedOrder []departure
	// Workers that were there when the coordinator before this one ended and have not
	// come back yet; until they have, or it is hopeful, nothing new is launched.
	expected map[job.Worker]*divisipb.WorkerJoined
	hopeful  job.Instant // until when they are waited for
	holding  bool
	tookOver bool        // the journal, from a coordinator that may be stopped
	ticked   job.Instant // the last tick

	delayed []delayed   // wants that are not due yet
	looked  job.Instant // when jobs were last told how their attempts get on

	// Actions that wait for the journal, see out.
	outbox  []outItem
	last    uint64        // sequence of the last record that was queued
	binding uint64        // of the last that was no task's win
	durable atomic.Uint64 // of the last that is durable; set by the journal
	jerr    atomic.Pointer[error]
	broken  error // why the coordinator has to end

	counts counts
}

type departure struct {
	worker job.Worker
	seq    uint64
	rec    *divisipb.JournalRecord
}

type outItem struct {
	after uint64
	do    func()
}

type delayed struct {
	at   job.Instant
	task sched.Task
}

// counts are the metrics that only ever grow.
type counts struct {
	submitted, succeeded, failed, canceled int64
	attempts, won, failures, lostWorkers   int64
	corrupt                                int64
	levels                                 [sched.Far + 1]int64
	copies, splits                         int64
	records                                int64
}

func newState(c *Coordinator) *state {
	// Wall clock at the start, monotonic from then on: jumps of the wall clock pass
	// unnoticed, and the numbers still mean something to people.
	start := time.Now()
	s := &state{
		c: c, log: c.log, random: randomName, clock: func() job.Instant { return job.Instant(start.UnixNano() + int64(time.Since(start))) },
		jobs: map[string]*jobState{}, keys: map[string]string{}, workers: map[string]*workerState{},
		sched: sched.New(sched.Config{}), departed: map[job.Worker]bool{}, expected: map[job.Worker]*divisipb.WorkerJoined{},
	}
	for _, q := range c.cfg.Queues {
		s.sched.SetQueue(q.Name, q.share())
	}
	return s
}

// append queues a record for the journal. What is given to out from now on waits for it.
func (s *state) append(r *divisipb.JournalRecord) uint64 {
	if r.UnixNanos == 0 {
		r.UnixNanos = int64(s.clock())
	}
	seq := s.journal.AppendAsync(r, func(seq uint64, err error) {
		if err != nil {
			s.jerr.CompareAndSwap(nil, &err)
		} else {
			s.durable.Store(seq)
		}
		s.c.box.poke()
	})
	s.counts.records++
	if seq > 0 {
		s.last = seq
		if _, won := r.GetBody().(*divisipb.JournalRecord_TaskWon); !won {
			s.binding = seq
		}
	}
	return seq
}

// out does something as soon as all records queued so far are durable, and asks the
// journal to hurry.
func (s *state) out(do func()) {
	if s.later(do) {
		s.journal.Hurry()
	}
}

// later is out for what keeps nobody from work, whenever the journal has written. It
// reports whether that is to be waited for.
func (s *state) later(do func()) bool {
	if len(s.outbox) == 0 && s.last <= s.durable.Load() && s.jerr.Load() == nil || mutant.On("acknowledged before the sync") {
		do()
		return false
	}
	s.outbox = append(s.outbox, outItem{s.last, do})
	return true
}

// outAhead is out for what follows from no task's win but those up to the record wins,
// and from all other records. Of further wins only so many may wait for the journal
// meanwhile.
func (s *state) outAhead(wins uint64, do func()) {
	durable, needed := s.durable.Load(), max(s.binding, wins)
	waiting := len(s.outbox) > 0 && s.outbox[0].after <= needed // in order with these
	if needed <= durable && !waiting && s.last <= durable+aheadMax && s.jerr.Load() == nil {
		do()
		return
	}
	s.out(do)
}

// flush does what waited for records that have become durable.
func (s *state) flush() {
	if err := s.journalFailed(); err != nil {
		if s.broken == nil {
			s.broken = err
			s.log.Error("the journal failed, the coordinator ends", "error", err)
		}
		s.outbox = nil
		return
	}
	durable := s.durable.Load()
	n := 0
	for n < len(s.outbox) && s.outbox[n].after <= durable {
		s.outbox[n].do()
		n++
	}
	if n == len(s.outbox) {
		s.outbox = s.outbox[:0]
	} else {
		s.outbox = slices.Delete(s.outbox, 0, n)
	}
}

// journalFailed is the error that ended the journal, of a record or without one.
func (s *state) journalFailed() error {
	if err := s.jerr.Load(); err != nil {
		return *err
	}
	if err := s.journal.Err(); err != nil && !errors.Is(err, journal.ErrFull) {
		return err
	}
	return nil
}

// full says why nothing new is taken on, or nil.
func (s *state) full() error {
	if err := s.journal.Err(); errors.Is(err, journal.ErrFull) {
		return err
	}
	return nil
}

// recover replays the journal and starts a new epoch, with a snapshot of what matters.
// A standby waits for its turn first.
func (s *state) recover(ctx context.Context) (*journal.Journal, error) {
	cfg := &s.c.cfg
	dir, takeOver := journalDir(cfg.State), cfg.TakeOver
	if cfg.Standby > 0 {
		if h := journal.ReadHolder(dir); h.PID != 0 {
			s.log.Info("standing by", "for", h.String(), "silence", cfg.Standby)
		}
		silent, err := journal.Standby(ctx, dir, cfg.Standby)
		if err != nil {
			return nil, err
		}
		takeOver = takeOver || silent
	}
	begun := time.Now()
	re := newReplay(s)
	j, err := journal.Open(dir, journal.Options{Log: s.log, Hook: cfg.Hook, Condense: Condense, SnapshotBytes: cfg.SnapshotBytes, Lull: cfg.Lull, TakeOver: takeOver}, re.record)
	if err != nil {
		return nil, err
	}
	s.epoch = j.Epoch() + 1
	if err := j.Start(s.epoch, re.keep); err != nil {
		j.Close()
		return nil, err
	}
	s.tookOver = j.TookOver()
	s.begin(j)
	if re.n > 0 {
		s.log.Info("journal replayed", "records", re.n, "jobs", len(s.order), "epoch", s.epoch, "took", time.Since(begun).Round(time.Millisecond))
	}
	return j, nil
}

// begin is the first record of the epoch. All that is said to others waits for it.
func (s *state) begin(j Log) {
	if s.cluster == "" {
		s.cluster = s.random(clusterIDLength)
	}
	s.journal = j
	s.append(&divisipb.JournalRecord{Body: &divisipb.JournalRecord_EpochBegan{EpochBegan: &divisipb.EpochBegan{
		Epoch: s.epoch, Version: version.String(), Cluster: s.cluster,
	}}})
}

// resume goes on with what was under way.
func (s *state) resume() {
	now := s.clock()
	s.hopeful = now + job.Instant(s.c.cfg.Lease)
	if s.tookOver { // workers give the other one up after as long, and a heartbeat
		s.hopeful += job.Instant(s.c.cfg.Lease + s.c.cfg.Heartbeat)
	}
	live := false
	for _, js := range s.order {
		if js.job == nil || js.job.Over() {
			continue
		}
		live = true
		s.sched.AddJob(js.id, js.req.GetQueue(), 0, js.req.GetPriority())
	}
	s.holding = live && len(s.expected) > 0
	for _, js := range slices.Clone(s.order) {
		if js.job != nil && !js.job.Over() {
			s.carry(js, now, js.job.Resume(now, s.epoch, s.slots()))
		}
	}
}

// slots of the cluster as far as it is known: with those expected back.
func (s *state) slots() int {
	n := s.sched.Slots()
	if s.holding {
		for _, w := range s.expected {
			n += int(w.GetSlots())
		}
	}
	return n
}

// step feeds an event to a job and carries out what it asks for.
func (s *state) step(js *jobState, e job.Event) {
	if js.job == nil {
		return
	}
	now := s.clock()
	s.carry(js, now, js.job.Step(now, e))
}

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// randomName has 5 random bits a letter.
func randomName(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = alphabet[b[i]&31]
	}
	return string(b)
}

// clone keeps messages apart that are handed to other goroutines.
func clone[M proto.Message](m M) M { return proto.Clone(m).(M) }
