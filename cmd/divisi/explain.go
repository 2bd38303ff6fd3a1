package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/console"
)

func explainCommand(a *app) *cobra.Command {
	o := submitOptions{app: a}
	format, analyzed := "text", false
	cmd := &cobra.Command{
		Use: "explain [flags] JOB|BINARY|GO-PACKAGE [-- ARGS...]", Short: "Print the plan of a job", Args: between(1, -1),
		Long: "Print the plan of a program's job, or of one that was submitted.\n" +
			"With --analyze also what its operators did: rows, bytes, time, spilled bytes, memory. A program's job is run\n" +
			"for that: on the cluster that --cluster, --dir or DIVISI_CLUSTER names, else in its own process.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.take(cmd, args); err != nil {
				return err
			}
			if !o.isProgram() {
				if err := flagsBehind(cmd, o.args); err != nil {
					return err
				}
			}
			if a.output == "json" {
				format = "json"
			}
			if analyzed {
				if format == "dot" {
					return console.Exitf(console.Usage, "--analyze prints text or JSON, not dot")
				}
				return analyze(cmd.Context(), o, format == "json")
			}
			return explain(cmd.Context(), o, format)
		},
	}
	cmd.AddCommand(placementCommand(a))
	o.flags(cmd)
	a.output = "table"
	cmd.Flags().VarP(choice{&a.output, []string{"table", "json"}}, "output", "o", "json: the same as --format json")
	cmd.Flags().Var(choice{&format, []string{"text", "json", "dot"}}, "format", "form of the plan")
	cmd.Flags().BoolVar(&analyzed, "analyze", false, "also what its operators did; a program's job is run")
	return cmd
}

// flagsBehind reads the flags that stand behind a job's id. Those behind a program are
// the job's own arguments, which a job that was submitted does not take any more.
func flagsBehind(cmd *cobra.Command, args []string) error {
	flags := cmd.Flags()
	flags.SetInterspersed(true)
	if err := flags.Parse(args); err != nil {
		return cmd.FlagErrorFunc()(cmd, err)
	}
	if rest := flags.Args(); len(rest) > 0 {
		return console.Exitf(console.Usage, "%q: a job that was submitted takes no arguments", rest[0])
	}
	return nil
}

// explain asks a program for the plan of its job, or the cluster for that of a job
// that was submitted.
func explain(ctx context.Context, o submitOptions, format string) error {
	if o.isProgram() {
		b, err := findBinary(ctx, o.app.err, o.target, nil)
		if err != nil {
			return err
		}
		defer b.remove()
		text, err := b.call(ctx, o.app.err, slices.Concat([]string{"--explain=" + format}, o.jobFlags(), o.args))
		if err != nil {
			return err
		}
		_, err = o.app.out.Write(text)
		return err
	}
	c, err := o.app.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := c.JobWithPlan(ctx, o.target)
	if err != nil {
		return err
	}
	p, err := plan.Parse(s.Plan)
	if err != nil {
		return err
	}
	return printPlan(o.app.out, p, format)
}

func printPlan(w io.Writer, p *plan.Plan, format string) error {
	switch format {
	case "json":
		b, err := p.JSON()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	case "dot":
		_, err := io.WriteString(w, p.DOT())
		return err
	}
	_, err := io.WriteString(w, console.Plain(p.Text()))
	return err
}
