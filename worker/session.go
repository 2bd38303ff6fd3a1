package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/internal/security"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// After losing the coordinator the worker tries again, first soon, then every second,
// for ever: its hosts go on meanwhile.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
	// retryOthers is the most that is waited where there are several coordinators, of which
	// one may take over at any moment.
	retryOthers = 250 * time.Millisecond
	// connectWithin is how long a coordinator may take to answer a connection when there
	// are others: one that is stopped accepts and says nothing.
	connectWithin = time.Second
	// messageMax is the largest message between coordinator and worker.
	messageMax = 16 << 20
)

// A session is one connection to the coordinator.
type session struct {
	conn   *grpc.ClientConn
	client pb.ControlClient
	stream pb.Control_AttachClient
	out    *outbox[*pb.FromWorker]

	heartbeat, lease time.Duration
	begun            time.Time
	heard            atomic.Int64 // when a message came last, nanoseconds since begun
}

func newSession(conn *grpc.ClientConn) *session {
	return &session{conn: conn, client: pb.NewControlClient(conn), out: newOutbox[*pb.FromWorker](), begun: time.Now()}
}

func (s *session) hear() { s.heard.Store(int64(time.Since(s.begun))) }

// silence is how long no message has come.
func (s *session) silence() time.Duration {
	return time.Since(s.begun) - time.Duration(s.heard.Load())
}

// keepRegistered attaches to the coordinator, again and again until ctx ends.
func (w *Worker) keepRegistered(ctx context.Context) {
	wait, most := retryFirst, retryMost
	addrs := addresses(w.cfg.Coordinator)
	if len(addrs) > 1 {
		most = retryOthers
	}
	for at := 0; ctx.Err() == nil; at = (at + 1) % len(addrs) {
		addr := addrs[at]
		welcomed, err := w.attach(ctx, addr, slices.Delete(slices.Clone(addrs), at, at+1))
		if ctx.Err() != nil {
			return
		}
		if welcomed {
			wait = retryFirst
		}
		var succeeded *successor
		switch code := status.Code(err); {
		case code == codes.Aborted && w.drained():
			w.log.Info("drained", "worker", w.id)
			w.cancel()
			return
		case code == codes.Aborted && !welcomed:
			w.log.Warn("this incarnation was given up; beginning another", "worker", w.id, "err", err)
			w.renew()
			at += len(addrs) - 1 // the same once more
			continue
		case errors.As(err, &succeeded):
			w.log.Warn("another coordinator is at work; going there", "coordinator", succeeded.addr, "epoch", succeeded.epoch, "err", err)
			at = slices.Index(addrs, succeeded.addr) + len(addrs) - 1
			continue
		case (code == codes.FailedPrecondition || code == codes.InvalidArgument) && !w.hasRegistered():
			w.fail(fmt.Errorf("worker: the coordinator at %s refuses this worker: %s", addr, status.Convert(err).Message()))
			return
		}
		w.log.Warn("the coordinator is not reached; trying again", "coordinator", addr, "in", wait, "err", err)
		if at < len(addrs)-1 && !welcomed {
			continue // the others first
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, most)
	}
}

func (w *Worker) drained() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.drain
}

func (w *Worker) hasRegistered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.epoch > 0
}

// addresses of coordinators in a list with commas between.
func addresses(list string) []string {
	var all []string
	for a := range strings.SplitSeq(list, ",") {
		if a = strings.TrimSpace(a); a != "" && !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	if len(all) == 0 {
		all = []string{list}
	}
	return all
}

// dial makes a connection that is opened when it is used.
func (w *Worker) dial(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(w.cfg.Identity.Dial(security.Coordinator)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithStaticStreamWindowSize(4<<20), grpc.WithStaticConnWindowSize(16<<20), // as the coordinator's
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
	)
}

// attach is one session, from registering to its end; welcomed says how far it came.
// others are where another coordinator may take this one's place.
func (w *Worker) attach(ctx context.Context, addr string, others []string) (welcomed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := w.dial(addr)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	s := newSession(conn)
	if len(others) > 0 {
		if err := connected(ctx, conn); err != nil {
			return false, err
		}
	}
	told, err := w.register(ctx, s, cancel)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return false, err
	}
	w.log.Info("registered", "coordinator", addr, "worker", w.id, "epoch", told.epoch)
	for _, j := range told.welcome.ForgetJobs {
		w.endJob(&pb.EndJob{Job: j}, false)
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.sendAll(ctx); !errors.Is(err, io.EOF) { // EOF: the reason comes to who receives
			cancel(err)
		}
	})
	wg.Go(func() { w.beat(ctx, s, cancel) })
	if len(others) > 0 {
		wg.Go(func() { w.seek(ctx, s, others, cancel) })
	}
	err = w.receive(s)
	w.setSession(nil)
	// The coordinator's word is the reason, unless it was we who ended this.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(err)
	s.out.close()
	wg.Wait()
	return true, err
}

