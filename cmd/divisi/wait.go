package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type waitOptions struct {
	app     *app
	wait    func(ctx context.Context, id string) (*pb.JobStatus, error)
	now     func() time.Time
	id      string
	timeout time.Duration
}

func waitCommand(a *app) *cobra.Command {
	o := waitOptions{app: a, now: time.Now}
	cmd := &cobra.Command{
		Use: "wait JOB", Short: "Wait until a job has ended; the exit code says how", Args: between(1, 1),
		Long: "Wait until a job has ended and nothing of it is left on the workers;\nof a job that failed or was cancelled, no longer than a few seconds, and what is left is told.\nExits 0 when it succeeded, 1 when it failed, 3 when it was cancelled, 6 after --timeout.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			o.wait, o.id = c.WaitOutcome, args[0]
			return wait(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 0, "give up after this time (0: never); the job goes on")
	return cmd
}

func wait(ctx context.Context, o waitOptions) error {
	wctx := ctx
	if o.timeout > 0 {
		var stop context.CancelFunc
		wctx, stop = context.WithTimeout(ctx, o.timeout)
		defer stop()
	}
	s, err := o.wait(wctx, o.id)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		state := "unknown"
		if s != nil {
			state = console.State(s.State)
		}
		return console.Exitf(console.Timeout, "job %s has not ended within %v (state %s); it goes on", o.id, o.timeout, state)
	}
	if err != nil {
		return err
	}
	if s == nil || !client.Ended(s.State) {
		return console.Exitf(console.JobFailed, "job %s: its end was not seen", o.id)
	}
	console.TellLeft(s, func(format string, a ...any) { fmt.Fprintf(o.app.err, format+"\n", a...) })
	err = printOne(o.app, jobDocOf(s, o.now()), func(w io.Writer) {
		console.Summarize(s).Print(w, false)
	})
	return errors.Join(console.Outcome(s), err)
}
