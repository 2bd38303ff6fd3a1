package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// A host is a task host and the worker's end of the connection to it. Fields are
// guarded by the worker's mu but for what is set before its goroutine starts.
type host struct {
	w   *Worker
	job *job
	out *outbox[*pb.ToHost]

	cancel   context.CancelCauseFunc
	attached chan struct{} // closed when the process has called
	heard    chan struct{} // closed when all it said has been taken in
	done     chan struct{} // closed when the process is gone and its tasks are ended

	tasks    map[string]*task // given to it and not ended
	progress *pb.HostProgress
	logName  string
	once     sync.Once
	spoke    atomic.Bool  // it has said something since that was last looked at
	quiet    atomic.Int64 // looks in which it said nothing, one after the other
}

const (
	// attachWithin is how long a program may take from its start to its call. It calls
	// before it builds the job's graph.
	attachWithin = 30 * time.Second
	// lastWords is how long is waited for what a process said before it ended.
	lastWords = time.Second
	// receiptBytesMax is how much a message to a host has of the receipts to publish.
	receiptBytesMax = 2 << 20
)

// startHost begins to start a job's host; what is put into its outbox is sent once it
// is there. The caller holds mu.
func (w *Worker) startHost(j *job) *host {
	ctx, cancel := context.WithCancelCause(context.Background())
	j.hosts++
	h := &host{
		w: w, job: j, out: newOutbox[*pb.ToHost](), cancel: cancel, tasks: map[string]*task{},
		attached: make(chan struct{}), heard: make(chan struct{}), done: make(chan struct{}),
		logName: filepath.Join(exchange.LogDir(w.cfg.Dir, j.id), exchange.HostLog(j.hosts)),
	}
	init := &pb.HostInit{
		Job: j.spec, Worker: w.id, Dirs: w.jobDirs(j.id), LogDir: exchange.LogDir(w.cfg.Dir, j.id),
		FilesDir: filepath.Join(exchange.JobDir(w.cfg.Dir, j.id), "files"), Slots: int32(w.cfg.Slots),
		MemoryBytes: w.cfg.Memory, ExchangeAddress: w.advertised(), Machine: w.cfg.Machine, LowWaterBytes: w.cfg.LowWater,
		Authorities: w.cfg.Identity.Bundle(), JobToken: w.cfg.Identity.Token(j.id),
	}
	if m := j.spec.MemoryBytes; m > 0 { // a job may ask for less than there is
		init.MemoryBytes = min(m, w.cfg.Memory)
	}
	h.out.put(&pb.ToHost{Body: &pb.ToHost_Init{Init: init}})
	if len(j.prepared) > 0 {
		h.out.put(&pb.ToHost{Body: &pb.ToHost_JobUpdate{JobUpdate: &pb.JobUpdate{Job: j.id, Prepared: j.prepared}}})
	}
	for _, told := range j.told {
		for _, l := range told {
			h.out.put(&pb.ToHost{Body: &pb.ToHost_Locations{Locations: l}})
		}
	}
	go h.run(ctx)
	return h
}

// tasksProgress is what the host last said of its tasks. One that it has not spoken of
// is there all the same, so that a host that says nothing at all is noticed; as long as
// programs are fetched, that is how it gets on. The caller holds the worker's mu.
func (h *host) tasksProgress() []*pb.TaskProgress {
	var all []*pb.TaskProgress
	spoken := map[string]bool{}
	if h.progress != nil {
		all = h.progress.Tasks
		for _, p := range all {
			spoken[attemptKey(p.Id)] = true
		}
	}
	for key, t := range h.tasks {
		if !spoken[key] {
			all = append(all[:len(all):len(all)], &pb.TaskProgress{Id: t.spec.Id, Steps: h.w.artifacts.fetched.Load()})
		}
	}
	if quiet := h.quiet.Load(); quiet > 1 { // one look may fall between two reports
		all = slices.Clone(all)
		for i := range all {
			all[i] = proto.CloneOf(all[i])
			all[i].SilentNanos = quiet * int64(h.w.cfg.silence/hostLooks)
		}
	}
	return all
}

// kill ends the host's process; done is closed when it has.
func (h *host) kill(why string) { h.cancel(errors.New(why)) }

// run is the host's life, from fetching its program to its end.
func (h *host) run(ctx context.Context) {
	defer close(h.done)
	err := h.serve(ctx)
	h.cancel(nil)
	h.out.close()
	h.w.hostGone(h, err)
}

// serve starts the process and waits until it has ended.
func (h *host) serve(ctx context.Context) error {
	w, j := h.w, h.job
	transient := func(err error) error { return &hostError{kind: dataflow.Transient, err: err} }
	dir := exchange.JobDir(w.cfg.Dir, j.id)
	work := filepath.Join(dir, "work")
	dirs := []string{exchange.LogDir(w.cfg.Dir, j.id), exchange.ShuffleDir(w.cfg.Dir, j.id)}
	if len(j.spec.Files) > 0 {
		dirs = append(dirs, filepath.Join(dir, "files"))
	}
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return transient(err)
		}
	}
	if err := h.fetchFiles(ctx); err != nil {
		return transient(err)
	}
	p := w.takeReady(h, work)
	if p == nil {
		binary, err := h.fetchProgram(ctx)
		if err != nil {
			return transient(err)
		}
		start := HostStart{Job: j.spec, Binary: binary, Dir: work, Host: w.cfg.Host}
		if p, err = w.startProgram(ctx, start, h.logName); err != nil {
			return transient(err)
		}
	}
	defer p.close()
	p.become(h)
	return h.watch(ctx, p)
}

