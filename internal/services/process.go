package services

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// readyWithin bounds each wait for a server.
const readyWithin = time.Minute

// process is one server process, which the caller stops. On Linux it ends with the
// caller's process, however that ends.
type process struct {
	cmd   *exec.Cmd
	log   *logTail
	ended chan struct{} // closed when it has, and err is set
	err   error
}

// start runs a command for the length of a test.
func start(t testing.TB, dir string, env []string, binary string, args ...string) (*process, error) {
	p, err := begin(dir, env, binary, args...)
	if err == nil {
		t.Cleanup(p.stop)
	}
	return p, err
}

// begin runs a command whose output is kept for error messages.
func begin(dir string, env []string, binary string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(binary, args...), log: &logTail{}, ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	tie(p.cmd)
	started := make(chan error)
	go func() {
		// The kernel ends the child with the thread that started it, so the thread
		// stays with this goroutine until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the process to end, then makes it, and waits until it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	late := time.NewTimer(5 * time.Second)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// kill ends the process at once and waits until it has ended.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// ready asks until the process answers well or has ended.
func (p *process) ready(ctx context.Context, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready (%v); its output ends:\n%s", p.name(), p.err, p.log.end())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its output ends:\n%s", p.name(), err, p.log.end())
		case <-again.C:
		}
	}
}

func (p *process) name() string { return filepath.Base(p.cmd.Path) }

// Ports of servers lie below those that the kernel gives to outgoing connections, so
// that none of these takes a port between its choice and its use.
const (
	firstPort = 12_000
	lastPort  = 32_767
)

// freePort is a TCP port of 127.0.0.1 that nobody listens on now.
func freePort() (int, error) { return freePortOf("127.0.0.1") }

// freePortOf is one of a host that is this machine.
func freePortOf(host string) (int, error) {
	var last error
	for range 100 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, fmt.Errorf("no free port: %w", last)
}

// logTail keeps the end of a process's output.
type logTail struct {
	mu   sync.Mutex
	text []byte
}

func (l *logTail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const keep = 8 << 10
	l.text = append(l.text, p...)
	if len(l.text) > 2*keep {
		l.text = bytes.Clone(l.text[len(l.text)-keep:])
	}
	return len(p), nil
}

func (l *logTail) end() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(tail(l.text, 2000))
}
