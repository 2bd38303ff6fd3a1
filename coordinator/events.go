package coordinator

import (
	"fmt"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// eventOf puts a journalled record into words.
func eventOf(seq uint64, r *divisipb.JournalRecord) *divisipb.Event {
	e := &divisipb.Event{Sequence: seq, UnixNanos: r.GetUnixNanos(), Job: r.GetJob()}
	say := func(kind, format string, args ...any) {
		e.Type, e.Text = kind, fmt.Sprintf(format, args...)
	}
	switch b := r.GetBody().(type) {
	case *divisipb.JournalRecord_EpochBegan:
		say("epoch-began", "coordinator %s began epoch %d", b.EpochBegan.GetVersion(), b.EpochBegan.GetEpoch())
	case *divisipb.JournalRecord_WorkerJoined:
		w := b.WorkerJoined
		e.Worker = w.GetWorker()
		say("worker-joined", "worker %s (%s, %d slots) joined", w.GetWorker(), w.GetAddress(), w.GetSlots())
	case *divisipb.JournalRecord_WorkerLeft:
		e.Worker = b.WorkerLeft.GetWorker()
		say("worker-lost", "worker %s left: %s", b.WorkerLeft.GetWorker(), b.WorkerLeft.GetWhy())
	case *divisipb.JournalRecord_Submitted:
		s := b.Submitted.GetRequest()
		by := s.GetOwner()
		if by == "" {
			by = "nobody named"
		}
		say("submitted", "job %s submitted by %s", s.GetJob().GetName(), by)
	case *divisipb.JournalRecord_SplitsKnown:
		var bytes int64
		for _, s := range b.SplitsKnown.GetSplits() {
			bytes += s.GetBytes()
		}
		say("splits-known", "source %d has %d splits, %d bytes", b.SplitsKnown.GetSource(), len(b.SplitsKnown.GetSplits()), bytes)
	case *divisipb.JournalRecord_SinkPrepared:
		say("sink-prepared", "sink %d may be written", b.SinkPrepared.GetSink())
	case *divisipb.JournalRecord_StagePlanned:
		say("stage-planned", "stage %d has %d tasks: %s", b.StagePlanned.GetStage(), len(b.StagePlanned.GetTasks()), b.StagePlanned.GetWhy())
	case *divisipb.JournalRecord_TaskWon:
		e.Task, e.Worker = b.TaskWon.GetResult().GetId(), b.TaskWon.GetWorker()
		st := b.TaskWon.GetResult().GetStats()
		e.Placement = b.TaskWon.GetPlacement()
		say("task-done", "task %s done on %s: %d rows in, %d rows out", fromTaskID(e.Task), e.Worker, st.GetRowsIn(), st.GetRowsOut())
	case *divisipb.JournalRecord_TaskSlow:
		e.Task, e.Worker = b.TaskSlow.GetTask(), b.TaskSlow.GetWorker()
		say("task-slow", "task %s is slow on %s: %s", fromTaskID(e.Task), e.Worker, b.TaskSlow.GetWhy())
		if b.TaskSlow.GetCopy() {
			e.Type = "task-copied"
			e.Text += "; a copy is started beside it"
		}
	case *divisipb.JournalRecord_TaskSplit:
		e.Task, e.Worker = b.TaskSplit.GetTask(), b.TaskSplit.GetWorker()
		c := b.TaskSplit.GetCut()
		say("task-split", "task %s on %s has given a part of its split to a new task, %d bytes, and keeps %d", fromTaskID(e.Task), e.Worker, c.GetRest().GetBytes(), c.GetKept().GetBytes())
	case *divisipb.JournalRecord_OutputMoved:
		e.Task, e.Worker = b.OutputMoved.GetTask(), b.OutputMoved.GetWorker()
		say("output-moved", "output of task %s was moved to %s", fromTaskID(e.Task), e.Worker)
	case *divisipb.JournalRecord_TaskFailed:
		f := b.TaskFailed.GetFailure()
		e.Task, e.Worker = f.GetId(), b.TaskFailed.GetWorker()
		kind := dataflow.Kind(f.GetErrorKind())
		switch {
		case kind == dataflow.WorkerLost:
			say("task-lost", "task %s lost with worker %s: %s", fromTaskID(e.Task), e.Worker, f.GetMessage())
		default:
			say("task-failed", "task %s failed on %s (%s): %s", fromTaskID(e.Task), e.Worker, kind, f.GetMessage())
		}
	case *divisipb.JournalRecord_OutputLost:
		e.Task = b.OutputLost.GetTask()
		say("output-lost", "output of task %s is gone, it runs again: %s", fromTaskID(e.Task), b.OutputLost.GetWhy())
	case *divisipb.JournalRecord_AttemptsReserved:
		say("attempts-reserved", "attempt numbers below %d are reserved", b.AttemptsReserved.GetLimit())
	case *divisipb.JournalRecord_PublishBegan:
		say("publish-began", "all tasks are done, their output is being published")
	case *divisipb.JournalRecord_SinkPublished:
		say("sink-published", "sink %d is published", b.SinkPublished.GetSink())
	case *divisipb.JournalRecord_JobEnded:
		name := stateName(b.JobEnded.GetState())
		if b.JobEnded.GetError() == "" {
			say(name, "job %s", name)
		} else {
			say(name, "job %s: %s", name, b.JobEnded.GetError())
		}
	case *divisipb.JournalRecord_SinkCleaned:
		if why := b.SinkCleaned.GetGaveUp(); why != "" {
			say("clean-given-up", "sink %d may hold leftovers: %s", b.SinkCleaned.GetSink(), why)
		} else {
			say("sink-cleaned", "sink %d is clean", b.SinkCleaned.GetSink())
		}
	case *divisipb.JournalRecord_JobCleaned:
		say("cleaned", "nothing of the job is left on workers")
	case *divisipb.JournalRecord_JobArchived:
		say("archived", "the job's records were replaced by a summary")
	default:
		say("unknown", "a record of a newer version")
	}
	return e
}
