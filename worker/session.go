package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// After losing the coordinator the worker tries again, first soon, then every second,
// for ever: its hosts go on meanwhile.
const (
	retryFirst = 50 * time.Millisecond
	retryMost  = time.Second
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
	heard            chan struct{} // a message came
}

// keepRegistered attaches to the coordinator, again and again until ctx ends.
func (w *Worker) keepRegistered(ctx context.Context) {
	wait := retryFirst
	for ctx.Err() == nil {
		began := time.Now()
		err := w.attach(ctx)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errGivenUp) {
			w.log.Warn("the coordinator had given this worker up; beginning anew", "incarnation", w.incarnation)
			w.beginAnew()
			continue
		}
		if time.Since(began) > 5*time.Second {
			wait = retryFirst
		}
		w.log.Warn("the coordinator is not reached; trying again", "coordinator", w.cfg.Coordinator, "in", wait, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
	}
}

// errGivenUp says that the coordinator has declared this incarnation lost, and done its
// work elsewhere.
var errGivenUp = errors.New("this incarnation was given up")

// beginAnew drops all that the incarnation held and takes a new one.
func (w *Worker) beginAnew() {
	w.endAllJobs()
	w.closing.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incarnation = randomID()
	w.drain = false
}

// attach is one session, from registering to its end.
func (w *Worker) attach(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := grpc.NewClient("passthrough:///"+w.cfg.Coordinator,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
	)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := &session{conn: conn, client: pb.NewControlClient(conn), out: newOutbox[*pb.FromWorker](), heard: make(chan struct{}, 1)}
	if s.stream, err = s.client.Attach(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	register := w.registerMessage()
	w.mu.Unlock()
	if err := s.stream.Send(&pb.FromWorker{Body: &pb.FromWorker_Register{Register: register}}); err != nil {
		_, err = s.stream.Recv() // the reason comes here
		return err
	}
	first, err := s.stream.Recv()
	if status.Code(err) == codes.Aborted {
		return fmt.Errorf("%w: %v", errGivenUp, err)
	}
	if err != nil {
		return err
	}
	welcome := first.GetWelcome()
	if welcome == nil {
		return errors.New("the coordinator's first message is not a welcome")
	}
	w.mu.Lock()
	if first.Epoch < w.epoch {
		w.mu.Unlock()
		return fmt.Errorf("stale epoch: the coordinator is at %d, a later one has reached %d", first.Epoch, w.epoch)
	}
	w.epoch = first.Epoch
	s.heartbeat = time.Duration(max(welcome.HeartbeatMillis, 10)) * time.Millisecond
	s.lease = time.Duration(max(welcome.LeaseMillis, 100)) * time.Millisecond
	w.session = s
	// What ended between the registration and now was not told.
	w.resend(register)
	w.mu.Unlock()
	w.log.Info("registered", "coordinator", w.cfg.Coordinator, "worker", w.id, "epoch", first.Epoch)
	for _, j := range welcome.ForgetJobs {
		w.endJob(&pb.EndJob{Job: j}, false)
	}

	var wg sync.WaitGroup
	wg.Go(func() { cancel(s.sendAll(ctx)) })
	wg.Go(func() { w.beat(ctx, s, cancel) })
	err = w.receive(s)
	cancel(err)
	s.out.close()
	wg.Wait()
	w.mu.Lock()
	w.session = nil
	w.mu.Unlock()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
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
	last := time.Now()
	for n := uint64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-s.heard:
			last = time.Now()
			n--
			continue
		case <-tick.C:
		}
		if silence := time.Since(last); silence > s.lease+s.heartbeat {
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
	for {
		m, err := s.stream.Recv()
		if err == io.EOF {
			return errors.New("the coordinator has ended the connection")
		}
		if err != nil {
			return err
		}
		select {
		case s.heard <- struct{}{}:
		default:
		}
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
			w.launch(b.Launch.Task)
		case *pb.ToWorker_CancelTask:
			w.cancelTask(b.CancelTask)
		case *pb.ToWorker_EndJob:
			w.endJob(b.EndJob, true)
		case *pb.ToWorker_Ack:
			w.acked(b.Ack)
		case *pb.ToWorker_Drain:
			w.beginDrain()
		}
	}
}

// registerMessage says who this is and what it still has. The caller holds mu.
func (w *Worker) registerMessage() *pb.Register {
	r := &pb.Register{
		Protocol: version.Protocol, Version: version.String(), Worker: w.id, Incarnation: w.incarnation,
		Host: w.cfg.Host, Rack: w.cfg.Rack, Slots: int32(w.cfg.Slots), MemoryBytes: w.cfg.Memory,
		ExchangeAddress: w.Addr(), Os: runtime.GOOS, Arch: runtime.GOARCH, Pid: int32(os.Getpid()),
		Machine: machine(), DataDir: w.cfg.Dir,
	}
	for _, t := range w.tasks {
		if len(t.results) == 0 && t.failure == nil {
			r.Running = append(r.Running, t.spec.Id)
		}
		r.UnackedResults = append(r.UnackedResults, t.results...)
		if t.failure != nil {
			r.UnackedFailures = append(r.UnackedFailures, t.failure)
		}
	}
	for _, j := range w.jobs {
		h := &pb.HeldOutput{Job: j.id}
		for _, t := range j.outputs {
			h.Tasks = append(h.Tasks, t)
		}
		if len(h.Tasks) > 0 {
			r.Held = append(r.Held, h)
		}
	}
	return r
}

// resend sends the ends of tasks that register called running. The caller holds mu.
func (w *Worker) resend(r *pb.Register) {
	for _, id := range r.Running {
		t := w.tasks[attemptKey(id)]
		if t == nil {
			continue
		}
		for _, m := range t.results {
			w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_Result{Result: m}})
		}
		if t.failure != nil {
			w.sendLocked(&pb.FromWorker{Body: &pb.FromWorker_Failure{Failure: t.failure}})
		}
	}
}

func (w *Worker) heartbeat(n uint64) *pb.Heartbeat {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &pb.Heartbeat{Sequence: n, FreeSlots: int32(w.cfg.Slots - w.busy), DiskFreeBytes: diskFree(w.cfg.Dir)}
	for _, j := range w.jobs {
		if j.host != nil && j.host.progress != nil {
			h.Tasks = append(h.Tasks, j.host.progress.Tasks...)
			h.MemoryUsedBytes += j.host.progress.RssBytes
		}
	}
	return h
}
