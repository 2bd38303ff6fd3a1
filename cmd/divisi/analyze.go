package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
)

// analyze prints the plan of a job with what its operators did so far. The job of a
// program is run first.
func analyze(ctx context.Context, o submitOptions, asJSON bool) error {
	o.analyze = true
	if o.isProgram() && o.app.cluster == "" && o.app.dir == "" && os.Getenv("DIVISI_CLUSTER") == "" {
		return o.analyzeHere(ctx, asJSON)
	}
	ctx, stop := console.Signals(ctx, func(s os.Signal) {
		fmt.Fprintf(o.app.err, "\n%v: cancelling the job; again to leave it at once\n", s)
	}, func() { os.Exit(console.Canceled) })
	defer stop()
	c, err := o.app.dialPatiently(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	id := o.target
	var outcome error
	if o.isProgram() {
		if id, err = submit(ctx, c, o); err != nil {
			return err
		}
		p, err := console.NewProgress(o.app.err, console.ProgressAuto)
		if err != nil {
			return err
		}
		s, err := console.Follow(ctx, c, id, p)
		if err != nil {
			return err
		}
		outcome = console.Outcome(s)
	}
	return errors.Join(outcome, printAnalysis(context.WithoutCancel(ctx), o.app, c, id, asJSON))
}

// analyzeHere lets the program run its job itself.
func (o *submitOptions) analyzeHere(ctx context.Context, asJSON bool) error {
	b, err := findBinary(ctx, o.app.err, o.target, nil)
	if err != nil {
		return err
	}
	defer b.remove()
	flags := o.jobFlags()
	if asJSON {
		flags = append(flags, "--explain=json")
	}
	text, err := b.call(ctx, o.app.err, slices.Concat(flags, o.args))
	_, werr := o.app.out.Write(text) // of a job that failed too
	return errors.Join(err, werr)
}

func printAnalysis(ctx context.Context, a *app, c *client.Client, id string, asJSON bool) error {
	s, err := c.JobWithPlan(ctx, id)
	if err != nil {
		return err
	}
	p, err := plan.Parse(s.Plan)
	if err != nil {
		return err
	}
	return console.Analyze(p, s).Print(a.out, asJSON)
}
