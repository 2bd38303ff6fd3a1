package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/dataflow"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// A host is a task host and the worker's end of the connection to it. Fields are
// guarded by the worker's mu but for what is set before its goroutine starts.
type host struct {
	pb.UnimplementedHostServer
	w   *Worker
	job *job
	out *outbox[*pb.ToHost]

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when the process is gone and its tasks are ended

	tasks    map[string]*task // given to it and not ended
	progress *pb.HostProgress
	logName  string
}

// startHost begins to start a job's host; what is put into its outbox is sent once it
// is there. The caller holds mu.
func (w *Worker) startHost(j *job) *host {
	ctx, cancel := context.WithCancelCause(context.Background())
	h := &host{w: w, job: j, out: newOutbox[*pb.ToHost](), cancel: cancel, done: make(chan struct{}), tasks: map[string]*task{}}
	init := &pb.HostInit{
		Job: j.spec, Worker: w.id, Dirs: w.jobDirs(j.id), LogDir: exchange.LogDir(w.cfg.Dir, j.id),
		FilesDir: filepath.Join(exchange.JobDir(w.cfg.Dir, j.id), "files"), Slots: int32(w.cfg.Slots),
		MemoryBytes: w.cfg.Memory, ExchangeAddress: w.Addr(), Machine: machine(),
	}
	if m := j.spec.MemoryBytes; m > 0 {
		init.MemoryBytes = m
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
	var from pb.ControlClient
	if w.session != nil {
		from = w.session.client
	}
	go h.run(ctx, from)
	return h
}

// kill ends the host's process; done is closed when it has.
func (h *host) kill(why string) { h.cancel(errors.New(why)) }

// run is the host's life, from fetching its program to its end.
func (h *host) run(ctx context.Context, from pb.ControlClient) {
	defer close(h.done)
	err := h.serve(ctx, from)
	h.cancel(nil)
	h.out.close()
	h.w.hostGone(h, err)
}

// serve starts the process and waits until it has ended.
func (h *host) serve(ctx context.Context, from pb.ControlClient) error {
	w, j := h.w, h.job
	binary, err := h.fetchAll(ctx, from)
	if err != nil {
		return &hostError{kind: dataflow.Transient, err: err}
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return &hostError{kind: dataflow.Transient, err: err}
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(messageMax), grpc.MaxSendMsgSize(messageMax))
	pb.RegisterHostServer(server, h)
	l := newOneListener(ours)
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(l) }) // ends with Stop
	defer wg.Wait()
	defer server.Stop()

	logDir := exchange.LogDir(w.cfg.Dir, j.id)
	if err := errors.Join(os.MkdirAll(logDir, 0o700), os.MkdirAll(filepath.Join(exchange.JobDir(w.cfg.Dir, j.id), "work"), 0o700)); err != nil {
		return &hostError{kind: dataflow.Transient, err: errors.Join(err, theirs.Close())}
	}
	out, err := os.CreateTemp(logDir, "host-*.log")
	if err != nil {
		return &hostError{kind: dataflow.Transient, err: errors.Join(err, theirs.Close())}
	}
	defer out.Close()
	h.logName = out.Name()
	p, err := w.cfg.StartHost(ctx, HostStart{Job: j.spec, Binary: binary, Conn: theirs, Dir: filepath.Join(exchange.JobDir(w.cfg.Dir, j.id), "work"), Output: out})
	if err != nil {
		return &hostError{kind: dataflow.Transient, err: fmt.Errorf("start the task host: %w", err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Wait() }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		p.Kill()
		<-ended
		return context.Cause(ctx)
	}
	return &hostError{kind: dataflow.Unknown, killed: true, err: howEnded(err)}
}

// fetchAll brings the job's program and files here.
func (h *host) fetchAll(ctx context.Context, from pb.ControlClient) (string, error) {
	j := h.job
	get := func(sha string) (string, error) {
		if from == nil {
			return "", errors.New("no coordinator to fetch from")
		}
		return h.w.artifacts.get(ctx, from, sha)
	}
	var binary string
	var err error
	if sha := j.spec.BinarySha256; sha != "" {
		binary, err = get(sha)
	} else {
		binary, err = os.Executable()
	}
	if err != nil {
		return "", err
	}
	files := filepath.Join(exchange.JobDir(h.w.cfg.Dir, j.id), "files")
	for _, f := range j.spec.Files {
		path, err := get(f.Sha256)
		if err != nil {
			return "", err
		}
		if err := os.MkdirAll(files, 0o700); err != nil {
			return "", err
		}
		link := filepath.Join(files, filepath.Base(f.Name))
		if err := os.Symlink(path, link); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	return binary, nil
}

// Attach implements the service that the host calls.
func (h *host) Attach(stream pb.Host_AttachServer) error {
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
		switch b := m.Body.(type) {
		case *pb.FromHost_Ready:
			if b.Ready.Error != "" {
				h.cancel(&hostError{kind: dataflow.Fatal, err: errors.New(b.Ready.Error)})
			}
		case *pb.FromHost_Result:
			h.w.result(h, b.Result)
		case *pb.FromHost_Failure:
			h.w.failed(h, b.Failure)
		case *pb.FromHost_Progress:
			h.w.mu.Lock()
			h.progress = b.Progress
			h.w.mu.Unlock()
		}
	}
	h.out.close()
	<-sent
	return nil
}

// hostError says how a host ended and what that means for its tasks.
type hostError struct {
	kind   dataflow.Kind
	killed bool
	err    error
}

func (e *hostError) Error() string { return e.err.Error() }
func (e *hostError) Unwrap() error { return e.err }

// hostGone ends the tasks of a host that is no more.
func (w *Worker) hostGone(h *host, err error) {
	kind, killed := dataflow.WorkerLost, false
	var he *hostError
	if errors.As(err, &he) {
		kind, killed = he.kind, he.killed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.job.host == h {
		h.job.host = nil
	}
	if len(h.tasks) == 0 {
		return
	}
	log := tailOf(h.logName)
	w.log.Warn("a task host has ended with tasks running", "job", h.job.id, "tasks", len(h.tasks), "err", err)
	for _, t := range h.tasks {
		if w.tasks[t.key] != t {
			continue // dropped with its job
		}
		w.end(h, t, &pb.TaskFailure{
			Id: t.spec.Id, TaskKind: t.spec.Kind, ErrorKind: int32(kind), KilledHost: killed,
			Message: "the task host has ended: " + err.Error(), LogTail: log,
		})
	}
}

// tailOf is the end of a log.
func tailOf(name string) string {
	const most = 8 << 10
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// socketPair is a connection within this machine: our end, and the host's as a file
// that it can inherit.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	ours := os.NewFile(uintptr(fds[0]), "worker")
	theirs := os.NewFile(uintptr(fds[1]), "task-host")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c, theirs, nil
}

// oneListener accepts one connection.
type oneListener struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
	addr   net.Addr
}

func newOneListener(c net.Conn) *oneListener {
	l := &oneListener{conn: make(chan net.Conn, 1), closed: make(chan struct{}), addr: c.LocalAddr()}
	l.conn <- c
	return l
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return l.addr }
