package worker

import (
	"fmt"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A task is an attempt on this worker, from its launch until the coordinator has
// acknowledged its end.
type task struct {
	key  string
	spec *pb.TaskSpec
	slot bool // holds one
	sent bool // to a host

	results []*pb.TaskResult // its end, told in one go once the last is here
	failure *pb.TaskFailure
}

func (t *task) control() bool { return t.spec.Kind != pb.TaskKind_TASK_KIND_RUN }
func (t *task) ended() bool {
	return t.failure != nil || len(t.results) > 0 && !t.results[len(t.results)-1].More
}

func attemptKey(id *pb.TaskID) string {
	return fmt.Sprintf("%s/%d/%d.%d", id.GetJob(), id.GetStage(), id.GetIndex(), id.GetAttempt())
}

func dataflowID(id *pb.TaskID) dataflow.TaskID {
	return dataflow.TaskID{Job: id.GetJob(), Stage: int(id.GetStage()), Index: int(id.GetIndex()), Attempt: int(id.GetAttempt())}
}

// launch takes a task. The same attempt again changes nothing.
func (w *Worker) launch(spec *pb.TaskSpec) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := attemptKey(spec.Id)
	if w.tasks[key] != nil {
		return
	}
	t := &task{key: key, spec: spec}
	w.tasks[key] = t
	if w.jobs[spec.Id.Job] == nil {
		w.failTask(t, dataflow.WorkerLost, "this worker does not know the job")
		return
	}
	if t.control() {
		w.begin(t)
		return
	}
	if w.drain {
		w.failTask(t, dataflow.WorkerLost, "the worker drains")
		return
	}
	w.queue = append(w.queue, t)
	w.fill()
}

// fill gives free slots to the tasks that wait. The caller holds mu.
func (w *Worker) fill() {
	for w.busy < w.cfg.Slots && len(w.queue) > 0 {
		t := w.queue[0]
		w.queue = w.queue[1:]
		t.slot = true
		w.busy++
		w.begin(t)
	}
}

// begin gives a task to its job's host, which is started where there is none. The
// caller holds mu.
func (w *Worker) begin(t *task) {
	j := w.jobs[t.spec.Id.Job]
	if j == nil {
		w.failTask(t, dataflow.WorkerLost, "the job has ended on this worker")
		return
	}
	if j.host == nil {
		j.host = w.startHost(j)
	}
	t.sent = true
	j.host.tasks[t.key] = t
	for _, page := range t.spec.Pages(receiptBytesMax) {
		j.host.out.put(&pb.ToHost{Body: &pb.ToHost_Run{Run: page}})
	}
}

// cancelTask ends an attempt that nobody needs any more.
func (w *Worker) cancelTask(c *pb.CancelTask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[attemptKey(c.Id)]
	if t == nil || t.ended() {
		return
	}
	if t.sent {
		if j := w.jobs[c.Id.Job]; j != nil && j.host != nil {
			j.host.out.put(&pb.ToHost{Body: &pb.ToHost_Cancel{Cancel: c}})
			w.killLate(j.host, t)
		}
		return
	}
	w.unqueue(t)
	w.failTask(t, dataflow.Canceled, c.Why)
}

// killLate kills the host of a cancelled task that does not end: user code that never
// looks up would keep its slot for ever. The host's other tasks are tried again.
func (w *Worker) killLate(h *host, t *task) {
	time.AfterFunc(w.cfg.CancelGrace, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.tasks[t.key] == t && !t.ended() && h.tasks[t.key] == t {
			h.kill(fmt.Sprintf("the cancelled task %s did not end within %s", t.key, w.cfg.CancelGrace))
		}
	})
}

// cutTask asks an attempt to give away a part of its split. One that has not begun keeps
// it all; one that has ended has said with its result what it gave.
func (w *Worker) cutTask(c *pb.CutTask) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[attemptKey(c.Id)]
	if t == nil || t.ended() {
		return
	}
	if j := w.jobs[c.Id.Job]; t.sent && j != nil && j.host != nil {
		j.host.out.put(&pb.ToHost{Body: &pb.ToHost_CutTask{CutTask: c}})
		return
	}
	w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_TaskCut{TaskCut: &pb.TaskCut{Id: c.Id}}})
}

