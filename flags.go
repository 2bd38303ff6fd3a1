package divisi

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/console"
)

// flags are those that every job binary has. They come before the job's own.
type flags struct {
	cluster     string
	security    string // folder of a certificate
	parallelism int
	partitions  int
	memory      console.Size
	mode        dataflow.Mode
	tmp         []string
	progress    string
	output      string
	explain     string // "", text, json, dot
	analyze     bool
	redact      bool
	debug       bool
	help        bool

	// For other programs of this project, not for people.
	taskHost bool
	describe bool
	dryRun   bool
	slots    int
}

// A flagSpec is one of them. Without a value (bare) set gets "".
type flagSpec struct {
	name, value, usage string
	bare, hidden       bool
	set                func(f *flags, v string) error
}

var flagSpecs = []flagSpec{
	{name: "cluster", value: "HOST:PORT[,HOST:PORT]", usage: "run there (or DIVISI_CLUSTER), several: of standbys; without it: in this process",
		set: func(f *flags, v string) error { f.cluster = v; return nil }},
	{name: "security", value: "DIR", usage: "folder of a client's certificate, for a cluster with TLS (or DIVISI_SECURITY)",
		set: func(f *flags, v string) error { f.security = v; return nil }},
	{name: "parallelism", value: "N", usage: "tasks at a time, in this process (default: cores)",
		set: func(f *flags, v string) error { return positive(&f.parallelism, v) }},
	{name: "partitions", value: "N", usage: "partitions of every shuffle that the job does not fix itself (default: chosen)",
		set: func(f *flags, v string) error { return positive(&f.partitions, v) }},
	{name: "memory", value: "SIZE", usage: "budget, 256MiB or 2GiB: of this process, or of each task host on a cluster",
		set: func(f *flags, v string) error { return f.memory.Set(v) }},
	{name: "mode", value: "fail|append|replace", usage: "what to do when the output exists (default fail)",
		set: func(f *flags, v string) error { return oneOf((*string)(&f.mode), v, "fail", "append", "replace") }},
	{name: "tmp", value: "DIR", usage: "folder for spill and shuffle files (may be repeated)",
		set: func(f *flags, v string) error { f.tmp = append(f.tmp, v); return nil }},
	{name: "progress", value: "auto|bar|plain|none", usage: "progress on standard error (default auto)",
		set: func(f *flags, v string) error { return oneOf(&f.progress, v, "auto", "bar", "plain", "none") }},
	{name: "o", value: "table|json", usage: "the last line of standard output: the job's summary (default table)",
		set: func(f *flags, v string) error { return oneOf(&f.output, v, "table", "json") }},
	{name: "explain", value: "", usage: "print the plan and stop; --explain=json or =dot for programs", bare: true,
		set: func(f *flags, v string) error {
			if v == "" {
				v = "text"
			}
			return oneOf(&f.explain, v, "text", "json", "dot")
		}},
	{name: "analyze", usage: "run the job, and print its plan with what each operator did; with --explain=json for programs", bare: true,
		set: func(f *flags, v string) error { f.analyze = true; return nil }},
	{name: "redact-records", usage: "keep what records hold out of errors and logs", bare: true,
		set: func(f *flags, v string) error { f.redact = true; return nil }},
	{name: "debug", usage: "log what the engine does, and show stacks of errors", bare: true,
		set: func(f *flags, v string) error { f.debug = true; return nil }},
	{name: "help", usage: "print this", bare: true,
		set: func(f *flags, v string) error { f.help = true; return nil }},
	{name: "h", bare: true, hidden: true,
		set: func(f *flags, v string) error { f.help = true; return nil }},
	{name: "task-host", bare: true, hidden: true,
		set: func(f *flags, v string) error { f.taskHost = true; return nil }},
	{name: "describe", bare: true, hidden: true,
		set: func(f *flags, v string) error { f.describe = true; return nil }},
	{name: "dry-run", bare: true, hidden: true,
		set: func(f *flags, v string) error { f.dryRun = true; return nil }},
	{name: "slots", hidden: true,
		set: func(f *flags, v string) error { return positive(&f.slots, v) }},
}

// parseFlags reads the engine's flags. The job's own arguments begin with the first
// one that is none of them, or after "--".
func parseFlags(args []string) (flags, []string, error) {
	f := flags{cluster: os.Getenv("DIVISI_CLUSTER"), security: os.Getenv("DIVISI_SECURITY"), mode: dataflow.Fail, progress: console.ProgressAuto, output: "table"}
	for len(args) > 0 {
		arg := args[0]
		if arg == "--" {
			return f, args[1:], nil
		}
		name, ok := strings.CutPrefix(arg, "-")
		if !ok {
			break
		}
		name, value, has := strings.Cut(strings.TrimPrefix(name, "-"), "=")
		i := slices.IndexFunc(flagSpecs, func(s flagSpec) bool { return s.name == name })
		if i < 0 {
			break // the job's
		}
		args = args[1:]
		if !has && !flagSpecs[i].bare {
			if len(args) == 0 {
				return f, nil, console.Exitf(console.Usage, "flag %s needs a value: %s", dashes(name), flagSpecs[i].value)
			}
			value, args = args[0], args[1:]
		}
		if err := flagSpecs[i].set(&f, value); err != nil {
			return f, nil, console.Exitf(console.Usage, "flag %s: %w", dashes(name), err)
		}
	}
	return f, args, nil
}

func positive(n *int, text string) error {
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 {
		return fmt.Errorf("%q is no number from 1 on", text)
	}
	*n = v
	return nil
}

func oneOf(s *string, got string, want ...string) error {
	if !slices.Contains(want, got) {
		hint := ""
		if near := console.Suggest(got, want); near != "" {
			hint = fmt.Sprintf(": did you mean %s?", near)
		}
		return fmt.Errorf("%q is none of %s%s", got, strings.Join(want, ", "), hint)
	}
	*s = got
	return nil
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// unknownFlag looks for what the job cannot know among its arguments and says what
// was meant; nil where there is nothing of the kind.
func unknownFlag(j *dataflow.Job, args []string) error {
	var names []string
	for _, s := range flagSpecs {
		if !s.hidden {
			names = append(names, s.name)
		}
	}
	engine := len(names)
	for name := range jobFlags(j) {
		names = append(names, name)
	}
	for _, a := range args {
		name, ok := strings.CutPrefix(a, "-")
		if a == "--" {
			return nil
		}
		if _, err := strconv.ParseFloat(a, 64); !ok || name == "" || err == nil {
			continue
		}
		name, _, _ = strings.Cut(strings.TrimPrefix(name, "-"), "=")
		if j.Flags().Lookup(name) != nil {
			continue
		}
		if slices.Contains(names[:engine], name) {
			return console.Exitf(console.Usage, "flag %s is the engine's: it comes before the job's own arguments", dashes(name))
		}
		if near := console.Suggest(name, names); near != "" {
			return console.Exitf(console.Usage, "unknown flag %s: did you mean %s?", dashes(name), dashes(near))
		}
		return console.Exitf(console.Usage, "unknown flag %s (--help lists them; a value that begins with a dash comes after --)", dashes(name))
	}
	return nil
}
