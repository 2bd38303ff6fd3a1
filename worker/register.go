package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/internal/version"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	// registerWithin is how long the coordinator may take to take a message of a
	// registration, and to answer the last; registerEach is added for each thing named.
	registerWithin = 5 * time.Second
	registerEach   = 10 * time.Microsecond
	// registerPage is about how large such a message is.
	registerPage = 4 << 20
)

// told is how the coordinator received a registration.
type told struct {
	welcome *pb.Welcome
	epoch   uint64
}

// register says who this is and takes the answer; the session is the worker's then.
// cancel ends the session when the coordinator takes too long.
func (w *Worker) register(ctx context.Context, s *session, cancel context.CancelCauseFunc) (told, error) {
	w.mu.Lock()
	pages, named := w.registration()
	w.mu.Unlock()
	patience := registerWithin + time.Duration(named)*registerEach
	late := time.AfterFunc(patience, func() { cancel(errors.New("the coordinator does not answer a registration")) })
	defer late.Stop()
	var err error
	if s.stream, err = s.client.Attach(ctx); err != nil {
		return told{}, err
	}
	for _, p := range pages {
		if err := s.stream.Send(&pb.FromWorker{Body: &pb.FromWorker_Register{Register: p}}); err != nil {
			_, err = s.stream.Recv() // the reason comes here
			return told{}, err
		}
		late.Reset(patience)
	}
	first, err := s.stream.Recv()
	if err != nil {
		return told{}, err
	}
	s.hear()
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
	w.resend(pages)
	w.tellDrained()
	return t, nil
}

// A pager cuts a registration into messages.
type pager struct {
	pages []*pb.Register
	bytes int // of the last one
	named int
}

// page is the message that something of so many bytes goes into.
func (p *pager) page(bytes int) *pb.Register {
	last := p.pages[len(p.pages)-1]
	if p.bytes > 0 && p.bytes+bytes > registerPage {
		last.More = true
		next := proto.CloneOf(p.pages[0])
		next.Running, next.Held, next.UnackedResults, next.UnackedFailures, next.More = nil, nil, nil, nil, false
		p.pages, p.bytes, last = append(p.pages, next), 0, next
	}
	p.bytes += bytes
	p.named++
	return last
}

// registration says who this is and what it still has, and how many things those are.
// The caller holds mu.
func (w *Worker) registration() (pages []*pb.Register, named int) {
	p := &pager{pages: []*pb.Register{{
		Protocol: version.Protocol, Version: version.String(), Worker: w.id, Incarnation: w.incarnation,
		Host: w.cfg.Host, Rack: w.cfg.Rack, Slots: int32(w.cfg.Slots), MemoryBytes: w.cfg.Memory,
		ExchangeAddress: w.advertised(), Os: runtime.GOOS, Arch: runtime.GOARCH, Pid: int32(os.Getpid()),
		Machine: w.cfg.Machine, DataDir: w.cfg.Dir, Draining: w.drain,
	}}}
	const frame = 10 // bytes around a thing in its message
	for _, t := range w.tasks {
		if !t.ended() {
			page := p.page(frame + proto.Size(t.spec.Id))
			page.Running = append(page.Running, t.spec.Id)
			continue
		}
		for _, r := range t.results {
			page := p.page(frame + proto.Size(r))
			page.UnackedResults = append(page.UnackedResults, r)
		}
		if t.failure != nil {
			page := p.page(frame + proto.Size(t.failure))
			page.UnackedFailures = append(page.UnackedFailures, t.failure)
		}
	}
	for _, j := range w.jobs {
		for _, o := range j.outputs {
			page := p.page(frame + proto.Size(o.id))
			if n := len(page.Held); n == 0 || page.Held[n-1].Job != j.id {
				page.Held = append(page.Held, &pb.HeldOutput{Job: j.id})
			}
			h := page.Held[len(page.Held)-1]
			h.Tasks = append(h.Tasks, o.id)
		}
	}
	return p.pages, p.named
}

// resend tells the ends of tasks that a registration called running: they came while
// it was on its way. The caller holds mu.
func (w *Worker) resend(pages []*pb.Register) {
	for _, p := range pages {
		for _, id := range p.Running {
			if t := w.tasks[attemptKey(id)]; t != nil && t.ended() {
				w.tellEnd(t)
			}
		}
	}
}
