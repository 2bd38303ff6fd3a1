package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/internal/version"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// clientService is what clients talk to.
type clientService struct {
	divisipb.UnimplementedClientServer
	c *Coordinator
}

// rpcError gives an error the code that says what to do about it.
func rpcError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, errStopping):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, errArtifact):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return status.Error(codes.Internal, err.Error())
}

// answer is what the loop says: a value or an error.
type answer[T any] struct {
	v   T
	err error
}

// query runs f on the loop; its error is a status.
func query[T any](ctx context.Context, c *Coordinator, f func(*state) (T, error)) (T, error) {
	a, err := ask(ctx, c.box, func(s *state) answer[T] {
		v, err := f(s)
		return answer[T]{v, err}
	})
	if err == nil {
		err = a.err
	}
	return a.v, rpcError(err)
}

// querySaid is query for what tells clients how jobs are: where f says that one of them
// has ended, the answer waits until the end is durable. A coordinator that dies before
// that has never said so.
func querySaid[T any](ctx context.Context, c *Coordinator, f func(*state) (v T, ended bool, err error)) (T, error) {
	reply := make(chan answer[T], 1)
	c.box.post(func(s *state) {
		v, ended, err := f(s)
		say := func() { reply <- answer[T]{v, err} }
		if ended {
			s.out(say)
			return
		}
		say()
	})
	a, err := await(ctx, c.box, reply)
	if err == nil {
		err = a.err
	}
	return a.v, rpcError(err)
}

func notFound(err error) error { return status.Error(codes.NotFound, err.Error()) }

func (cl *clientService) Hello(ctx context.Context, r *divisipb.HelloRequest) (*divisipb.HelloReply, error) {
	if r.GetProtocol() != version.Protocol {
		return nil, status.Errorf(codes.FailedPrecondition, "this client speaks protocol %d (%s), the coordinator %d (%s): use the same release on both", r.GetProtocol(), r.GetVersion(), version.Protocol, version.String())
	}
	return query(ctx, cl.c, func(s *state) (*divisipb.HelloReply, error) {
		h := &divisipb.HelloReply{Protocol: version.Protocol, Version: version.String(), Cluster: s.cluster, Http: s.c.webAddr, Epoch: s.epoch}
		for _, w := range s.members {
			h.Slots += w.reg.GetSlots()
			if p := w.reg.GetOs() + "/" + w.reg.GetArch(); !slices.Contains(h.Platforms, p) {
				h.Platforms = append(h.Platforms, p)
			}
		}
		return h, nil
	})
}

func (cl *clientService) HasArtifacts(_ context.Context, r *divisipb.HasArtifactsRequest) (*divisipb.HasArtifactsReply, error) {
	reply := &divisipb.HasArtifactsReply{}
	for _, sha := range r.GetSha256() {
		if !cl.c.artifacts.has(sha) {
			reply.Missing = append(reply.Missing, sha)
		}
	}
	return reply, nil
}

func (cl *clientService) PutArtifact(stream divisipb.Client_PutArtifactServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	h := first.GetHeader()
	if h == nil {
		return status.Error(codes.InvalidArgument, "the first message of an upload is not its header")
	}
	err = cl.c.artifacts.put(h.GetSha256(), h.GetSize(), func() ([]byte, error) {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return m.GetData(), nil
	})
	if err != nil {
		return rpcError(err)
	}
	return stream.SendAndClose(&divisipb.PutArtifactReply{})
}

func (cl *clientService) Submit(ctx context.Context, r *divisipb.SubmitRequest) (*divisipb.SubmitReply, error) {
	return cl.c.submit(ctx, r)
}

// submit enters a job and answers when the journal has it.
func (c *Coordinator) submit(ctx context.Context, r *divisipb.SubmitRequest) (*divisipb.SubmitReply, error) {
	if r.GetJob().GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "the job has no name")
	}
	req := clone(r)
	var missing []string
	need := func(sha, what string) {
		if sha != "" && !c.artifacts.has(sha) {
			missing = append(missing, what)
		}
	}
	need(req.GetJob().GetBinarySha256(), "the binary")
	for _, f := range req.GetJob().GetFiles() {
		need(f.GetSha256(), f.GetName())
	}
	if len(missing) == 0 {
		if err := c.secrets.hide(req.GetJob().GetEnv()); err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
	}
	reply := make(chan answer[*divisipb.SubmitReply], 1)
	c.box.post(func(s *state) {
		id, existed, err := s.submit(req, missing)
		if err != nil {
			reply <- answer[*divisipb.SubmitReply]{err: err}
			return
		}
		s.out(func() { reply <- answer[*divisipb.SubmitReply]{v: &divisipb.SubmitReply{Job: id, Existed: existed}} })
	})
	a, err := await(ctx, c.box, reply)
	if err == nil {
		err = a.err
	}
	return a.v, rpcError(err)
}

