package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"google.golang.org/grpc"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// A program is a job's that was started as a task host, and the worker's end of the
// connection to it. It hears nothing of a job before it becomes a host of one.
type program struct {
	pb.UnimplementedHostServer
	process HostProcess
	ended   chan error // receives how the process ended, once
	output  *os.File
	server  *grpc.Server
	served  sync.WaitGroup

	ready *readyDir // where it waited for a job; nil: it did not
	known chan struct{}
	host  *host // once known is closed
}

// startProgram starts one. What it prints goes to a file of that name. The caller closes
// it when its process has ended.
func (w *Worker) startProgram(ctx context.Context, start HostStart, output string) (_ *program, err error) {
	if err := os.MkdirAll(start.Dir, 0o700); err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	p := &program{
		ended: make(chan error, 1), known: make(chan struct{}),
		server: grpc.NewServer(grpc.MaxRecvMsgSize(messageMax), grpc.MaxSendMsgSize(messageMax),
			grpc.StaticStreamWindowSize(4<<20), grpc.StaticConnWindowSize(16<<20)), // not measured, by a ping for each small message
	}
	pb.RegisterHostServer(p.server, p)
	l := newOneListener(ours)
	p.served.Go(func() { p.server.Serve(l) }) // ends with Stop
	if p.output, err = os.OpenFile(output, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		p.close()
		return nil, errors.Join(err, theirs.Close())
	}
	start.Conn, start.Output = theirs, p.output
	if p.process, err = w.cfg.StartHost(ctx, start); err != nil {
		p.close()
		return nil, fmt.Errorf("it could not be started: %w", err)
	}
	go func() { p.ended <- p.process.Wait() }()
	return p, nil
}

// become makes the program a host. It is called once.
func (p *program) become(h *host) {
	p.host = h
	close(p.known)
}

// Attach implements the service that the program calls: at once, whether there is a job
// for it or not.
func (p *program) Attach(stream pb.Host_AttachServer) error {
	select {
	case <-p.known:
		return p.host.speak(stream)
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// close frees what is left of a program whose process has ended, or never began.
func (p *program) close() {
	p.server.Stop()
	p.served.Wait()
	if p.output != nil {
		p.output.Close()
	}
	p.ready.remove()
}

// end kills the process and closes the program.
func (p *program) end() {
	p.process.Kill()
	<-p.ended
	p.close()
}
