package worker

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A coordinator that is stopped, or whose host is gone, closes no connection. Workers give
// it up after its lease; where they know of others, which may have taken its place long
// before that, they ask those as soon as it is silent.
const (
	// seekAfter is the silence, in heartbeats, after which others are asked.
	seekAfter = 2
	// seekMost is the longest time between two rounds.
	seekMost = 250 * time.Millisecond
)

// A successor is a coordinator that has taken another's place.
type successor struct {
	addr    string
	epoch   uint64
	silence time.Duration // of the one before it
}

func (e *successor) Error() string {
	return fmt.Sprintf("the coordinator has said nothing for %s, and the one at %s is of the later epoch %d", e.silence.Round(time.Millisecond), e.addr, e.epoch)
}

// seek ends the session as soon as the coordinator is silent and another one of a later
// epoch answers: that one has fenced it off.
func (w *Worker) seek(ctx context.Context, s *session, others []string, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(min(s.heartbeat, seekMost))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.silence() < seekAfter*s.heartbeat {
			continue
		}
		for _, addr := range others {
			if epoch := w.ask(ctx, addr); epoch > w.latest() {
				cancel(&successor{addr, epoch, s.silence()})
				return
			}
		}
	}
}

// ask is the epoch of the coordinator at an address; 0 when none answers.
func (w *Worker) ask(ctx context.Context, addr string) uint64 {
	conn, err := w.dial(addr)
	if err != nil {
		return 0
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	r, err := pb.NewControlClient(conn).Epoch(ctx, &pb.EpochRequest{})
	if err != nil {
		return 0
	}
	return r.GetEpoch()
}

// latest is the epoch of the last coordinator that has welcomed this worker.
func (w *Worker) latest() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoch
}

// connected waits until the other end has said something at all.
func connected(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn.Connect()
	for {
		switch st := conn.GetState(); st {
		case connectivity.Ready, connectivity.TransientFailure: // a call says why
			return nil
		default:
			if !conn.WaitForStateChange(ctx, st) {
				return fmt.Errorf("%s does not answer within %s", conn.Target(), connectWithin)
			}
		}
	}
}
