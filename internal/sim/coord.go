package sim

import (
	"fmt"
	"iter"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// clock is the coordinator's: it starts with the wall's time and is monotonic from then
// on. The machine that reads it may jump; the durations must not.
func (w *world) clock() int64 {
	if mutant.On("lease by wall clock") {
		return wallStart + w.now + w.skew
	}
	return wallStart + w.since + drifted(w.now-w.since, w.drift)
}

// drifted is what a clock shows of d that runs too fast by so many thousandths, or too
// slow if they are negative; undrifted is how long it takes until it shows d.
func drifted(d, thousandths int64) int64   { return d * (1000 + thousandths) / 1000 }
func undrifted(d, thousandths int64) int64 { return d * 1000 / (1000 + thousandths) }

// A coord is one process of the coordinator.
type coord struct {
	w       *world
	core    *coordinator.Core
	disk    *disk
	conns   []*conn
	up      bool
	paused  bool
	backlog []func() // what came while it was paused
	turns   int      // planned so far: only the last is held
}

// post gives the process something to do, now or when it runs again.
func (c *coord) post(f func()) {
	switch {
	case !c.up:
	case c.paused:
		c.backlog = append(c.backlog, f)
	default:
		f()
		c.turnIn(c.w.between(0, ms))
	}
}

// turnIn plans the next turn of the loop.
func (c *coord) turnIn(d int64) {
	c.turns++
	n := c.turns
	c.w.after(undrifted(d, c.w.drift), func() {
		if n == c.turns && c.up && !c.paused {
			c.turn()
		}
	})
}

func (c *coord) turn() {
	next := c.core.Turn()
	if err := c.core.Broken(); err != nil {
		c.w.violate("the coordinator ends by itself: %v", err)
		return
	}
	c.send()
	c.w.check.slots(c)
	c.turnIn(int64(next))
}

// send puts on the way what was queued for the workers.
func (c *coord) send() {
	type sending struct {
		out  []*divisipb.ToWorker
		over error
	}
	all := make([]sending, len(c.conns))
	for i, cn := range c.conns {
		all[i].out, all[i].over = cn.st.Take()
		for _, m := range all[i].out { // a turn's cancels count before its launches
			c.w.check.cancels(c, cn, m)
		}
	}
	kept := c.conns[:0]
	for i, cn := range c.conns {
		for _, m := range all[i].out {
			c.w.check.toWorker(c, cn, m)
			cn.toWorker(m)
		}
		over := all[i].over
		if over != nil {
			c.w.say("coordinator: ends %s's stream %d: %v", cn.k.id, cn.id, over)
			cn.closeAtCoordinator(true)
			continue
		}
		kept = append(kept, cn)
	}
	c.conns = kept
}

// crash kills the process. How much the disk has of what was not synced is luck.
func (c *coord) crash(powerLoss bool) {
	c.w.say("coordinator: dies")
	c.up, c.paused = false, false
	c.backlog = nil
	c.disk.crash()
	for _, cn := range c.conns {
		cn.closeAtCoordinator(!powerLoss)
		if powerLoss {
			cn.down.held = nil // nobody is there to send it again
		}
	}
	c.conns = nil
}

func (c *coord) pause() {
	c.w.say("coordinator: pauses")
	c.paused = true
}

func (c *coord) resume() {
	if !c.paused {
		return
	}
	c.w.say("coordinator: goes on")
	c.paused = false
	b := c.backlog
	c.backlog = nil
	if c.w.chance(500) { // the loop may run before what has come is read
		c.turn()
	}
	for _, f := range b {
		c.post(f)
	}
	c.turnIn(0)
}

// snapshotEvery is how many records come between two snapshots.
const snapshotEvery = 40

// A disk is the journal's: what is on it, and what is on its way there.
type disk struct {
	w       *world
	c       *coord // who writes
	records []stored
	// condensed is how many records there were after the last snapshot.
	condensed int
	epoch     uint64 // of the last record
	seq       uint64
	queue     []queued
	batch     []queued // being synced
	syncing   bool
	full      bool // no room
	slow      int64
}

type stored struct {
	epoch, seq uint64
	bytes      []byte
}

type queued struct {
	seq  uint64
	rec  *divisipb.JournalRecord
	done func(uint64, error)
}

// open gives the disk to a process.
func (d *disk) open(c *coord) { d.c, d.queue, d.batch, d.syncing = c, nil, nil, false }

// replay reads what is on the disk.
func (d *disk) replay() []journal.Record {
	all := make([]journal.Record, 0, len(d.records))
	for _, s := range d.records {
		r := &divisipb.JournalRecord{}
		if err := proto.Unmarshal(s.bytes, r); err != nil {
			d.w.violate("a record cannot be read: %v", err)
		}
		all = append(all, journal.Record{Epoch: s.epoch, Sequence: s.seq, JournalRecord: r})
	}
	return all
}

// begin replaces all that is on the disk by what a new epoch begins with, at once.
func (d *disk) begin(epoch uint64, kept []journal.Record) coordinator.Log {
	d.replace(slices.Values(kept))
	d.epoch = epoch
	return &log{d, d.c}
}

func (d *disk) replace(kept iter.Seq[journal.Record]) {
	d.records = nil
	for r := range kept {
		d.store(r.Epoch, r.Sequence, r.JournalRecord)
	}
	d.condensed = len(d.records)
}

// condense replaces the records by a snapshot when enough have come since the last.
func (d *disk) condense() {
	if len(d.records) < d.condensed+snapshotEvery {
		return
	}
	kept, err := coordinator.Condense(func(each func(journal.Record) error) error {
		for _, r := range d.replay() {
			if err := each(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		d.w.violate("the journal cannot be replaced by a snapshot: %v", err)
		return
	}
	d.replace(kept)
}

func (d *disk) store(epoch, seq uint64, r *divisipb.JournalRecord) {
	b, err := proto.Marshal(r)
	if err != nil {
		d.w.violate("a record cannot be written: %v", err)
	}
	d.records = append(d.records, stored{epoch, seq, b})
}

// log is the disk as one process sees it.
type log struct {
	d *disk
	c *coord
}

func (l *log) Err() error {
	if l.d.full {
		return fmt.Errorf("%w: in the simulator", journal.ErrFull)
	}
	return nil
}

func (l *log) AppendAsync(r *divisipb.JournalRecord, done func(uint64, error)) uint64 {
	d := l.d
	if l.c != d.c {
		panic("sim: a dead coordinator writes")
	}
	d.seq++
	d.queue = append(d.queue, queued{d.seq, r, done})
	if d == d.w.disk {
		d.w.check.queued(r)
	}
	if len(d.queue) == 1 { // nobody may wait for it: then it waits for others, if the disk was busy just now
		lull := int64(0)
		if d.w.chance(300) {
			lull = d.w.between(0, 10*ms)
		}
		c := d.c
		d.w.after(lull, func() {
			if d.c == c {
				d.sync()
			}
		})
	}
	return d.seq
}

// Hurry implements coordinator.Log.
func (l *log) Hurry() { l.d.sync() }

// sync makes durable what is queued, after the time that a disk takes.
func (d *disk) sync() {
	if d.syncing || d.full || len(d.queue) == 0 {
		return
	}
	d.syncing = true
	c := d.c
	d.w.after(d.w.between(0, ms/2), func() {
		if d.c != c || !d.syncing {
			return
		}
		d.batch, d.queue = d.queue, nil
		d.w.after(d.w.between(ms/5, 3*ms)+d.slow, func() { d.synced(c) })
	})
}

func (d *disk) synced(c *coord) {
	if d.c != c || !d.syncing {
		return
	}
	batch := d.batch
	d.batch, d.syncing = nil, false
	for _, q := range batch {
		d.durable(q)
	}
	d.condense()
	// The callbacks are heard of by a process that lives; the loop takes its time.
	c.post(func() {
		for _, q := range batch {
			q.done(q.seq, nil)
		}
	})
	d.sync()
}

func (d *disk) durable(q queued) {
	d.store(d.epoch, q.seq, q.rec)
	if d == d.w.disk {
		d.w.say("journal: %s", recordText(q.rec))
		d.w.check.record(q.rec)
	}
}

// crash leaves a random part of what was on its way.
func (d *disk) crash() {
	d.syncing = false
	if len(d.batch) > 0 {
		for _, q := range d.batch[:d.w.rng.IntN(len(d.batch)+1)] {
			d.durable(q)
		}
	}
	d.batch, d.queue, d.c = nil, nil, nil
}

// copy is a disk of its own with the same on it.
func (d *disk) copy() *disk {
	return &disk{w: d.w, records: append([]stored(nil), d.records...), condensed: d.condensed, epoch: d.epoch, seq: d.seq}
}
