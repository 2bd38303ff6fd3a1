package coordinator

import (
	"context"
	"io"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/divisi-data/divisi/proto/divisipb"
)

// controlService is what workers talk to.
type controlService struct {
	divisipb.UnimplementedControlServer
	c *Coordinator
}

// Attach is a worker's whole life: this goroutine sends, another receives and posts.
func (cs *controlService) Attach(stream divisipb.Control_AttachServer) error {
	reg, err := registration(stream)
	if err != nil {
		return err
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

// registrationBytesMax is how large all messages of a registration may be: several million
// held outputs.
const registrationBytesMax = 256 << 20

// registration receives a worker's, whose parts may come in several messages.
func registration(stream divisipb.Control_AttachServer) (*divisipb.Register, error) {
	var all *divisipb.Register
	bytes := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		r := m.GetRegister()
		switch {
		case r == nil && all == nil:
			return nil, status.Errorf(codes.InvalidArgument, "the first message is not Register but %T", m.GetBody())
		case r == nil, all != nil && (r.GetWorker() != all.GetWorker() || r.GetIncarnation() != all.GetIncarnation()):
			return nil, status.Errorf(codes.InvalidArgument, "amid the registration of worker %s comes %T of %q", all.GetWorker(), m.GetBody(), r.GetWorker())
		}
		if bytes += proto.Size(r); bytes > registrationBytesMax {
			return nil, status.Errorf(codes.ResourceExhausted, "worker %s names more than %d bytes of tasks and outputs in its registration", r.GetWorker(), registrationBytesMax)
		}
		if all == nil {
			all = r
		} else {
			all.Running = append(all.Running, r.Running...)
			all.Held = append(all.Held, r.Held...)
			all.UnackedResults = append(all.UnackedResults, r.UnackedResults...)
			all.UnackedFailures = append(all.UnackedFailures, r.UnackedFailures...)
		}
		if !r.GetMore() {
			all.More = false
			return all, nil
		}
	}
}

// Epoch says which coordinator this is.
func (cs *controlService) Epoch(context.Context, *divisipb.EpochRequest) (*divisipb.EpochReply, error) {
	return &divisipb.EpochReply{Epoch: cs.c.state.epoch}, nil
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
