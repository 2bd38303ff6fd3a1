package coordinator

import (
	"io"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// controlService is what workers talk to.
type controlService struct {
	divisipb.UnimplementedControlServer
	c *Coordinator
}

// Attach is a worker's whole life: this goroutine sends, another receives and posts.
func (cs *controlService) Attach(stream divisipb.Control_AttachServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	reg := first.GetRegister()
	if reg == nil {
		return status.Errorf(codes.InvalidArgument, "the first message is not Register but %T", first.GetBody())
	}
	c := cs.c
	ses := newSession(c.state.epoch)
	refused, err := ask(stream.Context(), c.box, func(s *state) error { return s.register(reg, ses) })
	if err == nil {
		err = refused
	}
	if err != nil {
		return rpcError(err)
	}
	defer c.box.post(func(s *state) { s.detach(ses) })

	// Ends with the stream, whose context ends when this handler returns; what it still
	// posts then finds the session gone.
	go func() { ses.end(cs.receive(stream, ses)) }()
	return cs.send(stream, ses)
}

func (cs *controlService) receive(stream divisipb.Control_AttachServer, ses *session) error {
	for {
		m, err := stream.Recv()
		if err == io.EOF {
			return status.Error(codes.OK, "")
		}
		if err != nil {
			return err
		}
		cs.c.box.post(func(s *state) {
			if err := s.message(ses, m); err != nil {
				ses.end(err)
			}
		})
	}
}

func (cs *controlService) send(stream divisipb.Control_AttachServer, ses *session) error {
	for {
		for _, m := range ses.take() {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		select {
		case <-ses.wake:
		case <-ses.done:
			ses.mu.Lock()
			defer ses.mu.Unlock()
			return ses.reason
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-cs.c.box.closed:
			return status.Error(codes.Unavailable, errStopping.Error())
		}
	}
}

// GetArtifact streams a stored file.
func (cs *controlService) GetArtifact(r *divisipb.GetArtifactRequest, stream divisipb.Control_GetArtifactServer) error {
	f, err := cs.c.artifacts.open(r.GetSha256())
	if err != nil {
		if os.IsNotExist(err) {
			return status.Errorf(codes.NotFound, "no artifact %s", r.GetSha256())
		}
		return rpcError(err)
	}
	defer f.Close()
	buf := make([]byte, 256<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&divisipb.Chunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return rpcError(err)
		}
	}
}