func (s *state) submit(req *divisipb.SubmitRequest, missing []string) (id string, existed bool, err error) {
	if req.GetIdempotencyKey() != "" {
		if id, ok := s.keys[submitKey(req)]; ok {
			return id, true, nil
		}
	}
	if err := s.c.cfg.knows(req.GetQueue()); err != nil {
		return "", false, status.Error(codes.InvalidArgument, err.Error())
	}
	if err := s.full(); err != nil {
		return "", false, status.Error(codes.ResourceExhausted, err.Error())
	}
	if len(missing) > 0 {
		return "", false, status.Errorf(codes.FailedPrecondition, "not uploaded: %s", strings.Join(missing, ", "))
	}
	for id == "" || s.jobs[id] != nil {
		id = jobID(req.GetJob().GetName(), s.random)
	}
	req.Job.Id = id
	now := int64(s.clock())
	js, err := s.newJobState(req, now)
	if err != nil {
		return "", false, status.Errorf(codes.InvalidArgument, "the job is refused: %v", err)
	}
	rec := &divisipb.JournalRecord{UnixNanos: now, Job: id, Body: &divisipb.JournalRecord_Submitted{Submitted: &divisipb.JobSubmitted{Request: req}}}
	seq := s.append(rec)
	s.out(func() { js.note(seq, rec) })
	s.enter(js)
	s.counts.submitted++
	s.sched.AddJob(id, req.GetQueue(), 0, req.GetPriority())
	s.log.Info("job submitted", "job", id, "owner", req.GetOwner())
	s.step(js, job.Submitted{Slots: s.slots()})
	return id, false, nil
}

// jobID is the job's name as far as it can be part of a path, and 50 random bits.
func jobID(name string, random func(int) string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 24 {
			break
		}
	}
	n := strings.Trim(b.String(), "-")
	if n == "" {
		n = "job"
	}
	return n + "-" + random(10)
}

func (cl *clientService) GetJob(ctx context.Context, r *divisipb.GetJobRequest) (*divisipb.JobStatus, error) {
	return cl.c.job(ctx, r.GetJob(), r.GetPlan())
}

func (c *Coordinator) job(ctx context.Context, id string, withPlan bool) (*divisipb.JobStatus, error) {
	return querySaid(ctx, c, func(s *state) (*divisipb.JobStatus, bool, error) {
		js, err := s.find(id)
		if err != nil {
			return nil, false, notFound(err)
		}
		st := js.status(true, s)
		if withPlan {
			st.Plan = js.req.GetJob().GetPlan()
		}
		return st, ended(js.state()), nil
	})
}

func (cl *clientService) ListJobs(ctx context.Context, r *divisipb.ListJobsRequest) (*divisipb.ListJobsReply, error) {
	jobs, err := cl.c.list(ctx, r.GetState(), int(r.GetLimit()))
	return &divisipb.ListJobsReply{Jobs: jobs}, err
}

func (c *Coordinator) list(ctx context.Context, want string, limit int) ([]*divisipb.JobStatus, error) {
	names := []string{"", "active"}
	for i := int32(1); i <= int32(divisipb.JobState_JOB_STATE_CANCELED); i++ {
		names = append(names, stateName(divisipb.JobState(i)))
	}
	if !slices.Contains(names, want) {
		return nil, status.Errorf(codes.InvalidArgument, "no job state %q: one of %s", want, strings.Join(names[1:], ", "))
	}
	return querySaid(ctx, c, func(s *state) (jobs []*divisipb.JobStatus, end bool, err error) {
		for _, js := range slices.Backward(s.order) {
			if limit > 0 && len(jobs) == limit {
				break
			}
			name := stateName(js.state())
			if want == "" || want == name || want == "active" && !js.over() {
				jobs = append(jobs, js.status(false, s))
				end = end || ended(js.state())
			}
		}
		return jobs, end, nil
	})
}

func (cl *clientService) CancelJob(ctx context.Context, r *divisipb.CancelJobRequest) (*divisipb.CancelJobReply, error) {
	why := r.GetWhy()
	if why == "" {
		why = "cancelled by its user"
	}
	reply := make(chan answer[*divisipb.CancelJobReply], 1)
	cl.c.box.post(func(s *state) {
		err := s.cancelJob(r.GetJob(), why, func(st divisipb.JobState) {
			reply <- answer[*divisipb.CancelJobReply]{v: &divisipb.CancelJobReply{State: st}}
		})
		if err != nil {
			reply <- answer[*divisipb.CancelJobReply]{err: err}
		}
	})
	a, err := await(ctx, cl.c.box, reply)
	if err == nil {
		err = a.err
	}
	return a.v, rpcError(err)
}

// cancelJob cancels a job; answer is given its state when the journal has it.
func (s *state) cancelJob(id, why string, answer func(divisipb.JobState)) error {
	js, err := s.find(id)
	if err != nil {
		return notFound(err)
	}
	s.step(js, job.Cancel{Why: why})
	st := js.state()
	s.out(func() { answer(st) })
	return nil
}

