package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type cancelOptions struct {
	app    *app
	cancel func(ctx context.Context, id, why string) (pb.JobState, error)
	jobs   []string
	why    string
}

func cancelCommand(a *app) *cobra.Command {
	o := cancelOptions{app: a}
	cmd := &cobra.Command{
		Use: "cancel JOB...", Short: "Cancel jobs", Args: between(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			o.cancel, o.jobs = c.Cancel, args
			return cancel(cmd.Context(), o)
		},
	}
	a.clusterFlags(cmd)
	a.outputFlag(cmd)
	cmd.Flags().StringVar(&o.why, "why", "cancelled by divisi cancel", "reason, kept with the job")
	return cmd
}

type stateDoc struct {
	versioned
	ID    string `json:"id"`
	State string `json:"state"`
}

func cancel(ctx context.Context, o cancelOptions) error {
	var docs []*stateDoc
	var errs []error
	for _, id := range o.jobs {
		s, err := o.cancel(ctx, id, o.why)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		docs = append(docs, &stateDoc{ID: id, State: console.State(s)})
	}
	err := printList(o.app, "jobs", docs, func(w io.Writer) {
		for _, d := range docs {
			fmt.Fprintf(w, "%s\t%s\n", d.ID, d.State)
		}
	})
	return errors.Join(append(errs, err)...)
}
