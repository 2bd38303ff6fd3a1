package plan

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/order"
)

// OpStats are what one Op of a stage did: in one attempt, or, added up, in all winners.
type OpStats struct {
	Rows, Bytes int64 // that came out; bytes as they lay in memory
	// Nanos is how long its rows were waited for, what it reads included.
	Nanos      int64
	Spilled    int64 // bytes
	PeakMemory int64 // reserved, in one task at most
}

// AddOps adds sign times b to a, which it may change, and returns the sums. Peaks only
// ever grow.
func AddOps(a, b []OpStats, sign int64) []OpStats {
	for len(a) < len(b) {
		a = append(a, OpStats{})
	}
	for i, o := range b {
		a[i].Rows += sign * o.Rows
		a[i].Bytes += sign * o.Bytes
		a[i].Nanos += sign * o.Nanos
		a[i].Spilled += sign * o.Spilled
		a[i].PeakMemory = max(a[i].PeakMemory, o.PeakMemory)
	}
	return a
}

// A Meter counts what the Ops of a stage do in one attempt: for each batch a few
// additions and two looks at the clock. A nil Meter counts nothing.
type Meter struct{ ops []counts }

type counts struct {
	rows, bytes, nanos, spilled atomic.Int64
	memory                      *dataflow.Memory
}

// NewMeter counts for a stage with so many Ops.
func NewMeter(ops int) *Meter { return &Meter{ops: make([]counts, ops)} }

// Stats is what was counted so far. Called on the goroutine that runs the stage, or when
// the stage has ended.
func (m *Meter) Stats() []OpStats {
	all := make([]OpStats, len(m.ops))
	for i := range m.ops {
		c := &m.ops[i]
		all[i] = OpStats{Rows: c.rows.Load(), Bytes: c.bytes.Load(), Nanos: c.nanos.Load(), Spilled: c.spilled.Load()}
		if c.memory != nil {
			all[i].PeakMemory = c.memory.Peak()
		}
	}
	return all
}

// env is the environment for one operator: its reservations and spills are counted as its
// own too. opened is called when the operator is open.
func (m *Meter) env(env *dataflow.Env, t *tree) (own *dataflow.Env, opened func()) {
	if m == nil {
		return env, func() {}
	}
	c, e := &m.ops[t.id], *env
	if env.Memory != nil {
		e.Memory = env.Memory.Child(t.node.Name+" of task "+env.Task.String(), 0)
		c.memory = e.Memory
	}
	all := env.Events
	e.Events = &dataflow.Events{Spilled: func(i dataflow.SpillInfo) {
		c.spilled.Add(i.Bytes)
		if all != nil && all.Spilled != nil {
			all.Spilled(i)
		}
	}}
	began := time.Now()
	return &e, func() { c.nanos.Add(int64(time.Since(began))) }
}

func (m *Meter) stream(id int, s dataflow.Stream) dataflow.Stream {
	if m == nil || s == nil {
		return s
	}
	return &metered{Stream: s, counts: &m.ops[id]}
}

type metered struct {
	dataflow.Stream
	counts *counts
}

// Next implements dataflow.Stream.
func (s *metered) Next(ctx context.Context) (dataflow.Batch, error) {
	began := time.Now()
	b, err := s.Stream.Next(ctx)
	c := s.counts
	c.nanos.Add(int64(time.Since(began)))
	if err == nil {
		c.rows.Add(b.NumRows())
		c.bytes.Add(order.BatchBytes(b))
	}
	return b, err
}

// Locate implements dataflow.Locator.
func (s *metered) Locate(row int) string { return dataflow.Locate(s.Stream, row) }

// Sieve implements dataflow.Siever.
func (s *metered) Sieve(v dataflow.Sieve) { dataflow.PutSieve(s.Stream, v) }

// Whole implements dataflow.Wholly.
func (s *metered) Whole() (dataflow.Whole, bool) { return dataflow.WholeOf(s.Stream) }

// number gives the parts of a tree their places in Stage.Ops.
func number(t *tree, ops []Op) []Op {
	o := Op{Input: t.input}
	for _, in := range t.in {
		ops = number(in, ops)
		o.In = append(o.In, in.id)
	}
	t.id, o.ID = len(ops), len(ops)
	for i, n := range t.path {
		kind := string(n.Kind)
		if n.Ref.Kind != "" {
			kind = n.Ref.Kind
		}
		if i > 0 {
			o.Name, o.Kind = o.Name+"+", o.Kind+"+"
		}
		o.Name, o.Kind, o.Site = o.Name+n.Name, o.Kind+kind, n.Site
	}
	return append(ops, o)
}