func (w *Worker) unqueue(t *task) {
	for i, q := range w.queue {
		if q == t {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			return
		}
	}
}

// result takes a host's report that a task ended well.
func (w *Worker) result(h *host, r *pb.TaskResult) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[attemptKey(r.Id)]
	if t == nil || t.ended() || h.tasks[t.key] != t {
		return
	}
	t.results = append(t.results, r)
	if r.More {
		return
	}
	if r.Output != nil {
		held := heldOutput{id: r.Id}
		for _, n := range r.Output.Bytes {
			held.bytes += n
		}
		h.job.outputs[t.key] = held
	}
	w.free(h, t)
	w.tellEnd(t)
}

// tellEnd sends how a task ended. The caller holds mu.
func (w *Worker) tellEnd(t *task) {
	if t.failure != nil {
		w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_Failure{Failure: t.failure}})
		return
	}
	for _, r := range t.results {
		w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_Result{Result: r}})
	}
}

// failed takes a host's report that a task did not.
func (w *Worker) failed(h *host, f *pb.TaskFailure) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.tasks[attemptKey(f.Id)]
	if t == nil || t.ended() || h.tasks[t.key] != t {
		return
	}
	w.end(h, t, f)
}

// failTask ends a task that no host runs. The caller holds mu.
func (w *Worker) failTask(t *task, kind dataflow.Kind, why string) {
	w.end(nil, t, &pb.TaskFailure{Id: t.spec.Id, TaskKind: t.spec.Kind, ErrorKind: int32(kind), Message: why})
}

// end records and tells a task's failure. The caller holds mu.
func (w *Worker) end(h *host, t *task, f *pb.TaskFailure) {
	t.results, t.failure = nil, f
	w.free(h, t)
	w.tellEnd(t)
}

// free gives back what a task held. The caller holds mu.
func (w *Worker) free(h *host, t *task) {
	if h != nil {
		delete(h.tasks, t.key)
	}
	if t.slot {
		t.slot = false
		w.busy--
		w.fill()
	}
}

// tellDrained says that the worker runs nothing any more, where it was asked to say so
// and the coordinator has all it needs to know. The caller holds mu.
func (w *Worker) tellDrained() {
	if w.drain && len(w.tasks) == 0 && len(w.ending) == 0 {
		w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_Drained{Drained: &pb.Drained{}}})
	}
}

// acked forgets a task whose end the coordinator has journalled.
func (w *Worker) acked(a *pb.Ack) {
	if a.Task == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key := attemptKey(a.Task)
	if t := w.tasks[key]; t != nil && t.ended() {
		delete(w.tasks, key)
		w.tellDrained()
	}
	j := w.jobs[a.Task.Job]
	if !a.Lost || j == nil || j.outputs[key].id == nil {
		return
	}
	delete(j.outputs, key)
	if err := shuffle.Remove(w.outputPath(a.Task)); err != nil {
		w.log.Warn("an output that lost cannot be removed", "task", key, "err", err)
	}
}

// Drain is what a coordinator's drain is, begun here: no more tasks are taken, those that
// run come to their end within grace, the outputs that others still need are handed
// over; then the worker ends and Wait returns nil. Without a coordinator it ends after
// grace all the same.
func (w *Worker) Drain(grace time.Duration) {
	w.beginDrain(grace)
	w.send(&pb.FromWorker{Body: &pb.FromWorker_Heartbeat{Heartbeat: w.fillHeartbeat(&pb.Heartbeat{})}})
	time.AfterFunc(grace, func() {
		w.mu.Lock()
		alone := w.session == nil
		w.mu.Unlock()
		if alone {
			w.cancel()
		}
	})
}

// beginDrain takes no more tasks of stages and lets those that run come to their end,
// for as long as grace; then the coordinator need not wait any more.
func (w *Worker) beginDrain(grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drain {
		return
	}
	w.drain = true
	for len(w.queue) > 0 {
		t := w.queue[0]
		w.queue = w.queue[1:]
		w.failTask(t, dataflow.WorkerLost, "the worker drains")
	}
	w.tellDrained()
	if grace > 0 {
		time.AfterFunc(grace, func() { w.send(&pb.FromWorker{Body: &pb.FromWorker_Drained{Drained: &pb.Drained{}}}) })
	}
}
