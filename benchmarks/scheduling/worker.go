package scheduling

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A worker speaks the protocol of one, over a connection of its own, and has no task
// hosts: a task it is given is done at once, with rows that it makes up.
type worker struct {
	id     string
	slots  int32
	common *common

	conn   *grpc.ClientConn
	stream pb.Control_AttachClient
	epoch  uint64
	beat   time.Duration
	// Of all its lives with a coordinator: what it runs, and the outputs that it has.
	running []*pb.TaskSpec
	held    map[string][]*pb.TaskID // by job
}

// common is what all workers share.
type common struct {
	splits int          // what a splits task finds
	done   atomic.Int64 // tasks of stages that were given to any worker
	// Tasks of the first stage from this index on run until their worker attaches again;
	// 0: none does.
	slow    int
	acked   atomic.Int64  // of the first stage's tasks
	settled chan struct{} // closed when all but the slow ones are acknowledged; nil: not asked for
}

// splitsPerMessage is how task hosts cut the results of splits tasks.
const splitsPerMessage = 1000

// attach registers, with all that it has from before; the worker is to be run then.
func (w *worker) attach(ctx context.Context, coordinator string) (err error) {
	w.conn, err = grpc.NewClient("passthrough:///"+coordinator, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.conn.Close()
		}
	}()
	if w.stream, err = pb.NewControlClient(w.conn).Attach(ctx); err != nil {
		return err
	}
	r := &pb.Register{
		Protocol: version.Protocol, Version: version.String(), Worker: w.id, Incarnation: w.id + "-1", Host: w.id, Slots: w.slots,
		MemoryBytes: int64(w.slots) << 30, ExchangeAddress: "127.0.0.1:1", Os: "linux", Arch: "amd64",
	}
	for _, t := range w.running {
		r.Running = append(r.Running, t.GetId())
	}
	for id, tasks := range w.held {
		r.Held = append(r.Held, &pb.HeldOutput{Job: id, Tasks: tasks})
	}
	err = w.stream.Send(&pb.FromWorker{Body: &pb.FromWorker_Register{Register: r}})
	if err != nil && err != io.EOF { // EOF: Recv has the reason
		return err
	}
	first, err := w.stream.Recv()
	if err != nil {
		return err
	}
	if first.GetWelcome() == nil {
		return fmt.Errorf("worker %s was welcomed with a %T", w.id, first.GetBody())
	}
	w.epoch = first.GetEpoch()
	w.beat = time.Duration(first.GetWelcome().GetHeartbeatMillis()) * time.Millisecond
	return nil
}

// run does what the coordinator asks for until ctx ends.
func (w *worker) run(ctx context.Context) error {
	said := make(chan *pb.ToWorker, 64)
	lost := make(chan error, 1)
	var receiver sync.WaitGroup
	defer receiver.Wait()
	defer w.conn.Close()
	receiver.Go(func() { // ends with the connection
		for {
			m, err := w.stream.Recv()
			if err != nil {
				lost <- err
				return
			}
			select {
			case said <- m:
			case <-ctx.Done():
			}
		}
	})
	for _, t := range w.running { // from before: slow enough
		if err := w.report(t); err != nil {
			return err
		}
	}
	w.running = nil
	tick := time.NewTicker(w.beat)
	defer tick.Stop()
	for n := uint64(1); ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost:
			if ctx.Err() != nil || status.Code(err) == codes.Canceled {
				return nil
			}
			return fmt.Errorf("worker %s: %w", w.id, err)
		case <-tick.C:
			if err := w.send(&pb.FromWorker{Body: &pb.FromWorker_Heartbeat{Heartbeat: &pb.Heartbeat{Sequence: n, FreeSlots: w.slots}}}); err != nil {
				return err
			}
			n++
		case m := <-said:
			if err := w.take(m); err != nil {
				return err
			}
		}
	}
}

func (w *worker) take(m *pb.ToWorker) error {
	switch b := m.GetBody().(type) {
	case *pb.ToWorker_Launch:
		t := b.Launch.GetTask()
		if t.GetKind() == pb.TaskKind_TASK_KIND_RUN {
			w.common.done.Add(1)
			if first := t.GetId().GetStage() == 0; first && w.common.slow > 0 && int(t.GetId().GetIndex()) >= w.common.slow {
				w.running = append(w.running, t)
				return nil
			}
		}
		return w.report(t)
	case *pb.ToWorker_Ack:
		if t := b.Ack.GetTask(); t != nil && t.GetStage() == 0 && w.common.acked.Add(1) == int64(w.common.slow) {
			close(w.common.settled)
		}
	case *pb.ToWorker_EndJob:
		return w.send(&pb.FromWorker{Body: &pb.FromWorker_JobGone{JobGone: &pb.JobGone{Job: b.EndJob.GetJob(), HostsOnly: b.EndJob.GetHostsOnly()}}})
	}
	return nil
}

// report ends a task.
func (w *worker) report(t *pb.TaskSpec) error {
	for _, r := range w.results(t) {
		if err := w.send(&pb.FromWorker{Body: &pb.FromWorker_Result{Result: r}}); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) send(m *pb.FromWorker) error {
	m.Epoch = w.epoch
	if err := w.stream.Send(m); err != nil && err != io.EOF { // EOF: Recv has the reason
		return fmt.Errorf("worker %s: %w", w.id, err)
	}
	return nil
}

// results are those of a task that found nothing to do.
func (w *worker) results(t *pb.TaskSpec) []*pb.TaskResult {
	r := &pb.TaskResult{Id: t.GetId(), Kind: t.GetKind()}
	var all []*pb.TaskResult
	switch t.GetKind() {
	case pb.TaskKind_TASK_KIND_SPLITS:
		for i := range w.common.splits {
			if len(r.Splits) == splitsPerMessage {
				r.More = true
				all = append(all, r)
				r = &pb.TaskResult{Id: t.GetId(), Kind: t.GetKind()}
			}
			r.Splits = append(r.Splits, &pb.Split{Id: fmt.Sprintf("part-%d", i), Bytes: 1})
		}
	case pb.TaskKind_TASK_KIND_RUN:
		r.Stats = &pb.TaskStats{WallNanos: 1}
		id := t.GetId()
		if w.common.slow > 0 && id.GetStage() == 0 {
			r.Output = &pb.PartitionSizes{Bytes: []int64{1, 1}, Rows: []int64{1, 1}}
			if w.held == nil {
				w.held = map[string][]*pb.TaskID{}
			}
			w.held[id.GetJob()] = append(w.held[id.GetJob()], id)
			break
		}
		r.Receipt, _ = json.Marshal(dataflow.Receipt{Task: dataflow.TaskID{ // never fails
			Job: id.GetJob(), Stage: int(id.GetStage()), Index: int(id.GetIndex()), Attempt: int(id.GetAttempt()),
		}})
	}
	return append(all, r)
}
