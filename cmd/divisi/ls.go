package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type lsOptions struct {
	app   *app
	jobs  func(ctx context.Context, state string, limit int) ([]*pb.JobStatus, error)
	now   func() time.Time
	state string
	limit int
}

func lsCommand(a *app) *cobra.Command {
	o := lsOptions{app: a, now: time.Now}
	cmd := &cobra.Command{
		Use: "ls", Short: "List jobs, newest first", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.limit < 0 {
				return console.Exitf(console.Usage, "--limit %d: want a number from 0 on", o.limit)
			}
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			o.jobs = c.Jobs
			return ls(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	cmd.Flags().Var(choice{&o.state, []string{"active", "pending", "running", "publishing", "succeeded", "failed", "canceled"}}, "state", "only jobs in this state")
	cmd.Flags().IntVarP(&o.limit, "limit", "n", 50, "at most so many")
	return cmd
}

func ls(ctx context.Context, o lsOptions) error {
	jobs, err := o.jobs(ctx, o.state, o.limit)
	if err != nil {
		return err
	}
	var docs []*jobDoc
	for _, s := range jobs {
		docs = append(docs, jobDocOf(s, o.now()))
	}
	return printList(o.app, "jobs", docs, func(w io.Writer) { jobTable(w, jobs, o.now()) })
}
