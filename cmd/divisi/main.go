// Command divisi is the whole system in one binary: coordinator, worker, a local
// cluster of both, and the client.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/version"
)

// commands is the command table: a command is a line here and a file.
var commands = []func(*app) *cobra.Command{
	demoCommand, upCommand, downCommand,
	runCommand, submitCommand, streamingCommand, explainCommand,
	lsCommand, showCommand, logsCommand, topCommand, cancelCommand, retryCommand, waitCommand, drainCommand,
	initCommand, validateCommand, gcCommand, inspectCommand, faultproxyCommand, chaosCommand,
	coordinatorCommand, workerCommand, securityCommand, versionCommand,
}

// An app is what all commands share.
type app struct {
	out, err io.Writer
	cluster  string // --cluster
	dir      string // --dir: of a local cluster
	security string // --security: folder of a certificate
	output   string // -o
	debug    bool
}

func main() {
	if len(os.Args) > 1 && slices.Contains([]string{"--task-host", "--describe"}, os.Args[1]) {
		switch { // as a job binary; the function's name is the job's
		case os.Args[1] == "--task-host":
			divisi.Main(builtin)
		case slices.Contains(os.Args, chainMark):
			divisi.Main(chain)
		case slices.Contains(os.Args, copyMark):
			divisi.Main(copying)
		}
		divisi.Main(wordcount)
	}
	exit(execute(context.Background(), &app{out: os.Stdout, err: os.Stderr}, os.Args[1:]))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
	}
	os.Exit(console.Code(err))
}

func execute(ctx context.Context, a *app, args []string) error {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return root.ExecuteContext(ctx)
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "divisi",
		Short: "Distributed batch processing: jobs in Go, one binary",
		Long: `divisi runs batch jobs on a cluster of workers, or on this machine.

First steps:
  divisi demo                     a cluster on this machine, a word count, checked
  divisi init wordcount           a job of your own, with a test
  divisi up --workers 3           a local cluster that stays`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		Version:       version.String(),
	}
	root.SetVersionTemplate(versionLine())
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(root, args[0])
	}
	root.SetFlagErrorFunc(flagError)
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "show stacks of errors")
	for _, c := range commands {
		root.AddCommand(c(a))
	}
	root.AddCommand(&cobra.Command{Use: "exit-codes", Short: "The exit codes of all commands and job binaries", Long: console.ExitCodes})
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		if c.Name() == "help" {
			c.Run, c.RunE = nil, helpTopic(root)
		}
	}
	return root
}

// helpTopic is "divisi help WHAT", which fails for what there is not.
func helpTopic(root *cobra.Command) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		c, rest, err := root.Find(args)
		if err != nil || c == nil || len(args) > 0 && (c == root || len(rest) > 0) {
			return unknownCommand(root, strings.Join(args, " "))
		}
		c.InitDefaultHelpFlag()
		return c.Help()
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	var names []string
	for _, c := range root.Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	if near := console.Suggest(name, names); near != "" {
		return console.Exitf(console.Usage, "unknown command %q: did you mean %q?", name, near)
	}
	return console.Exitf(console.Usage, "unknown command %q (divisi --help lists them)", name)
}

// flagError makes what is wrong with a flag a usage error, with a suggestion.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		var names []string
		names = append(names, flagNames(cmd)...)
		if near := console.Suggest(name, names); near != "" {
			return console.Exitf(console.Usage, "%s: unknown flag --%s: did you mean --%s?", cmd.CommandPath(), name, near)
		}
		return console.Exitf(console.Usage, "%s: unknown flag --%s (%s --help lists them)", cmd.CommandPath(), name, cmd.CommandPath())
	}
	return console.Exitf(console.Usage, "%s: %w", cmd.CommandPath(), err)
}

// between checks the number of arguments; most < 0 is any number.
func between(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return console.Exitf(console.Usage, "usage: %s (got %d arguments)", cmd.UseLine(), len(args))
		}
		return nil
	}
}
