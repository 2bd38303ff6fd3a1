package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/internal/security"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// logPlace is where an attempt's log may be had.
type logPlace struct {
	id      *divisipb.TaskID
	worker  string
	address string // "": the worker is gone
	tail    string // the end of it, kept with a failure
}

// Logs streams logs from the workers that have them; of a dead worker what was kept.
func (cl *clientService) Logs(r *divisipb.LogsRequest, stream divisipb.Client_LogsServer) error {
	places, err := query(stream.Context(), cl.c, func(s *state) ([]logPlace, error) {
		js, err := s.find(r.GetJob())
		if err != nil {
			return nil, notFound(err)
		}
		if err := js.has(r.GetStage(), r.GetIndex()); err != nil {
			return nil, notFound(err)
		}
		return s.logPlaces(js, r), nil
	})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	send := func(c *divisipb.LogChunk) error {
		mu.Lock()
		defer mu.Unlock()
		return stream.Send(c)
	}
	if !r.GetFollow() {
		for _, p := range places {
			if err := cl.c.readLog(stream.Context(), p, false, send); err != nil {
				return rpcError(err)
			}
		}
		return nil
	}
	g, ctx := errgroup.WithContext(stream.Context())
	for _, p := range places {
		g.Go(func() error { return cl.c.readLog(ctx, p, true, send) })
	}
	return rpcError(g.Wait())
}

// has says whether a job has a stage and a task of it; each may be -1, which is any.
func (js *jobState) has(stage, index int32) error {
	if js.job == nil || stage < 0 {
		return nil
	}
	stages := len(js.job.Plan().Stages)
	if int(stage) >= stages {
		return fmt.Errorf("job %s has no stage %d, it has %d", js.id, stage, stages)
	}
	if n, _, _ := js.job.Progress(int(stage)); n > 0 && int(index) >= n {
		return fmt.Errorf("job %s has no task %d/%d, the stage has %d", js.id, stage, index, n)
	}
	return nil
}

// logPlaces are the attempts that the request means, in order.
func (s *state) logPlaces(js *jobState, r *divisipb.LogsRequest) []logPlace {
	var places []logPlace
	seen := map[job.Attempt]bool{}
	add := func(a job.Attempt, worker, tail string) {
		if r.GetStage() != -1 && int32(a.Stage) != r.GetStage() || r.GetIndex() >= 0 && int32(a.Index) != r.GetIndex() ||
			r.GetAttempt() >= 0 && a.Number != r.GetAttempt() || seen[a] {
			return
		}
		seen[a] = true
		p := logPlace{id: toTaskID(js.id, a), worker: worker, tail: tail}
		if w := s.workers[worker]; w != nil && w.session != nil {
			p.address = w.reg.GetExchangeAddress()
		}
		places = append(places, p)
	}
	for _, f := range js.failures {
		add(f.attempt, f.worker, f.tail)
	}
	if js.job != nil {
		for i := range js.job.Plan().Stages {
			n, _, _ := js.job.Progress(i)
			for k := range n {
				if w := js.job.Winner(job.Key{Stage: i, Index: k}); w != nil {
					add(w.Attempt, w.Worker.ID, "")
				}
			}
		}
		active := js.job.Active()
		for a, w := range active {
			add(a, w.ID, "")
		}
	}
	slices.SortFunc(places, func(a, b logPlace) int {
		for _, d := range []int32{a.id.Stage - b.id.Stage, a.id.Index - b.id.Index, a.id.Attempt - b.id.Attempt} {
			if d != 0 {
				return int(d)
			}
		}
		return 0
	})
	return places
}

// readLog sends one attempt's log; a failure to get it is said in the stream, and does
// not keep others from being read.
func (c *Coordinator) readLog(ctx context.Context, p logPlace, follow bool, send func(*divisipb.LogChunk) error) error {
	why := fmt.Sprintf("worker %s is gone", p.worker)
	if p.address != "" {
		sent, err := c.proxyLog(ctx, p, follow, send)
		if err == nil || ctx.Err() != nil || sent {
			return ctx.Err()
		}
		why = fmt.Sprintf("worker %s: %v", p.worker, err)
	}
	if p.tail != "" {
		return send(&divisipb.LogChunk{Task: p.id, Worker: p.worker, Data: []byte(p.tail), Gone: why + "; this is the end of it, kept with the failure"})
	}
	return send(&divisipb.LogChunk{Task: p.id, Worker: p.worker, Gone: why})
}

func (c *Coordinator) proxyLog(ctx context.Context, p logPlace, follow bool, send func(*divisipb.LogChunk) error) (sent bool, err error) {
	conn, err := grpc.NewClient(p.address, grpc.WithTransportCredentials(c.cfg.Identity.Dial(security.Worker)), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax)))
	if err != nil {
		return false, err
	}
	defer conn.Close()
	stream, err := divisipb.NewExchangeClient(conn).ReadLog(ctx, &divisipb.ReadLogRequest{Task: p.id, Follow: follow})
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return sent, nil
		}
		if err != nil {
			return sent, err
		}
		sent = true
		if err := send(&divisipb.LogChunk{Task: p.id, Worker: p.worker, Data: m.GetData()}); err != nil {
			return sent, err
		}
	}
}
