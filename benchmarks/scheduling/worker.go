package scheduling

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	splits int // what a splits task finds
	conn   *grpc.ClientConn
	stream pb.Control_AttachClient
	epoch  uint64
	done   *atomic.Int64 // tasks of stages, of all workers
	beat   time.Duration
}

// splitsPerMessage is how task hosts cut the results of splits tasks.
const splitsPerMessage = 1000

// attach registers; the worker is to be run then.
func attach(ctx context.Context, coordinator, id string, slots int32, splits int, done *atomic.Int64) (_ *worker, err error) {
	w := &worker{id: id, slots: slots, splits: splits, done: done}
	w.conn, err = grpc.NewClient("passthrough:///"+coordinator, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.conn.Close()
		}
	}()
	if w.stream, err = pb.NewControlClient(w.conn).Attach(ctx); err != nil {
		return nil, err
	}
	err = w.stream.Send(&pb.FromWorker{Body: &pb.FromWorker_Register{Register: &pb.Register{
		Protocol: version.Protocol, Version: version.String(), Worker: id, Incarnation: id + "-1", Host: id, Slots: slots,
		MemoryBytes: int64(slots) << 30, ExchangeAddress: "127.0.0.1:1", Os: "linux", Arch: "amd64",
	}}})
	if err != nil && err != io.EOF { // EOF: Recv has the reason
		return nil, err
	}
	first, err := w.stream.Recv()
	if err != nil {
		return nil, err
	}
	if first.GetWelcome() == nil {
		return nil, fmt.Errorf("worker %s was welcomed with a %T", id, first.GetBody())
	}
	w.epoch = first.GetEpoch()
	w.beat = time.Duration(first.GetWelcome().GetHeartbeatMillis()) * time.Millisecond
	return w, nil
}

// run does what the coordinator asks for until ctx ends.
func (w *worker) run(ctx context.Context) error {
	defer w.conn.Close()
	said := make(chan *pb.ToWorker, 64)
	lost := make(chan error, 1)
	go func() { // ends with the connection
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
	}()
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
		for _, r := range w.results(b.Launch.GetTask()) {
			if err := w.send(&pb.FromWorker{Body: &pb.FromWorker_Result{Result: r}}); err != nil {
				return err
			}
		}
	case *pb.ToWorker_EndJob:
		return w.send(&pb.FromWorker{Body: &pb.FromWorker_JobGone{JobGone: &pb.JobGone{Job: b.EndJob.GetJob(), HostsOnly: b.EndJob.GetHostsOnly()}}})
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
		for i := range w.splits {
			if len(r.Splits) == splitsPerMessage {
				r.More = true
				all = append(all, r)
				r = &pb.TaskResult{Id: t.GetId(), Kind: t.GetKind()}
			}
			r.Splits = append(r.Splits, &pb.Split{Id: fmt.Sprintf("part-%d", i), Bytes: 1})
		}
	case pb.TaskKind_TASK_KIND_RUN:
		w.done.Add(1)
		r.Stats = &pb.TaskStats{WallNanos: 1}
		id := t.GetId()
		r.Receipt, _ = json.Marshal(dataflow.Receipt{Task: dataflow.TaskID{ // never fails
			Job: id.GetJob(), Stage: int(id.GetStage()), Index: int(id.GetIndex()), Attempt: int(id.GetAttempt()),
		}})
	}
	return append(all, r)
}