func (cl *clientService) RetryJob(ctx context.Context, r *divisipb.RetryJobRequest) (*divisipb.SubmitReply, error) {
	req, err := query(ctx, cl.c, func(s *state) (*divisipb.SubmitRequest, error) {
		js, err := s.find(r.GetJob())
		if err != nil {
			return nil, notFound(err)
		}
		if !js.over() {
			return nil, status.Errorf(codes.FailedPrecondition, "job %s has not ended: it is %s", js.id, stateName(js.state()))
		}
		req := clone(js.req)
		req.Job.Id, req.IdempotencyKey = "", ""
		return req, nil
	})
	if err != nil {
		return nil, err
	}
	return cl.c.submit(ctx, req)
}

// follow calls f at once, on every change of the job, at most ten times a second, when its
// outputs stay as they are, and when the job is over, until it says stop: then at the latest.
func (c *Coordinator) follow(ctx context.Context, id string, f func(*state, *jobState) (send func() error, stop bool)) error {
	changed := make(chan struct{}, 1)
	var js *jobState
	if _, err := query(ctx, c, func(s *state) (bool, error) {
		var err error
		if js, err = s.find(id); err != nil {
			return false, notFound(err)
		}
		js.watchers[changed] = true
		return true, nil
	}); err != nil {
		return err
	}
	defer c.box.post(func(*state) { delete(js.watchers, changed) })
	type turn struct {
		send func() error
		stop bool
	}
	pace := time.NewTimer(0)
	defer pace.Stop()
	settled := js.settled // nil once it has been heard
	for {
		select {
		case <-pace.C:
		case <-settled:
			settled = nil
		case <-js.gone:
		case <-ctx.Done():
			return rpcError(ctx.Err())
		}
		t, err := querySaid(ctx, c, func(s *state) (turn, bool, error) {
			send, stop := f(s, js)
			return turn{send, stop}, ended(js.state()), nil
		})
		if err != nil {
			return err
		}
		if err := t.send(); err != nil || t.stop {
			return err
		}
		select {
		case <-changed:
			pace.Reset(watchEvery)
		case <-settled:
			settled = nil
			pace.Reset(0)
		case <-js.gone:
		case <-ctx.Done():
			return rpcError(ctx.Err())
		case <-c.box.closed:
			return rpcError(errStopping)
		}
	}
}

func ended(s divisipb.JobState) bool {
	return s == divisipb.JobState_JOB_STATE_SUCCEEDED || s == divisipb.JobState_JOB_STATE_FAILED || s == divisipb.JobState_JOB_STATE_CANCELED
}

func (cl *clientService) WatchJob(r *divisipb.WatchJobRequest, stream divisipb.Client_WatchJobServer) error {
	return cl.c.follow(stream.Context(), r.GetJob(), func(s *state, js *jobState) (func() error, bool) {
		st := js.status(true, s)
		return func() error { return stream.Send(st) }, js.over()
	})
}

func (cl *clientService) ListWorkers(ctx context.Context, _ *divisipb.ListWorkersRequest) (*divisipb.ListWorkersReply, error) {
	w, err := cl.c.workers(ctx)
	return &divisipb.ListWorkersReply{Workers: w}, err
}

func (cl *clientService) DrainWorker(ctx context.Context, r *divisipb.DrainWorkerRequest) (*divisipb.DrainWorkerReply, error) {
	return query(ctx, cl.c, func(s *state) (*divisipb.DrainWorkerReply, error) {
		return &divisipb.DrainWorkerReply{}, s.drain(r.GetWorker(), r.GetGraceMillis())
	})
}

func (s *state) drain(worker string, graceMillis int64) error {
	w := s.workers[worker]
	if w == nil {
		return notFound(fmt.Errorf("no worker %q", worker))
	}
	w.draining, w.grace = true, graceMillis
	s.schedule(w)
	s.tell(w.who(), w.drainMessage())
	return nil
}

// drainMessage asks the worker to drain.
func (w *workerState) drainMessage() *divisipb.ToWorker {
	return &divisipb.ToWorker{Body: &divisipb.ToWorker_Drain{Drain: &divisipb.Drain{GraceMillis: w.grace}}}
}

// Events sends what is kept in memory, what is older from the journal's files, and with
// follow what is still to come.
func (cl *clientService) Events(r *divisipb.EventsRequest, stream divisipb.Client_EventsServer) error {
	c := cl.c
	from := r.GetFrom()
	old, err := c.oldEvents(stream.Context(), r.GetJob(), from)
	if err != nil {
		return rpcError(err)
	}
	for _, e := range old {
		if err := stream.Send(e); err != nil {
			return err
		}
		from = e.GetSequence() + 1
	}
	return c.follow(stream.Context(), r.GetJob(), func(_ *state, js *jobState) (func() error, bool) {
		events := js.eventsFrom(from)
		if n := len(events); n > 0 {
			from = events[n-1].GetSequence() + 1
		}
		send := func() error {
			for _, e := range events {
				if err := stream.Send(e); err != nil {
					return err
				}
			}
			return nil
		}
		return send, !r.GetFollow() || js.over()
	})
}
