package client

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Ended reports whether a state is final.
func Ended(s pb.JobState) bool {
	return s == pb.JobState_JOB_STATE_SUCCEEDED || s == pb.JobState_JOB_STATE_FAILED || s == pb.JobState_JOB_STATE_CANCELED
}

// Watch yields a job's status, now and on every change, until the final one, which
// comes when nothing of the job is left on the workers. A coordinator that goes
// away is waited for, up to a minute, since a restarted one goes on with the job: also
// after the job's end, for it may have more to clear up. An error ends the sequence; one
// that comes after the job's end only says that the clearing up was not seen, and is
// left out.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[*pb.JobStatus, error] {
	return func(yield func(*pb.JobStatus, error) bool) {
		ended := false
		for {
			heard, over := false, false
			_, err := retry(ctx, c, func(ctx context.Context, rpc pb.ClientClient) (*pb.JobStatus, error) {
				s, err := rpc.WatchJob(ctx, &pb.WatchJobRequest{Job: id})
				for err == nil {
					var st *pb.JobStatus
					if st, err = s.Recv(); err != nil {
						break
					}
					heard, ended = true, Ended(st.State)
					if !yield(st, nil) {
						return st, errStopped
					}
				}
				if silent(ctx) {
					err = errSilent
				}
				over = err == io.EOF && ended
				if over || heard && status.Code(err) == codes.Unavailable {
					return nil, nil // or gone after it spoke: the patience begins anew
				}
				if err == io.EOF {
					return nil, status.Error(codes.Unavailable, "the coordinator closed the stream before the job's end")
				}
				return nil, err
			})
			switch {
			case errors.Is(err, errStopped), over, err != nil && ended && ctx.Err() == nil:
				return
			case err != nil:
				if ctx.Err() != nil {
					err = ctx.Err()
				}
				yield(nil, c.translate("watch "+id, err))
				return
			}
		}
	}
}

// WatchOutcome is Watch until a job's outcome is known and what there is to clear up is
// done, has turned out not to be possible yet, or takes longer than is waited for: then
// the coordinator goes on with it, and the last status is not Cleaned.
func (c *Client) WatchOutcome(ctx context.Context, id string) iter.Seq2[*pb.JobStatus, error] {
	return func(yield func(*pb.JobStatus, error) bool) {
		wctx, stop := context.WithCancel(ctx)
		defer stop()
		ended := false
		for st, err := range c.Watch(wctx, id) {
			if err != nil {
				if !ended || ctx.Err() != nil {
					yield(nil, err)
				}
				return
			}
			if !ended && Ended(st.State) && st.State != pb.JobState_JOB_STATE_SUCCEEDED {
				ended = true
				late := time.AfterFunc(c.Patience, stop)
				defer late.Stop()
			}
			if !yield(st, nil) || Ended(st.State) && st.Left != "" {
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

// Wait is Watch's last status, WaitOutcome is WatchOutcome's.
func (c *Client) Wait(ctx context.Context, id string) (*pb.JobStatus, error) {
	return last(c.Watch(ctx, id))
}

// WaitOutcome is described at Wait.
func (c *Client) WaitOutcome(ctx context.Context, id string) (*pb.JobStatus, error) {
	return last(c.WatchOutcome(ctx, id))
}

func last(all iter.Seq2[*pb.JobStatus, error]) (last *pb.JobStatus, err error) {
	for st, err := range all {
		if err != nil {
			return last, err
		}
		last = st
	}
	return last, nil
}
