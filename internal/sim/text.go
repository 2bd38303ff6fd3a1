package sim

import (
	"fmt"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// recordText is a record for the history.
func recordText(r *divisipb.JournalRecord) string {
	switch b := r.Body.(type) {
	case *divisipb.JournalRecord_EpochBegan:
		return fmt.Sprintf("epoch %d", b.EpochBegan.Epoch)
	case *divisipb.JournalRecord_WorkerJoined:
		return "joined " + b.WorkerJoined.Incarnation
	case *divisipb.JournalRecord_WorkerLeft:
		return "left " + b.WorkerLeft.Incarnation + ": " + b.WorkerLeft.Why
	case *divisipb.JournalRecord_Submitted:
		return "submitted " + r.Job
	case *divisipb.JournalRecord_SplitsKnown:
		return fmt.Sprintf("%s: splits of %d: %d", r.Job, b.SplitsKnown.Source, len(b.SplitsKnown.Splits))
	case *divisipb.JournalRecord_SinkPrepared:
		return fmt.Sprintf("%s: output %d prepared", r.Job, b.SinkPrepared.Sink)
	case *divisipb.JournalRecord_StagePlanned:
		return fmt.Sprintf("%s: stage %d planned, %d tasks", r.Job, b.StagePlanned.Stage, len(b.StagePlanned.Tasks))
	case *divisipb.JournalRecord_TaskWon:
		return fmt.Sprintf("%s won on %s", attemptOf(b.TaskWon.Result.Id), b.TaskWon.Incarnation)
	case *divisipb.JournalRecord_TaskFailed:
		return fmt.Sprintf("%s failed on %s: %s, counted %v", attemptOf(b.TaskFailed.Failure.Id), b.TaskFailed.Worker, b.TaskFailed.Failure.Message, b.TaskFailed.Counted)
	case *divisipb.JournalRecord_OutputLost:
		return fmt.Sprintf("%s lost: %s", attemptOf(b.OutputLost.Task), b.OutputLost.Why)
	case *divisipb.JournalRecord_TaskSplit:
		return fmt.Sprintf("%s on %s keeps %s, another reads %s", attemptOf(b.TaskSplit.Task), b.TaskSplit.Worker, b.TaskSplit.Cut.Kept.Id, b.TaskSplit.Cut.Rest.Id)
	case *divisipb.JournalRecord_AttemptsReserved:
		return fmt.Sprintf("%s: attempts below %d", r.Job, b.AttemptsReserved.Limit)
	case *divisipb.JournalRecord_PublishBegan:
		return r.Job + ": publish began"
	case *divisipb.JournalRecord_SinkPublished:
		return fmt.Sprintf("%s: output %d published", r.Job, b.SinkPublished.Sink)
	case *divisipb.JournalRecord_JobEnded:
		return fmt.Sprintf("%s: %s %s", r.Job, b.JobEnded.State, b.JobEnded.Error)
	case *divisipb.JournalRecord_SinkCleaned:
		return fmt.Sprintf("%s: output %d cleaned %s", r.Job, b.SinkCleaned.Sink, b.SinkCleaned.GaveUp)
	case *divisipb.JournalRecord_JobCleaned:
		return r.Job + ": over"
	}
	return fmt.Sprintf("%T", r.Body)
}
