package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
)

type runOptions struct {
	submitOptions
	progress string
	dryRun   bool
}

func runCommand(a *app) *cobra.Command {
	o := runOptions{submitOptions: submitOptions{app: a}, progress: console.ProgressAuto}
	cmd := &cobra.Command{
		Use: "run [flags] BINARY|GO-PACKAGE [-- ARGS...]", Short: "Submit a job and follow it to its end", Args: between(1, -1),
		Long: "Submit a job, show its progress, and exit as it ended. Ctrl-C cancels the job.\nWith --dry-run nothing is executed: the inputs are looked up and their splits counted.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.take(cmd, args); err != nil {
				return err
			}
			if o.dryRun {
				return dryRun(cmd.Context(), o)
			}
			return run(cmd.Context(), o)
		},
	}
	o.flags(cmd)
	a.output = "table"
	cmd.Flags().VarP(choice{&a.output, []string{"table", "json"}}, "output", "o", "form of the summary")
	cmd.Flags().Var(choice{&o.progress, []string{"auto", "bar", "plain", "none"}}, "progress", "progress on standard error")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "look up inputs and count splits, execute nothing")
	return cmd
}

func run(ctx context.Context, o runOptions) error {
	p, err := console.NewProgress(o.app.err, o.progress)
	if err != nil {
		return err
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
	id, err := submit(ctx, c, o.submitOptions)
	if err != nil {
		return err
	}
	p.Note("job %s", id)
	st, err := console.Follow(ctx, c, id, p)
	if st == nil || !client.Ended(st.State) {
		return err
	}
	if o.app.debug && st.ErrorStack != "" {
		fmt.Fprintln(o.app.err, console.Plain(st.ErrorStack))
	}
	perr := console.Summarize(st).Print(o.app.out, o.app.output == "json")
	return errors.Join(console.Outcome(st), err, perr)
}

// dryRun needs no cluster, but plans for the one that is named.
func dryRun(ctx context.Context, o runOptions) error {
	slots, platforms := runtime.GOMAXPROCS(0), []string(nil)
	if _, err := o.app.target(); err == nil {
		c, err := o.app.dial(ctx)
		if err != nil {
			return err
		}
		slots, platforms = max(1, int(c.Cluster().Slots)), c.Cluster().Platforms
		c.Close()
	}
	b, err := findBinary(ctx, o.app.err, o.target, platforms)
	if err != nil {
		return err
	}
	defer b.remove()
	text, err := b.call(ctx, o.app.err, slices.Concat([]string{"--dry-run", "--slots", strconv.Itoa(slots)}, o.jobFlags(), o.args))
	if err != nil {
		return err
	}
	_, err = o.app.out.Write(text)
	return err
}
