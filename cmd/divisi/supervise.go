package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/worker"
)

const (
	readyWithin    = 30 * time.Second // a process that is not ready by then has failed
	stopWithin     = 5 * time.Second  // between SIGTERM and SIGKILL
	backoffLeast   = 100 * time.Millisecond
	backoffMost    = 2 * time.Second  // less than client.DialPatience
	backoffForgets = 10 * time.Second // a process that lived so long starts again at once
)

// A supervisor runs a cluster of real processes on loopback: this program again,
// as coordinator and as workers. Each has one goroutine that starts it, waits for
// its end, and starts it again. The processes hold the read end of a pipe whose
// other end only this process has, and end when it does, however it ends.
type supervisor struct {
	dir     string
	workers int
	slots   int
	memory  int64 // of each task host; 0: the machine's, shared out
	restart bool
	log     io.Writer
	changed func(clusterInfo) // called after each start, one call at a time
	// links, if set, adds arguments for a worker: through which addresses it reaches
	// the coordinator, and others reach it.
	links func(worker, coordinator string) []string
	extra []string // arguments for the coordinator
	// security is a folder of "divisi security init"; "": no TLS.
	security string

	exe      string
	lifeline *os.File // write end: never written to
	pipe     *os.File // read end, which children inherit

	mu    sync.Mutex
	procs []*process
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

// A process is one of the cluster's, over all its lives.
type process struct {
	role string
	args func() []string
	log  string

	// Guarded by the supervisor's mu.
	cmd   *exec.Cmd // nil: not running
	ready readyLine
}

// readyLine is what a process writes when it listens.
type readyLine struct {
	ID      string `json:"id"`
	Address string `json:"address"`
	HTTP    string `json:"http"`
}

// start returns when all processes are ready and registered. The caller calls end.
func (s *supervisor) start(ctx context.Context) (err error) {
	if s.exe, err = os.Executable(); err != nil {
		return err
	}
	if s.memory == 0 {
		s.memory = worker.DefaultMemory() / int64(s.workers)
	}
	if s.pipe, s.lifeline, err = os.Pipe(); err != nil {
		return err
	}
	own, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	coord := &process{role: "coordinator", log: filepath.Join(s.dir, "coordinator.log")}
	coord.ready = readyLine{Address: "127.0.0.1:0", HTTP: "127.0.0.1:0"}
	coord.args = func() []string { // it comes back where it was
		return append([]string{"coordinator", "--listen", coord.ready.Address, "--http", coord.ready.HTTP, "--state", filepath.Join(s.dir, "coordinator")}, slices.Concat(s.secure(security.Coordinator), s.extra)...)
	}
	s.procs = append(s.procs, coord)
	if err := s.begin(ctx, coord); err != nil {
		return err
	}
	s.wg.Go(func() { s.keep(own, coord) })
	started := make(chan error, s.workers)
	for i := range s.workers {
		name := "worker-" + strconv.Itoa(i+1)
		w := &process{role: "worker", log: filepath.Join(s.dir, name+".log"), ready: readyLine{ID: name, Address: "127.0.0.1:0"}}
		w.args = func() []string {
			args := []string{"worker", "--id", name, "--coordinator", coord.ready.Address, "--listen", w.ready.Address,
				"--dir", filepath.Join(s.dir, name), "--slots", strconv.Itoa(s.slots), "--memory", strconv.FormatInt(s.memory, 10), "--drain-grace", "0",
				"--programs", filepath.Join(s.dir, "coordinator", "artifacts")}
			args = append(args, s.secure(security.Worker)...)
			if s.links != nil {
				args = append(args, s.links(name, coord.ready.Address)...) // the last of two flags counts
			}
			return args
		}
		s.procs = append(s.procs, w)
	}
	for _, w := range s.procs[1:] {
		s.wg.Go(func() {
			err := s.begin(ctx, w)
			started <- err
			if err == nil {
				s.keep(own, w)
			}
		})
	}
	for range s.workers {
		err = errors.Join(err, <-started)
	}
	if err != nil {
		return err
	}
	return s.registered(ctx)
}

// begin starts a process and waits until it is ready.
func (s *supervisor) begin(ctx context.Context, p *process) error {
	s.mu.Lock()
	args := append(p.args(), "--lifeline", "3", "--ready", "4")
	s.mu.Unlock()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := exec.Command(s.exe, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{s.pipe, w}
	cmd.SysProcAttr = ownGroup() // a terminal's Ctrl-C is for the supervisor alone
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	line, err := readLine(ctx, r)
	var ready readyLine
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err != nil {
		cmd.Process.Kill()
		cmd.Wait()
		return fmt.Errorf("%s did not start: %w\n%s", p.role, err, tail(p.log))
	}
	s.mu.Lock()
	p.cmd, p.ready = cmd, ready
	s.mu.Unlock()
	return nil
}

// readLine waits for the line that says that a process is ready.
func readLine(ctx context.Context, r *os.File) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(r).ReadBytes('\n')
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, errors.New("it ended before it was ready")
	}
	return line, nil
}

