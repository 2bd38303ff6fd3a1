package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type showOptions struct {
	app *app
	job func(ctx context.Context, id string) (*pb.JobStatus, error)
	now func() time.Time
	id  string
}

func showCommand(a *app) *cobra.Command {
	o := showOptions{app: a, now: time.Now}
	cmd := &cobra.Command{
		Use: "show JOB", Short: "Show a job with its stages and counters", Args: between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			o.job, o.id = c.Job, args[0]
			return show(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	return cmd
}

func show(ctx context.Context, o showOptions) error {
	s, err := o.job(ctx, o.id)
	if err != nil {
		return err
	}
	return printOne(o.app, jobDocOf(s, o.now()), func(w io.Writer) {
		jobDetails(w, s, o.now())
		if o.app.debug && s.ErrorStack != "" {
			fmt.Fprintf(w, "\n%s\n", console.Plain(s.ErrorStack))
		}
	})
}
