// Package client speaks to a coordinator on behalf of people and programs: it
// compares versions before anything else, uploads what a job needs, submits,
// follows and cancels. Its errors say what to try.
package client

import (
	"context"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Addr is where the coordinator is: all addresses, with commas between.
func (c *Client) Addr() string { return c.addr }

// Job is the state of a job; id may be the beginning of one, if only one has it.
func (c *Client) Job(ctx context.Context, id string) (*pb.JobStatus, error) {
	s, err := c.rpc().GetJob(ctx, &pb.GetJobRequest{Job: id})
	return s, c.translate("job "+id, err)
}

// JobWithPlan is Job with the serialised plan in it.
func (c *Client) JobWithPlan(ctx context.Context, id string) (*pb.JobStatus, error) {
	s, err := c.rpc().GetJob(ctx, &pb.GetJobRequest{Job: id, Plan: true})
	return s, c.translate("job "+id, err)
}

// Jobs lists jobs, newest first. State is a state's name in lower case, "active",
// or "" for all; limit 0 is the coordinator's choice.
func (c *Client) Jobs(ctx context.Context, state string, limit int) ([]*pb.JobStatus, error) {
	r, err := c.rpc().ListJobs(ctx, &pb.ListJobsRequest{State: state, Limit: int32(limit)})
	return r.GetJobs(), c.translate("list jobs", err)
}

// Cancel asks for the end of a job and returns the state it is in now.
func (c *Client) Cancel(ctx context.Context, id, why string) (pb.JobState, error) {
	req := &pb.CancelJobRequest{Job: id, Why: why}
	r, err := retry(ctx, c, func(ctx context.Context, rpc pb.ClientClient) (*pb.CancelJobReply, error) {
		return rpc.CancelJob(ctx, req)
	})
	return r.GetState(), c.translate("cancel "+id, err)
}

// Retry submits an ended job again, as a new one, and returns its id.
func (c *Client) Retry(ctx context.Context, id string) (string, error) {
	r, err := c.rpc().RetryJob(ctx, &pb.RetryJobRequest{Job: id})
	return r.GetJob(), c.translate("retry "+id, err)
}

// Workers lists the cluster's workers.
func (c *Client) Workers(ctx context.Context) ([]*pb.WorkerStatus, error) {
	r, err := c.rpc().ListWorkers(ctx, &pb.ListWorkersRequest{})
	return r.GetWorkers(), c.translate("list workers", err)
}

// Drain asks a worker to finish what it runs, at most for grace, and to go.
func (c *Client) Drain(ctx context.Context, worker string, grace time.Duration) error {
	_, err := c.rpc().DrainWorker(ctx, &pb.DrainWorkerRequest{Worker: worker, GraceMillis: grace.Milliseconds()})
	return c.translate("drain "+worker, err)
}

// Logs yields logs of a job's attempts; stage, index and attempt of -1 stand for
// all. With follow it goes on until the job has ended. An error ends the sequence.
func (c *Client) Logs(ctx context.Context, req *pb.LogsRequest) iter.Seq2[*pb.LogChunk, error] {
	return stream(c, "logs of "+req.Job, func() (grpc.ServerStreamingClient[pb.LogChunk], error) { return c.rpc().Logs(ctx, req) })
}

// Events yields a job's event log from a sequence number on; with follow it goes
// on until the job has ended. An error ends the sequence.
func (c *Client) Events(ctx context.Context, id string, from uint64, follow bool) iter.Seq2[*pb.Event, error] {
	return stream(c, "events of "+id, func() (grpc.ServerStreamingClient[pb.Event], error) {
		return c.rpc().Events(ctx, &pb.EventsRequest{Job: id, From: from, Follow: follow})
	})
}

func stream[M any](c *Client, op string, open func() (grpc.ServerStreamingClient[M], error)) iter.Seq2[*M, error] {
	return func(yield func(*M, error) bool) {
		s, err := open()
		for err == nil {
			var m *M
			if m, err = s.Recv(); err == nil && !yield(m, nil) {
				return
			}
		}
		if err != io.EOF {
			yield(nil, c.translate(op, err))
		}
	}
}
