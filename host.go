package divisi

import (
	"context"
	"net"
	"os"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/worker"
	"github.com/divisi-data/divisi/worker/task"
)

// hostInProcess starts task hosts as goroutines of this process: what a child
// process does, over a socket of the same kind.
func hostInProcess(build func(*dataflow.Job)) func(context.Context, worker.HostStart) (worker.HostProcess, error) {
	return func(ctx context.Context, s worker.HostStart) (worker.HostProcess, error) {
		conn, err := net.FileConn(s.Conn)
		s.Conn.Close()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		h := &goroutineHost{cancel: cancel, done: make(chan struct{})}
		go func() {
			defer close(h.done)
			h.err = task.ServeLocal(ctx, conn, build)
		}()
		return h, nil
	}
}

// A goroutineHost is a task host in this process.
type goroutineHost struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed
}

func (h *goroutineHost) PID() int { return os.Getpid() }

func (h *goroutineHost) Wait() error {
	<-h.done
	h.cancel()
	return h.err
}

func (h *goroutineHost) Kill() { h.cancel() }