// keep waits for a process's end and starts it again, until ctx ends; then it ends
// the process.
func (s *supervisor) keep(ctx context.Context, p *process) {
	delay := backoffLeast
	for {
		born := time.Now()
		err := s.wait(ctx, p)
		if ctx.Err() != nil {
			return
		}
		fmt.Fprintf(s.log, "%s %s ended: %v\n", p.role, p.ready.ID, err)
		s.mu.Lock()
		p.cmd = nil
		s.mu.Unlock()
		if !s.restart {
			s.announce()
			return
		}
		if time.Since(born) > backoffForgets {
			delay = backoffLeast
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(delay):
			}
			delay = min(2*delay, backoffMost)
			if err = s.begin(ctx, p); err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			fmt.Fprintf(s.log, "%s %s: %v\n", p.role, p.ready.ID, err)
		}
		fmt.Fprintf(s.log, "%s %s started again\n", p.role, p.ready.ID)
		if p.role == "worker" {
			rctx, cancel := context.WithTimeout(ctx, readyWithin)
			s.registered(rctx) // it is told of also if the coordinator is away
			cancel()
		}
		s.announce()
	}
}

// wait returns when the process has ended; when ctx ends it makes it end.
func (s *supervisor) wait(ctx context.Context, p *process) error {
	s.mu.Lock()
	cmd := p.cmd
	s.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(stopWithin):
		cmd.Process.Kill()
		return <-ended
	}
}

// secure are the flags that give a process its certificate.
func (s *supervisor) secure(r security.Role) []string {
	if s.security == "" {
		return nil
	}
	return []string{"--security", filepath.Join(s.security, string(r))}
}

// registered waits until the coordinator knows every running worker by its process.
func (s *supervisor) registered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	id, err := security.LoadClient(s.info().Security)
	if err != nil {
		return err
	}
	c, err := client.Dial(ctx, s.info().Coordinator, client.As(id))
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		want := map[int32]bool{}
		for _, p := range s.info().Processes {
			if p.Role == "worker" {
				want[int32(p.PID)] = true
			}
		}
		list, err := c.Workers(ctx)
		for _, w := range list {
			if w.State == "ready" {
				delete(want, w.Pid)
			}
		}
		if err == nil && len(want) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d workers have not registered within %v: %w", len(want), readyWithin, errors.Join(err, ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (s *supervisor) info() clusterInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	coord := s.procs[0].ready
	info := clusterInfo{Coordinator: coord.Address, HTTP: pageURL(coord.HTTP), Processes: []processInfo{}}
	if s.security != "" {
		info.Security = filepath.Join(s.security, string(security.Client))
	}
	for _, p := range s.procs {
		if p.cmd != nil {
			info.Processes = append(info.Processes, processInfo{Role: p.role, ID: p.ready.ID, PID: p.cmd.Process.Pid, Address: p.ready.Address})
		}
	}
	return info
}

var announcing sync.Mutex

func (s *supervisor) announce() {
	announcing.Lock()
	defer announcing.Unlock()
	if s.changed != nil {
		s.changed(s.info())
	}
}

// end ends every process and returns when all have.
func (s *supervisor) end() {
	s.stop()
	s.wg.Wait()
	s.lifeline.Close()
	s.pipe.Close()
}

// tail is the end of a log, for an error.
func tail(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
		b = b[bytes.IndexByte(b, '\n')+1:]
	}
	return []byte(console.Plain(string(bytes.TrimSpace(b))))
}
