package coordinator

import (
	"fmt"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/mutant"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// What the machines say and what the wire and the journal hold, in both directions.

func toTaskID(id string, a job.Attempt) *divisipb.TaskID {
	return &divisipb.TaskID{Job: id, Stage: int32(a.Stage), Index: int32(a.Index), Attempt: a.Number}
}

func fromTaskID(t *divisipb.TaskID) job.Attempt {
	return job.Attempt{Key: job.Key{Stage: int(t.GetStage()), Index: int(t.GetIndex())}, Number: t.GetAttempt()}
}

func toStats(s job.Stats) *divisipb.TaskStats {
	return &divisipb.TaskStats{
		RowsIn: s.RowsIn, BytesIn: s.BytesIn, RowsOut: s.RowsOut, BytesOut: s.BytesOut,
		BytesShuffled: s.BytesShuffled, BytesSpilled: s.BytesSpilled,
		BytesFetchedLocal: s.BytesFetchedLocal, BytesFetchedRemote: s.BytesFetchedRemote,
		PeakMemoryBytes: s.PeakMemory, HostRssBytes: s.HostRSS,
		WallNanos: s.WallNanos, CpuNanos: s.CPUNanos, FetchWaitNanos: s.FetchWaitNanos,
	}
}

func fromStats(s *divisipb.TaskStats) job.Stats {
	return job.Stats{
		RowsIn: s.GetRowsIn(), BytesIn: s.GetBytesIn(), RowsOut: s.GetRowsOut(), BytesOut: s.GetBytesOut(),
		BytesShuffled: s.GetBytesShuffled(), BytesSpilled: s.GetBytesSpilled(),
		BytesFetchedLocal: s.GetBytesFetchedLocal(), BytesFetchedRemote: s.GetBytesFetchedRemote(),
		PeakMemory: s.GetPeakMemoryBytes(), HostRSS: s.GetHostRssBytes(),
		WallNanos: s.GetWallNanos(), CPUNanos: s.GetCpuNanos(), FetchWaitNanos: s.GetFetchWaitNanos(),
	}
}

func fromResult(r *divisipb.TaskResult) *job.Result {
	out := &job.Result{
		Receipt: r.GetReceipt(), Bytes: r.GetOutput().GetBytes(), Rows: r.GetOutput().GetRows(), RowHash: r.GetRowHash(),
		Counters: r.GetCounters(), Stats: fromStats(r.GetStats()), Prepared: r.GetPrepared(),
		Ops: fromOps(r.GetOps()),
	}
	for _, s := range r.GetSplits() {
		out.Splits = append(out.Splits, fromSplit(s))
	}
	out.Cut = fromCut(r.GetCut())
	return out
}

func toResult(id string, a job.Attempt, r *job.Result) *divisipb.TaskResult {
	return &divisipb.TaskResult{
		Id: toTaskID(id, a), Kind: divisipb.TaskKind_TASK_KIND_RUN, Receipt: r.Receipt,
		Output:  &divisipb.PartitionSizes{Bytes: r.Bytes, Rows: r.Rows},
		RowHash: r.RowHash, Counters: r.Counters, Stats: toStats(r.Stats),
		Ops: toOps(r.Ops),
	}
}

func toOps(ops []plan.OpStats) []*divisipb.OpStats {
	out := make([]*divisipb.OpStats, len(ops))
	for i, o := range ops {
		out[i] = &divisipb.OpStats{Rows: o.Rows, Bytes: o.Bytes, Nanos: o.Nanos, BytesSpilled: o.Spilled, PeakMemoryBytes: o.PeakMemory}
	}
	return out
}

func fromOps(ops []*divisipb.OpStats) []plan.OpStats {
	if len(ops) == 0 {
		return nil
	}
	out := make([]plan.OpStats, len(ops))
	for i, o := range ops {
		out[i] = plan.OpStats{Rows: o.GetRows(), Bytes: o.GetBytes(), Nanos: o.GetNanos(), Spilled: o.GetBytesSpilled(), PeakMemory: o.GetPeakMemoryBytes()}
	}
	return out
}

func fromSplit(s *divisipb.Split) dataflow.Split {
	return dataflow.Split{ID: s.GetId(), Bytes: s.GetBytes(), Hosts: s.GetHosts(), Payload: s.GetPayload()}
}

func toSplit(s dataflow.Split) *divisipb.Split {
	return &divisipb.Split{Id: s.ID, Bytes: s.Bytes, Hosts: s.Hosts, Payload: s.Payload}
}

func fromCut(c *divisipb.Cut) *job.Cut {
	if c == nil {
		return nil
	}
	return &job.Cut{Kept: fromSplit(c.GetKept()), Rest: fromSplit(c.GetRest())}
}

func fromFailure(f *divisipb.TaskFailure) job.Failure {
	out := job.Failure{
		Attempt: fromTaskID(f.GetId()), Kind: dataflow.Kind(f.GetErrorKind()), Message: f.GetMessage(), Names: f.GetErrorNames(), Stack: f.GetStack(),
		LogTail: f.GetLogTail(), Killed: f.GetKilledHost(), Stats: fromStats(f.GetStats()),
	}
	out.LostAt = f.GetLostAt()
	for _, l := range f.GetLostInputs() {
		out.Lost = append(out.Lost, fromTaskID(l))
	}
	return out
}

func toFailure(id string, f job.Failure) *divisipb.TaskFailure {
	out := &divisipb.TaskFailure{
		Id: toTaskID(id, f.Attempt), TaskKind: kindOf(f.Attempt.Key), ErrorKind: int32(f.Kind), Message: f.Message, ErrorNames: f.Names, Stack: f.Stack,
		LogTail: f.LogTail, KilledHost: f.Killed, Stats: toStats(f.Stats),
	}
	out.LostAt = f.LostAt
	for _, l := range f.Lost {
		out.LostInputs = append(out.LostInputs, toTaskID(id, l))
	}
	return out
}

// kindOf a task, by its key.
func kindOf(k job.Key) divisipb.TaskKind {
	switch k.Stage {
	case job.StageSplits:
		return divisipb.TaskKind_TASK_KIND_SPLITS
	case job.StagePrepare:
		return divisipb.TaskKind_TASK_KIND_PREPARE
	case job.StagePublish:
		return divisipb.TaskKind_TASK_KIND_PUBLISH
	case job.StageClean:
		return divisipb.TaskKind_TASK_KIND_CLEAN
	}
	return divisipb.TaskKind_TASK_KIND_RUN
}

var jobStates = map[job.State]divisipb.JobState{
	job.Pending:    divisipb.JobState_JOB_STATE_PENDING,
	job.Running:    divisipb.JobState_JOB_STATE_RUNNING,
	job.Publishing: divisipb.JobState_JOB_STATE_PUBLISHING,
	job.Succeeded:  divisipb.JobState_JOB_STATE_SUCCEEDED,
	job.Failed:     divisipb.JobState_JOB_STATE_FAILED,
	job.Canceled:   divisipb.JobState_JOB_STATE_CANCELED,
}

func fromState(s divisipb.JobState) job.State {
	for k, v := range jobStates {
		if v == s {
			return k
		}
	}
	return 0
}

// toRecord is a machine's record as the journal holds it.
func toRecord(id string, r job.Record) *divisipb.JournalRecord {
	out := &divisipb.JournalRecord{Job: id}
	switch r := r.(type) {
	case job.SplitsKnown:
		b := &divisipb.SplitsKnown{Source: int32(r.Source)}
		for _, s := range r.Splits {
			b.Splits = append(b.Splits, toSplit(s))
		}
		out.Body = &divisipb.JournalRecord_SplitsKnown{SplitsKnown: b}
	case job.SinkPrepared:
		out.Body = &divisipb.JournalRecord_SinkPrepared{SinkPrepared: &divisipb.SinkPrepared{Sink: int32(r.Sink), Prepared: r.Prepared}}
	case job.StagePlanned:
		b := &divisipb.StagePlanned{Stage: int32(r.Stage), Why: r.Why}
		for _, t := range r.Tasks {
			b.Tasks = append(b.Tasks, &divisipb.PlannedTask{
				Split: int32(t.Split), PartitionLo: int32(t.Lo), PartitionHi: int32(t.Hi),
				ForwardStage: int32(t.ForwardStage), ForwardIndex: int32(t.ForwardIndex),
				Share: int32(t.Share), ShareOf: int32(t.Of),
			})
		}
		out.Body = &divisipb.JournalRecord_StagePlanned{StagePlanned: b}
	case job.TaskWon:
		out.Body = &divisipb.JournalRecord_TaskWon{TaskWon: &divisipb.TaskWon{
			Result: toResult(id, r.Attempt, r.Result), Worker: r.Worker.ID, Incarnation: r.Worker.Incarnation, Address: r.Address,
		}}
	case job.TaskFailed:
		out.Body = &divisipb.JournalRecord_TaskFailed{TaskFailed: &divisipb.TaskFailed{
			Failure: toFailure(id, r.Failure), Worker: r.Worker.ID, Counted: r.Counted, MemoryBytes: r.Next, Alone: r.Alone,
		}}
	case job.OutputLost:
		out.Body = &divisipb.JournalRecord_OutputLost{OutputLost: &divisipb.OutputLost{Task: toTaskID(id, r.Attempt), Why: r.Why, Unreadable: r.Unreadable}}
	case job.TaskSlow:
		out.Body = &divisipb.JournalRecord_TaskSlow{TaskSlow: &divisipb.TaskSlow{Task: toTaskID(id, r.Attempt), Worker: r.Worker.ID, Why: r.Why, Copy: r.Copy}}
	case job.TaskSplit:
		out.Body = &divisipb.JournalRecord_TaskSplit{TaskSplit: &divisipb.TaskSplit{
			Task: toTaskID(id, r.Attempt), Worker: r.Worker.ID, Cut: &divisipb.Cut{Kept: toSplit(r.Kept), Rest: toSplit(r.Rest)}, Floor: r.Floor,
		}}
	case job.OutputMoved:
		out.Body = &divisipb.JournalRecord_OutputMoved{OutputMoved: &divisipb.OutputMoved{
			Task: toTaskID(id, r.Attempt), Worker: r.Worker.ID, Incarnation: r.Worker.Incarnation, Address: r.Address,
		}}
	case job.AttemptsReserved:
		out.Body = &divisipb.JournalRecord_AttemptsReserved{AttemptsReserved: &divisipb.AttemptsReserved{Limit: r.Limit}}
	case job.PublishBegan:
		out.Body = &divisipb.JournalRecord_PublishBegan{PublishBegan: &divisipb.PublishBegan{}}
	case job.SinkPublished:
		out.Body = &divisipb.JournalRecord_SinkPublished{SinkPublished: &divisipb.SinkPublished{Sink: int32(r.Sink)}}
	case job.Ended:
		out.Body = &divisipb.JournalRecord_JobEnded{JobEnded: &divisipb.JobEnded{State: jobStates[r.State], Error: r.Error, ErrorStack: r.Stack, ErrorNames: r.Names}}
	case job.SinkCleaned:
		out.Body = &divisipb.JournalRecord_SinkCleaned{SinkCleaned: &divisipb.SinkCleaned{Sink: int32(r.Sink), GaveUp: r.GaveUp}}
	case job.Cleaned:
		out.Body = &divisipb.JournalRecord_JobCleaned{JobCleaned: &divisipb.JobCleaned{}}
	default:
		panic(fmt.Sprintf("coordinator: no such record: %T", r))
	}
	return out
}

// fromRecord is the reverse; nil for records that are no machine's.
func fromRecord(r *divisipb.JournalRecord) job.Record {
	switch b := r.GetBody().(type) {
	case *divisipb.JournalRecord_SplitsKnown:
		out := job.SplitsKnown{Source: int(b.SplitsKnown.GetSource())}
		for _, s := range b.SplitsKnown.GetSplits() {
			out.Splits = append(out.Splits, fromSplit(s))
		}
		return out
	case *divisipb.JournalRecord_SinkPrepared:
		return job.SinkPrepared{Sink: int(b.SinkPrepared.GetSink()), Prepared: b.SinkPrepared.GetPrepared()}
	case *divisipb.JournalRecord_StagePlanned:
		out := job.StagePlanned{Stage: int(b.StagePlanned.GetStage()), Why: b.StagePlanned.GetWhy()}
		for _, t := range b.StagePlanned.GetTasks() {
			p := job.Planned{
				Split: int(t.GetSplit()), Lo: int(t.GetPartitionLo()), Hi: int(t.GetPartitionHi()),
				ForwardStage: int(t.GetForwardStage()), ForwardIndex: int(t.GetForwardIndex()),
				Share: int(t.GetShare()), Of: int(t.GetShareOf()),
			}
			if mutant.On("shares are not journalled") {
				p.Share, p.Of = 0, 0
			}
			out.Tasks = append(out.Tasks, p)
		}
		return out
	case *divisipb.JournalRecord_TaskWon:
		w := b.TaskWon
		return job.TaskWon{
			Attempt: fromTaskID(w.GetResult().GetId()), Worker: job.Worker{ID: w.GetWorker(), Incarnation: w.GetIncarnation()},
			Address: w.GetAddress(), Result: fromResult(w.GetResult()),
		}
	case *divisipb.JournalRecord_TaskFailed:
		f := fromFailure(b.TaskFailed.GetFailure())
		f.Worker.ID = b.TaskFailed.GetWorker()
		return job.TaskFailed{Failure: f, Counted: b.TaskFailed.GetCounted(), Next: b.TaskFailed.GetMemoryBytes(), Alone: b.TaskFailed.GetAlone()}
	case *divisipb.JournalRecord_OutputLost:
		return job.OutputLost{Attempt: fromTaskID(b.OutputLost.GetTask()), Why: b.OutputLost.GetWhy(), Unreadable: b.OutputLost.GetUnreadable()}
	case *divisipb.JournalRecord_TaskSlow:
		return job.TaskSlow{Attempt: fromTaskID(b.TaskSlow.GetTask()), Worker: job.Worker{ID: b.TaskSlow.GetWorker()}, Why: b.TaskSlow.GetWhy(), Copy: b.TaskSlow.GetCopy()}
	case *divisipb.JournalRecord_TaskSplit:
		c := b.TaskSplit.GetCut()
		return job.TaskSplit{
			Attempt: fromTaskID(b.TaskSplit.GetTask()), Worker: job.Worker{ID: b.TaskSplit.GetWorker()},
			Kept: fromSplit(c.GetKept()), Rest: fromSplit(c.GetRest()), Floor: b.TaskSplit.GetFloor(),
		}
	case *divisipb.JournalRecord_OutputMoved:
		m := b.OutputMoved
		return job.OutputMoved{Attempt: fromTaskID(m.GetTask()), Worker: job.Worker{ID: m.GetWorker(), Incarnation: m.GetIncarnation()}, Address: m.GetAddress()}
	case *divisipb.JournalRecord_AttemptsReserved:
		return job.AttemptsReserved{Limit: b.AttemptsReserved.GetLimit()}
	case *divisipb.JournalRecord_PublishBegan:
		return job.PublishBegan{}
	case *divisipb.JournalRecord_SinkPublished:
		return job.SinkPublished{Sink: int(b.SinkPublished.GetSink())}
	case *divisipb.JournalRecord_JobEnded:
		return job.Ended{State: fromState(b.JobEnded.GetState()), Error: b.JobEnded.GetError(), Stack: b.JobEnded.GetErrorStack(), Names: b.JobEnded.GetErrorNames()}
	case *divisipb.JournalRecord_SinkCleaned:
		return job.SinkCleaned{Sink: int(b.SinkCleaned.GetSink()), GaveUp: b.SinkCleaned.GetGaveUp()}
	case *divisipb.JournalRecord_JobCleaned:
		return job.Cleaned{}
	}
	return nil
}
