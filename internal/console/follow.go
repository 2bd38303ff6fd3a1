package console

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/divisi-data/divisi/internal/client"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// cancelPatience bounds how long a cancelled job's end is waited for.
const cancelPatience = 30 * time.Second

// Follow shows a job's progress until its end and returns the last status. Of a job that
// succeeded, workers may still have files then, which they remove by themselves. When
// ctx is cancelled it cancels the job, and waits until that has ended too.
func Follow(ctx context.Context, c *client.Client, id string, p *Progress) (*pb.JobStatus, error) {
	wctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	asked := make(chan struct{})
	done := make(chan struct{})
	defer func() { stop(); <-asked }()
	defer close(done)
	go func() {
		defer close(asked)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		cctx, cancel := context.WithTimeout(wctx, cancelPatience)
		defer cancel()
		if _, err := c.Cancel(cctx, id, "cancelled by the client"); err != nil {
			stop()
			return
		}
		select {
		case <-done:
		case <-cctx.Done():
			stop()
		}
	}()
	var last *pb.JobStatus
	for s, err := range c.WatchOutcome(wctx, id) {
		if err != nil {
			p.End()
			if ctx.Err() != nil {
				err = Exitf(Canceled, "job %s: cancelled, and its end was not seen: %w", id, err)
			}
			return last, err
		}
		last = s
		p.Show(s)
		if s.State == pb.JobState_JOB_STATE_SUCCEEDED && s.OutputsCleaned {
			break
		}
	}
	p.End()
	TellLeft(last, p.Note)
	return last, nil
}

// TellLeft says what an ended job has left behind so far, if that is not nothing.
func TellLeft(s *pb.JobStatus, say func(format string, a ...any)) {
	switch {
	case !client.Ended(s.GetState()):
	case (s.Cleaned || s.OutputsCleaned) && s.Left != "":
		say("not everything that attempts left could be removed: %s (\"divisi gc --delete FOLDER\" removes it when the output can be reached)", Plain(s.Left))
	case s.Left != "":
		say("what attempts left could not be removed yet, and is tried again: %s", Plain(s.Left))
	case !s.Cleaned && !s.OutputsCleaned:
		say("what attempts left is still being removed; \"divisi show %s\" tells how that goes", s.Id)
	}
}

// Signals returns a context that ends with the first SIGINT, SIGTERM or SIGHUP,
// after telling so by first; a second signal calls second, which does not return.
func Signals(ctx context.Context, first func(os.Signal), second func()) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	ended, stop := context.WithCancel(context.Background())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case s := <-ch:
			first(s)
			cancel()
		case <-ended.Done():
			return
		}
		select {
		case <-ch:
			second()
		case <-ended.Done():
		}
	}()
	return ctx, func() { signal.Stop(ch); stop(); cancel(); <-gone }
}