// watch returns when the process has ended, and why.
func (h *host) watch(ctx context.Context, p *program) error {
	late := time.NewTimer(attachWithin)
	defer late.Stop()
	select {
	case <-h.attached:
		late.Stop()
	case err := <-p.ended:
		return died(err, h.logName)
	case <-late.C:
		p.process.Kill()
		<-p.ended
		return &hostError{kind: dataflow.Unknown, killed: true,
			err: fmt.Errorf("it did not call its worker within %s: is the program a job's?", attachWithin)}
	case <-ctx.Done():
	}
	select {
	case <-h.silent(ctx):
		p.process.Kill()
		<-p.ended
		return &hostError{kind: dataflow.WorkerLost, err: fmt.Errorf("it said nothing for %s: stopped, or starved; it was killed", h.w.cfg.silence)}
	case err := <-p.ended:
		select { // what it said last counts
		case <-h.heard:
		case <-time.After(lastWords):
		}
		return died(err, h.logName)
	case <-ctx.Done():
		p.process.Kill()
		<-p.ended
		return context.Cause(ctx)
	}
}

// A host reports every second, whatever its tasks do. One that has begun to and then
// says nothing for so long is stopped, and would keep its tasks for ever.
const (
	hostSilence = 5 * time.Second
	hostLooks   = 10 // at it in that time
)

// silent is closed when the host has said nothing for the worker's silence. It is
// counted in looks, not by the clock, so that a time in which this process did not run
// either does not count. Watching ends with ctx.
func (h *host) silent(ctx context.Context) <-chan struct{} {
	gone := make(chan struct{})
	go func() {
		tick := time.NewTicker(h.w.cfg.silence / hostLooks)
		defer tick.Stop()
		begun, quiet := false, 0
		for quiet < hostLooks {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if h.spoke.Swap(false) {
				begun, quiet = true, 0
			} else if begun {
				quiet++
			}
			h.quiet.Store(int64(quiet))
		}
		close(gone)
	}()
	return gone
}

// fetchFiles brings the job's files into its folder.
func (h *host) fetchFiles(ctx context.Context) error {
	for _, f := range h.job.spec.Files {
		if err := h.fetch(ctx, f.Sha256, filepath.Join(exchange.JobDir(h.w.cfg.Dir, h.job.id), "files", filepath.Base(f.Name))); err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
	}
	return nil
}

// fetchProgram brings the job's program into its folder and returns its path.
func (h *host) fetchProgram(ctx context.Context) (string, error) {
	if h.job.spec.BinarySha256 == "" {
		return os.Executable()
	}
	binary := filepath.Join(exchange.JobDir(h.w.cfg.Dir, h.job.id), "program")
	return binary, h.fetch(ctx, h.job.spec.BinarySha256, binary)
}

// fetch brings one artifact. A coordinator that goes meanwhile is waited for.
func (h *host) fetch(ctx context.Context, sha, path string) error {
	for {
		s, err := h.w.awaitSession(ctx)
		if err != nil {
			return err
		}
		err = h.w.artifacts.link(ctx, s.client, sha, path)
		switch status.Code(err) {
		case codes.Unavailable, codes.Canceled, codes.Aborted:
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(retryFirst):
		}
	}
}

// speak is the host's end of what its process calls, once.
func (h *host) speak(stream pb.Host_AttachServer) error {
	first := false
	h.once.Do(func() { first = true })
	if !first {
		return status.Error(codes.FailedPrecondition, "the host has attached before")
	}
	close(h.attached)
	ctx := stream.Context()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for {
			m, err := h.out.take(ctx)
			if err != nil || stream.Send(m) != nil {
				return
			}
		}
	}()
	for {
		m, err := stream.Recv()
		if err != nil {
			break
		}
		h.spoke.Store(true)
		switch b := m.Body.(type) {
		case *pb.FromHost_Ready:
			if b.Ready.Error != "" {
				h.w.log.Error("a task host cannot run its job", "job", h.job.id, "err", b.Ready.Error) // its tasks say so too
			}
		case *pb.FromHost_Result:
			h.w.result(h, b.Result)
		case *pb.FromHost_Failure:
			h.w.failed(h, b.Failure)
		case *pb.FromHost_TaskCut:
			h.w.send(&pb.FromWorker{Body: &pb.FromWorker_TaskCut{TaskCut: b.TaskCut}})
		case *pb.FromHost_Progress:
			h.w.mu.Lock()
			h.progress = b.Progress
			h.w.mu.Unlock()
		}
	}
	close(h.heard)
	h.out.close()
	<-sent
	return nil
}

// hostGone ends the tasks of a host that is no more and removes what they left.
func (w *Worker) hostGone(h *host, err error) {
	kind, killed := dataflow.WorkerLost, false
	var he *hostError
	if errors.As(err, &he) {
		kind, killed = he.kind, he.killed
	}
	w.mu.Lock()
	if h.job.host == h {
		h.job.host = nil
	}
	var left []*task
	for _, t := range h.tasks {
		if w.tasks[t.key] == t { // else dropped with its job
			left = append(left, t)
		}
	}
	w.mu.Unlock()
	if len(left) == 0 {
		return
	}
	w.log.Warn("a task host has ended with tasks running", "job", h.job.id, "tasks", len(left), "err", err)
	for _, t := range left {
		if err := w.removeAttempt(t.spec.Id); err != nil {
			w.log.Warn("files of an attempt cannot be removed", "task", t.key, "err", err)
		}
	}
	log := lastLog(h.logName)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range left {
		if w.tasks[t.key] != t {
			continue
		}
		w.end(h, t, &pb.TaskFailure{
			Id: t.spec.Id, TaskKind: t.spec.Kind, ErrorKind: int32(kind), KilledHost: killed,
			Message: "the task host of " + t.key + " on worker " + w.id + " has ended: " + err.Error(), LogTail: log,
		})
	}
}
