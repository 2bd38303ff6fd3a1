package sim

import (
	"fmt"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// A span is rows [lo, hi) of a source's split; a Split's payload says it.
type span struct{ split, lo, hi int }

func (s span) proto(w *world) *divisipb.Split {
	return &divisipb.Split{
		Id: fmt.Sprintf("s%d[%d..%d]", s.split, s.lo, s.hi), Payload: []byte{byte(s.split), byte(s.lo), byte(s.hi)},
		Hosts: []string{w.workers[s.split%len(w.workers)].id},
	}
}

func spanOf(s *divisipb.Split) span {
	if s == nil {
		return span{}
	}
	return span{int(s.Payload[0]), int(s.Payload[1]), int(s.Payload[2])}
}

// cutTask asks a task's host what it can give away, and passes on the answer. A task that
// has ended has said what it gave with its result.
func (k *worker) cutTask(a attempt) {
	t := k.task(a)
	if t == nil || t.ended() {
		return
	}
	if t.host == nil {
		k.tellCut(t)
		return
	}
	d := k.w.between(0, 2*ms)
	if k.w.chance(400) { // it is busy, and a copy may have begun before it answers
		d = k.w.between(second/2, 5*second)
	}
	t.host.after(d, func() {
		if !t.ended() {
			t.give()
			k.tellCut(t)
		}
	})
}

func (k *worker) tellCut(t *wtask) {
	if t.cut != nil {
		k.w.say("%s: %s keeps %s and gives %s", k.id, t.id, t.cut.Kept.Id, t.cut.Rest.Id)
	}
	if t.cut != nil && k.conn != nil && k.w.now < k.w.weather.until && k.w.chance(k.w.weather.malice) {
		k.conn.snap() // nobody hears of it but from the result
	}
	k.send(&divisipb.FromWorker{Body: &divisipb.FromWorker_TaskCut{TaskCut: &divisipb.TaskCut{Id: t.spec.Id, Cut: t.cut}}})
}

// give gives away the end of what has not been read; nothing where all has been.
func (t *wtask) give() {
	mid := t.reads.lo + max(1, (t.reads.hi-t.reads.lo)/2)
	if t.cut != nil || t.read || mid >= t.reads.hi {
		return
	}
	rest := t.reads
	t.reads.hi, rest.lo = mid, mid
	t.cut = &divisipb.Cut{Kept: t.reads.proto(t.host.k.w), Rest: rest.proto(t.host.k.w)}
}
