package sim

import (
	"fmt"
	"slices"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A whost is a task host: it moves rows, which are numbers, through a job's stages.
type whost struct {
	k       *worker
	j       *wjob
	inc     string
	dead    bool
	waiting map[*wtask]bool // for locations
}

// after does something later, if the host still lives.
func (h *whost) after(d int64, f func()) {
	h.k.after(d, func() {
		if !h.dead {
			f()
		}
	})
}

// kill is a host that dies by itself: its tasks end with it.
func (h *whost) kill() {
	h.k.w.say("%s: the host of %s dies", h.k.id, h.j.id)
	h.dead = true
	if h.j.host == h {
		h.j.host = nil
	}
	for _, t := range append([]*wtask(nil), h.k.tasks...) {
		if t.host == h && !t.ended() {
			h.j.def.kills(t.id)
			h.k.end(t, &divisipb.TaskFailure{Id: t.spec.Id, TaskKind: t.spec.Kind, KilledHost: true, Message: "the task host has ended"})
		}
	}
}

// run begins an attempt.
func (h *whost) run(t *wtask) {
	w := h.k.w
	if h.interrupted(t) || h.strike(t) {
		return
	}
	result := &divisipb.TaskResult{Id: t.spec.Id, Kind: t.spec.Kind}
	end := func() { h.k.done(t, nil, result) }
	switch t.spec.Kind {
	case divisipb.TaskKind_TASK_KIND_SPLITS:
		h.after(w.between(ms, 50*ms), func() { h.splits(t) })
	case divisipb.TaskKind_TASK_KIND_PREPARE:
		h.after(w.between(ms, 50*ms), func() {
			w.store.prepare(t.id.job, t.spec.Target)
			result.Prepared = fmt.Appendf(nil, "for %s", t.id.job)
			end()
		})
	case divisipb.TaskKind_TASK_KIND_PUBLISH:
		h.after(w.between(ms, 50*ms), func() { h.publish(t, 0, end) })
	case divisipb.TaskKind_TASK_KIND_CLEAN:
		h.after(w.between(ms, 50*ms), func() {
			w.store.clean(t.id.job, t.spec.Target)
			end()
		})
	default:
		h.waiting[t] = true
		h.proceed(t)
	}
}

// interrupted ends a task that was cancelled.
func (h *whost) interrupted(t *wtask) bool {
	if t.canceled == "" {
		return false
	}
	h.k.w.store.abort(t.id)
	h.k.fail(t, dataflow.Canceled, t.canceled)
	return true
}

// strike lets a task fail for a reason of its own.
func (h *whost) strike(t *wtask) bool {
	d := h.j.def
	if d.doomed == [2]int32{t.id.stage, t.id.index} {
		h.k.fail(t, dataflow.User, "a bad record")
		return true
	}
	if d.poison == [2]int32{t.id.stage, t.id.index} {
		h.k.w.store.abort(t.id)
		h.kill()
		return true
	}
	if !d.mayFail(t.id, h.k.w.weather) {
		return false
	}
	kinds := []dataflow.Kind{dataflow.Transient, dataflow.Unknown, dataflow.DiskFull, dataflow.Corrupt, dataflow.OutOfMemory}
	switch kind := kinds[h.k.w.rng.IntN(len(kinds))]; {
	case h.k.w.chance(100) && h.mayKill():
		h.kill()
	default:
		h.k.w.store.abort(t.id)
		h.k.fail(t, kind, "something that passes")
	}
	return true
}

func (h *whost) splits(t *wtask) {
	if h.interrupted(t) {
		return
	}
	var parts []*divisipb.TaskResult
	all := h.j.def.sources[t.spec.Target]
	for i := range all {
		if i == 0 || h.k.w.chance(200) {
			parts = append(parts, &divisipb.TaskResult{Id: t.spec.Id, Kind: t.spec.Kind})
		}
		p := parts[len(parts)-1]
		p.Splits = append(p.Splits, span{i, 0, len(all[i])}.proto(h.k.w))
	}
	if len(parts) == 0 {
		parts = append(parts, &divisipb.TaskResult{Id: t.spec.Id, Kind: t.spec.Kind})
	}
	for _, p := range parts[:len(parts)-1] {
		p.More = true
	}
	h.k.done(t, nil, parts...)
}

// publish makes the winners' parts visible, one step at a time; each may be the last.
func (h *whost) publish(t *wtask, step int, end func()) {
	more := h.k.w.store.publish(t.id.job, t.spec.Target, t.spec.Receipts, step)
	if !more {
		end()
		return
	}
	h.after(h.k.w.between(ms/5, 10*ms), func() { h.publish(t, step+1, end) })
}

// proceed goes on once the locations that the attempt needs have been told.
func (h *whost) proceed(t *wtask) {
	if h.dead || !h.waiting[t] {
		return
	}
	for x, v := range t.spec.ExchangeVersions {
		l := h.j.told[x]
		if t.canceled == "" && (l == nil || l.version < v) {
			return
		}
	}
	delete(h.waiting, t)
	if h.interrupted(t) {
		return
	}
	stage := &h.j.def.plan.Stages[t.id.stage]
	if s := stage.Output.Sink; s >= 0 {
		if h.j.prepared[int32(s)] == "" {
			h.k.w.violate("%s begins without what its sink has prepared", t.id)
		}
		h.k.w.store.open(t.id, int32(s), h.inc)
	}
	// Where the blocks lie is looked up once, when the inputs are opened.
	type input struct {
		whole  bool
		other  bool // of a join: its rows are not those that come out
		source int  // where there is no exchange, else -1
		from   []location
		lo, hi int
	}
	var inputs []input
	join := joins(h.j.def.plan, stage)
	for _, in := range stage.Inputs {
		switch in.Mode {
		case plan.BySplit:
			inputs = append(inputs, input{source: in.Source})
		case plan.ByForward:
			var from []location
			if l := h.j.told[int32(in.Exchange)]; l != nil {
				if at, ok := l.blocks[[2]int32{t.spec.ForwardStage, t.spec.ForwardIndex}]; ok {
					from = []location{at}
				}
			}
			if from == nil {
				h.k.fail(t, dataflow.InputLost, "nobody has said where the producer's output lies")
				h.k.w.store.abort(t.id)
				return
			}
			inputs = append(inputs, input{source: -1, from: from, lo: 0, hi: 1})
		case plan.ByPartition:
			from := h.sorted(in.Exchange)
			if in.Shared || mutant.On("all inputs are shared out") {
				from = shareOf(from, t.spec)
			}
			inputs = append(inputs, input{source: -1, other: join != nil && !in.Shared, from: from, lo: int(t.spec.PartitionLo), hi: int(t.spec.PartitionHi)})
		default:
			inputs = append(inputs, input{source: -1, whole: true, from: h.sorted(in.Exchange), lo: 0, hi: 1 << 20})
		}
	}
	h.after(h.j.def.duration(h.k.w, t.id), func() {
		if h.interrupted(t) || h.strike(t) {
			return
		}
		var main, others, side []uint64
		for _, in := range inputs {
			var rows []uint64
			for _, at := range in.from {
				got, lost, hang := h.fetch(at, in.lo, in.hi)
				if lost {
					h.after(hang, func() { h.inputLost(t, at) })
					return
				}
				rows = append(rows[:len(rows):len(rows)], got...)
			}
			switch {
			case in.whole:
				side = append(side, rows...)
			case in.other:
				others = append(others, rows...)
			default:
				main = append(main, rows...)
			}
		}
		if join != nil {
			main = beside(join, main, others)
		}
		h.after(h.j.def.duration(h.k.w, t.id), func() {
			if h.interrupted(t) || h.strike(t) {
				return
			}
			for _, in := range inputs { // sources are read to the end, others were before
				if in.source >= 0 {
					main = append(main, h.j.def.sources[in.source][t.reads.split][t.reads.lo:t.reads.hi]...)
					t.read = true
				}
			}
			h.seal(t, stage, main, side)
		})
	})
}

// sorted is where the outputs of an exchange's producers lie, in their order.
func (h *whost) sorted(exchange int) []location {
	l := h.j.told[int32(exchange)]
	if l == nil {
		return nil
	}
	var out []location
	for _, p := range h.j.def.plan.Exchanges[exchange].Producers {
		for i := int32(0); i < 64; i++ {
			if at, ok := l.blocks[[2]int32{int32(p), i}]; ok {
				out = append(out, at)
			}
		}
	}
	return out
}

// shareOf is the outputs of the producers that an attempt reads of a shared input.
func shareOf(from []location, spec *divisipb.TaskSpec) []location {
	if spec.ShareOf == 0 {
		return from
	}
	return slices.DeleteFunc(from, func(l location) bool { return l.task.index%spec.ShareOf != spec.Share })
}

// fetch gets partitions of an output from who has it.
func (h *whost) fetch(at location, lo, hi int) (rows []uint64, lost bool, hang int64) {
	w := h.k.w
	var from *worker
	for _, o := range w.workers {
		if o.id == at.worker {
			from = o
		}
	}
	if from != h.k && (from.paused || h.k.apart[from]) {
		w.check.unreachable(at.task)
		return nil, true, w.between(second, 8*second)
	}
	if !from.up || from.inc != at.address || from.jobs[at.task.job] == nil {
		return nil, true, 0
	}
	b := from.jobs[at.task.job].output(at.task)
	if b == nil {
		return nil, true, 0
	}
	for p := lo; p < min(hi, len(b.parts)); p++ {
		got := b.parts[p]
		if b.corrupt && len(got) > 0 {
			if !mutant.On("blocks are not checked") {
				return nil, true, 0
			}
			got = got[1:]
		}
		rows = append(rows, got...)
	}
	return rows, false, 0
}

func (h *whost) inputLost(t *wtask, at location) {
	if h.interrupted(t) {
		return
	}
	h.k.w.store.abort(t.id)
	h.k.end(t, &divisipb.TaskFailure{
		Id: t.spec.Id, TaskKind: t.spec.Kind, ErrorKind: int32(dataflow.InputLost), Message: "an input is gone",
		LostInputs: []*divisipb.TaskID{at.task.id()}, LostAt: []string{at.address},
	})
}

// seal ends an attempt: its rows are whole and somewhere.
func (h *whost) seal(t *wtask, stage *plan.Stage, main, side []uint64) {
	d := h.j.def
	rows := transform(stage, main, side)
	h.k.w.say("%s: %s has read %d rows, %d aside", h.k.id, t.id, len(main), len(side))
	result := &divisipb.TaskResult{Id: t.spec.Id, Kind: t.spec.Kind, RowHash: rowHash(rows), Cut: t.cut}
	noise := uint64(0)
	if d.noisy == int(t.id.stage) {
		noise = uint64(t.id.number)
		result.RowHash += noise
	}
	result.Counters = map[string]int64{"rows": int64(len(rows))}
	if s := stage.Output.Sink; s >= 0 {
		h.k.w.store.seal(t.id, int32(s), h.inc, rows)
		result.Receipt = []byte(t.id.String())
		h.after(h.k.w.between(0, 2*ms), func() { h.k.done(t, nil, result) })
		return
	}
	b := &block{of: t.id, parts: partition(&d.plan.Exchanges[stage.Output.Exchange], rows, noise)}
	result.Output = &divisipb.PartitionSizes{}
	for _, p := range b.parts {
		result.Output.Bytes = append(result.Output.Bytes, int64(len(p))*d.unit)
		result.Output.Rows = append(result.Output.Rows, int64(len(p)))
	}
	h.after(h.k.w.between(0, 2*ms), func() { h.k.done(t, b, result) })
}
