package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/dataflow/streaming"
	"github.com/divisi-data/divisi/internal/console"
)

const streamingHelp = `Run programs as mapper and reducer, by the flags of Hadoop Streaming: any program
that reads lines and prints lines. A key is what stands before the first tab; lines
reach a reducer sorted by it. On standard error a program may print
"reporter:counter:GROUP,NAME,N" and "reporter:status:TEXT".

The engine's flags, with two dashes, come first:
  --cluster HOST:PORT   run there (or DIVISI_CLUSTER); without it: in this process
  --security DIR        a client's certificate, for a cluster with TLS (or DIVISI_SECURITY)
  --mode MODE           what to do when the output exists: fail, append, replace
  --progress MODE       progress on standard error: auto, bar, plain, none
  --parallelism N, --memory SIZE, --tmp DIR, --explain, --debug, -o table|json

Then those of Hadoop Streaming:
`

func streamingCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "streaming [--cluster HOST:PORT] -input PATH -output PATH -mapper COMMAND [-reducer COMMAND]",
		Short: "Run programs as mapper and reducer, with Hadoop Streaming's flags",
		Long:  streamingHelp + streaming.Usage(),
		Example: "  divisi streaming -files mapper.py,reducer.py -input 'logs/*' -output counts \\\n" +
			"      -mapper 'python3 mapper.py' -reducer 'python3 reducer.py' -numReduceTasks 4",
		DisableFlagParsing: true,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		engine, rest := engineFlags(args)
		if len(rest) == 0 && slices.Contains(engine, "--help") || len(args) == 1 && args[0] == "-h" {
			return cmd.Help()
		}
		s, warnings, err := streaming.Parse(rest)
		if errors.Is(err, streaming.ErrHelp) {
			return cmd.Help()
		}
		if err != nil {
			return streamingUsage(err)
		}
		for _, w := range warnings {
			fmt.Fprintf(a.err, "warning: %s\n", w)
		}
		for i, f := range s.Files { // the job is described in another process's folder
			if s.Files[i].Path, err = filepath.Abs(f.Path); err != nil {
				return err
			}
			if st, err := os.Stat(f.Path); err != nil || !st.Mode().IsRegular() {
				return console.Exitf(console.Usage, "streaming: %s cannot be shipped: it is no file here", f.Path)
			}
		}
		spec, err := s.Encode()
		if err != nil {
			return err
		}
		if s.Verbose {
			describeStreaming(a.err, s)
		}
		divisi.MainArgs(s.Name(), builtin, append(engine, streamingMark, spec)) // exits
		return nil
	}
	return cmd
}

// engineFlags are the flags before those of Hadoop: with two dashes, or -o.
func engineFlags(args []string) (engine, rest []string) {
	for len(args) > 0 {
		name, _, has := strings.Cut(args[0], "=")
		if name == "--" || !strings.HasPrefix(name, "--") && name != "-o" {
			break
		}
		n := 2
		if has || slices.Contains([]string{"--debug", "--explain", "--help"}, name) {
			n = 1
		}
		n = min(n, len(args))
		engine, args = append(engine, args[:n]...), args[n:]
	}
	return engine, args
}

// streamingUsage is what is wrong with the flags, with suggestions.
func streamingUsage(err error) error {
	text := err.Error()
	var unknown *streaming.UnknownFlag
	if errors.As(err, &unknown) {
		near := console.Suggest(unknown.Name, streaming.Flags())
		switch {
		case strings.HasPrefix(unknown.Name, "-"):
			text += ": the engine's flags come before those of Hadoop"
		case near != "":
			text += fmt.Sprintf(": did you mean -%s?", near)
		default:
			text += " (divisi streaming -help lists them)"
		}
	}
	return console.Exitf(console.Usage, "%s", text)
}

func describeStreaming(w io.Writer, s streaming.Spec) {
	line := func(name string, values ...string) { fmt.Fprintf(w, "%-9s %s\n", name, strings.Join(values, " ")) }
	line("input", s.Inputs...)
	line("mapper", cmp.Or(s.Mapper, "(lines pass)"))
	if s.Combiner != "" {
		line("combiner", s.Combiner)
	}
	line("reducer", cmp.Or(s.Reducer, "(lines pass)"), fmt.Sprintf("(%d tasks)", s.Reduces))
	for _, f := range s.Files {
		line("file", f.Name, "from", f.Path)
	}
	for _, p := range s.Properties {
		line("property", p.Name+"="+p.Value)
	}
	line("output", s.Output)
}