func (w *Worker) setSession(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setSessionLocked(s)
}

// setSessionLocked changes the session and wakes who waits for one. The caller holds mu.
func (w *Worker) setSessionLocked(s *session) {
	w.session = s
	close(w.sessionChanged)
	w.sessionChanged = make(chan struct{})
}

// awaitSession returns when there is a coordinator.
func (w *Worker) awaitSession(ctx context.Context) (*session, error) {
	for {
		w.mu.Lock()
		s, changed := w.session, w.sessionChanged
		w.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-changed:
		}
	}
}

// sendAll sends what is put into the outbox.
func (s *session) sendAll(ctx context.Context) error {
	for {
		m, err := s.out.take(ctx)
		if err != nil {
			return err
		}
		if err := s.stream.Send(m); err != nil {
			return err
		}
	}
}

// beat sends heartbeats and gives the coordinator up after a lease of silence.
func (w *Worker) beat(ctx context.Context, s *session, cancel context.CancelCauseFunc) {
	tick := time.NewTicker(s.heartbeat)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if silence := s.silence(); silence > s.lease+s.heartbeat {
			cancel(fmt.Errorf("the coordinator has said nothing for %s", silence.Round(time.Millisecond)))
			return
		}
		w.send(&pb.FromWorker{Body: &pb.FromWorker_Heartbeat{Heartbeat: w.heartbeat(n)}})
	}
}

// send passes a message to the coordinator, where there is one.
func (w *Worker) send(m *pb.FromWorker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sendLocked(m)
}

func (w *Worker) sendLocked(m *pb.FromWorker) {
	if w.session != nil {
		m.Epoch = w.epoch
		w.session.out.put(m)
	}
}

// receive carries out what the coordinator says, until the stream ends.
func (w *Worker) receive(s *session) error {
	var launches pb.Launches
	for {
		m, err := s.stream.Recv()
		if err == io.EOF {
			return errors.New("the coordinator has ended the connection")
		}
		if err != nil {
			return err
		}
		s.hear()
		w.mu.Lock()
		stale := m.Epoch < w.epoch
		w.mu.Unlock()
		if stale {
			w.log.Warn("a message of an earlier epoch is dropped", "epoch", m.Epoch)
			continue
		}
		switch b := m.Body.(type) {
		case *pb.ToWorker_Job:
			w.tellJob(b.Job)
		case *pb.ToWorker_JobUpdate:
			w.updateJob(b.JobUpdate)
		case *pb.ToWorker_Locations:
			w.tellLocations(b.Locations)
		case *pb.ToWorker_Launch:
			if spec := launches.Add(b.Launch.Task); spec != nil {
				w.launch(spec)
			}
		case *pb.ToWorker_CancelTask:
			w.cancelTask(b.CancelTask)
		case *pb.ToWorker_CutTask:
			w.cutTask(b.CutTask)
		case *pb.ToWorker_EndJob:
			w.endJob(b.EndJob, true)
		case *pb.ToWorker_Ack:
			w.acked(b.Ack)
		case *pb.ToWorker_AdoptBlocks:
			w.adopt(b.AdoptBlocks)
		case *pb.ToWorker_Drain:
			w.beginDrain(time.Duration(b.Drain.GraceMillis) * time.Millisecond)
		}
	}
}

func (w *Worker) heartbeat(n uint64) *pb.Heartbeat {
	return w.fillHeartbeat(&pb.Heartbeat{Sequence: n})
}

// fillHeartbeat adds how things stand.
func (w *Worker) fillHeartbeat(h *pb.Heartbeat) *pb.Heartbeat {
	free, low := w.cfg.DiskFree(w.cfg.Dir), w.diskLow()
	w.mu.Lock()
	defer w.mu.Unlock()
	h.FreeSlots, h.DiskFreeBytes, h.DiskLow, h.Draining = int32(w.cfg.Slots-w.busy), free, low, w.drain
	for _, j := range w.jobs {
		for _, o := range j.outputs {
			h.DiskUsedBytes += o.bytes
		}
		if j.host == nil {
			continue
		}
		if p := j.host.progress; p != nil {
			h.MemoryUsedBytes += p.RssBytes
		}
		h.Tasks = append(h.Tasks, j.host.tasksProgress()...)
	}
	return h
}
