package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
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
	// registerWithin is how long the coordinator may take to answer a registration.
	registerWithin = 5 * time.Second
	// messageMax is the largest message between coordinator and worker, registerMax how
	// much of a registration the ends of tasks may be: others are told after it.
	messageMax  = 16 << 20
	registerMax = 8 << 20
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
	addrs := strings.Split(w.cfg.Coordinator, ",")
	for at := 0; ctx.Err() == nil; at = (at + 1) % len(addrs) {
		addr := addrs[at]
		welcomed, err := w.attach(ctx, addr)
		if ctx.Err() != nil {
			return
		}
		if welcomed {
			wait = retryFirst
		}
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
		wait = min(2*wait, retryMost)
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

// renew begins a new incarnation: the tasks of this one have been given to others, so
// it drops all it has.
func (w *Worker) renew() {
	w.endAllJobs()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incarnation = randomID()
}

// attach is one session, from registering to its end; welcomed says how far it came.
func (w *Worker) attach(ctx context.Context, addr string) (welcomed bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conn, err := grpc.NewClient("passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageMax), grpc.MaxCallSendMsgSize(messageMax)),
	)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	s := &session{conn: conn, client: pb.NewControlClient(conn), out: newOutbox[*pb.FromWorker](), heard: make(chan struct{}, 1)}
	late := time.AfterFunc(registerWithin, func() { cancel(fmt.Errorf("the coordinator has not answered within %s", registerWithin)) })
	defer late.Stop()
	told, err := w.register(ctx, s)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return false, err
	}
	late.Stop()
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

// told is how the coordinator received a registration.
type told struct {
	welcome *pb.Welcome
	epoch   uint64
}

// register says who this is and takes the answer; the session is the worker's then.
func (w *Worker) register(ctx context.Context, s *session) (told, error) {
	var err error
	if s.stream, err = s.client.Attach(ctx); err != nil {
		return told{}, err
	}
	w.mu.Lock()
	register := w.registerMessage()
	w.mu.Unlock()
	if err := s.stream.Send(&pb.FromWorker{Body: &pb.FromWorker_Register{Register: register}}); err != nil {
		_, err = s.stream.Recv() // the reason comes here
		return told{}, err
	}
	first, err := s.stream.Recv()
	if err != nil {
		return told{}, err
	}
	t := told{first.GetWelcome(), first.Epoch}
	if t.welcome == nil {
		return told{}, errors.New("the coordinator's first message is not a welcome")
	}
	s.heartbeat = time.Duration(max(t.welcome.HeartbeatMillis, 10)) * time.Millisecond
	s.lease = time.Duration(max(t.welcome.LeaseMillis, 100)) * time.Millisecond
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.epoch < w.epoch {
		return told{}, fmt.Errorf("stale epoch: the coordinator is at %d, a later one has reached %d", t.epoch, w.epoch)
	}
	w.epoch = t.epoch
	w.setSessionLocked(s)
	w.resend(register)
	w.tellDrained()
	return t, nil
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
	var launches pb.Launches
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

// registerMessage says who this is and what it still has. The caller holds mu.
func (w *Worker) registerMessage() *pb.Register {
	r := &pb.Register{
		Protocol: version.Protocol, Version: version.String(), Worker: w.id, Incarnation: w.incarnation,
		Host: w.cfg.Host, Rack: w.cfg.Rack, Slots: int32(w.cfg.Slots), MemoryBytes: w.cfg.Memory,
		ExchangeAddress: w.advertised(), Os: runtime.GOOS, Arch: runtime.GOARCH, Pid: int32(os.Getpid()),
		Machine: w.cfg.Machine, DataDir: w.cfg.Dir, Draining: w.drain,
	}
	size := 0
	for _, t := range w.tasks {
		if t.ended() {
			n := t.size()
			if size+n <= registerMax {
				size += n
				r.UnackedResults = append(r.UnackedResults, t.results...)
				if t.failure != nil {
					r.UnackedFailures = append(r.UnackedFailures, t.failure)
				}
				continue
			}
		}
		r.Running = append(r.Running, t.spec.Id)
	}
	for _, j := range w.jobs {
		h := &pb.HeldOutput{Job: j.id}
		for _, o := range j.outputs {
			h.Tasks = append(h.Tasks, o.id)
		}
		if len(h.Tasks) > 0 {
			r.Held = append(r.Held, h)
		}
	}
	return r
}

// resend tells the ends of tasks that a registration called running: they came while
// it was on its way, or did not fit. The caller holds mu.
func (w *Worker) resend(r *pb.Register) {
	for _, id := range r.Running {
		if t := w.tasks[attemptKey(id)]; t != nil && t.ended() {
			w.tellEnd(t)
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
