package scheduling

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// restartTasks is how large the job is in whose middle the coordinator is killed.
const restartTasks = 10_000

// readers is how many tasks read what the others have made.
const readers = 2

// A restart is a coordinator that is killed while the last tasks of a stage run, and
// another one that goes on from its journal.
type restart struct {
	*cluster
	slow   int // tasks that run when it is killed
	id     string
	before *pb.JobStatus
}

func newRestart(o Options, program string) *restart {
	r := &restart{cluster: newCluster(o, program, filepath.Join(o.Work, "restart-state")), slow: min(o.Workers*o.Slots/2, o.Tasks/2)}
	r.common.slow = o.Tasks - r.slow
	return r
}

// compareRestarts measures how long the second coordinator takes from its start as a
// process until it is ready.
func compareRestarts(ctx context.Context, o Options, program string) harness.Row {
	r := newRestart(o, program)
	return harness.Compare(ctx, harness.Row{
		Work:  "a coordinator that was killed starts again: from exec to ready",
		Size:  fmt.Sprintf("journal of %d tasks", o.Tasks),
		Items: int64(o.Tasks), Item: "task",
	}, o.Runs, o.Log, harness.Entry{
		Name: "divisi, coordinator alone", Version: "this",
		Command: fmt.Sprintf("%d tasks done, %d running on %d simulated workers when it is killed", o.Tasks-r.slow, r.slow, o.Workers),
		Before:  func() error { return r.fall(ctx) }, Run: func(context.Context) error { return r.launch() },
		Check: func() error { return r.check(ctx) }, After: r.stop,
	})
}

// fall brings a job to where all but the slow tasks of its first stage are done, and
// kills the coordinator.
func (r *restart) fall(ctx context.Context) (err error) {
	r.common.acked.Store(0)
	r.common.settled = make(chan struct{})
	if err := r.start(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()
	r.id, err = r.submit(ctx, &plan.Plan{
		Version: plan.Version, Job: "noop", Fingerprint: "f", Sources: []plan.Source{{Name: "in"}}, Sinks: []plan.Sink{{Name: "out"}},
		Exchanges: []plan.Exchange{{Exchange: dataflow.Exchange{Kind: dataflow.Hash, Partitions: readers}, Fixed: true, Producers: []int{0}, Consumers: []int{1}}},
		Stages: []plan.Stage{
			{ID: 0, Name: "make", Inputs: []plan.Input{{Mode: plan.BySplit, Exchange: -1}}, Output: plan.Output{Exchange: 0, Sink: -1, Sample: -1}},
			{ID: 1, Name: "read", Inputs: []plan.Input{{Mode: plan.ByPartition, Source: -1}}, Output: plan.Output{Exchange: -1, Sample: -1}},
		},
	})
	if err != nil {
		return err
	}
	r.before, err = r.await(ctx, r.id, func(st *pb.JobStatus) bool {
		s := st.GetStages()[0]
		return int(s.GetDone()) == r.common.slow && int(s.GetRunning()) == r.slow || st.GetEndedUnixNanos() > 0
	})
	if err != nil {
		return err
	}
	if r.before.GetEndedUnixNanos() > 0 {
		return fmt.Errorf("the job has ended too early: %v %s", r.before.GetState(), r.before.GetError())
	}
	select { // what is told of a job may be ahead of what the journal has
	case <-r.common.settled:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := r.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = r.cmd.Wait() // it was killed
	r.end()
	_ = r.running.Wait() // they lost it
	r.end = nil
	return nil
}

// check compares what the second coordinator knows with what the first knew, and lets the
// job end: no task that was done or that runs may be given to a worker again.
func (r *restart) check(ctx context.Context) error {
	client, conn, err := r.client()
	if err != nil {
		return err
	}
	defer conn.Close()
	st, err := client.GetJob(ctx, &pb.GetJobRequest{Job: r.id}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for i, s := range st.GetStages() {
		if was := r.before.GetStages()[i]; s.GetTasks() != was.GetTasks() || s.GetDone() != was.GetDone() || s.GetState() != was.GetState() {
			return fmt.Errorf("stage %d after the restart: %v\nbefore: %v", i, s, was)
		}
	}
	// Attempts that run are known again when their workers come.
	if st.GetState() != r.before.GetState() || st.GetAttempts() != r.before.GetAttempts()-int64(r.slow) || st.GetTasks() != r.before.GetTasks() {
		return fmt.Errorf("the job after the restart: %v\nbefore: %v", st, r.before)
	}
	if err := r.attach(ctx); err != nil {
		return err
	}
	if err := r.follow(ctx, r.id, r.o.Tasks+readers); err != nil {
		return err
	}
	if n := r.common.done.Load(); n != int64(r.o.Tasks+readers) {
		return fmt.Errorf("the workers were given %d tasks of %d", n, r.o.Tasks+readers)
	}
	return r.winners()
}

// winners finds one of each task in the journal.
func (r *restart) winners() error {
	won := map[[2]int32]bool{}
	err := journal.Read(filepath.Join(r.state, "journal"), func(rec journal.Record) error {
		if t := rec.GetTaskWon().GetResult().GetId(); t != nil {
			if won[[2]int32{t.GetStage(), t.GetIndex()}] {
				return fmt.Errorf("the journal has a second winner of %v", t)
			}
			won[[2]int32{t.GetStage(), t.GetIndex()}] = true
		}
		return nil
	})
	if err == nil && len(won) != r.o.Tasks+readers {
		err = fmt.Errorf("the journal has winners of %d tasks of %d", len(won), r.o.Tasks+readers)
	}
	return err
}
