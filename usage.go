package divisi

import (
	"flag"
	"fmt"
	"io"
	"iter"

	"github.com/divisi-data/divisi/dataflow"
)

// usage prints the flags of the engine and of the job. A job tells its flags only
// by being built, so it is, with no arguments; what is wrong with that is not told.
func usage(w io.Writer, name string, build func(*dataflow.Job)) {
	fmt.Fprintf(w, "usage: %s [flags] [--] ARGS...\n\nflags, before the job's own arguments:\n", name)
	for _, s := range flagSpecs {
		if s.hidden {
			continue
		}
		fmt.Fprintf(w, "  %-32s %s\n", dashes(s.name)+" "+s.value, s.usage)
	}
	j := dataflow.NewJob(name, nil)
	func() {
		defer func() { _ = recover() }()
		build(j)
	}()
	first := true
	for name, f := range jobFlags(j) {
		if first {
			fmt.Fprintf(w, "\nflags of the job:\n")
			first = false
		}
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-32s %s\n", dashes(name)+" "+value, text)
	}
	fmt.Fprintf(w, "\nWithout --cluster the job runs in this process. Exit codes: 0 ok, 1 job failed, 2 usage,\n"+
		"3 cancelled, 4 not allowed, 5 cluster unreachable, 6 time-out, 7 data check failed.\n")
}

// jobFlags are the flags a job has declared, in order of name.
func jobFlags(j *dataflow.Job) iter.Seq2[string, *flag.Flag] {
	return func(yield func(string, *flag.Flag) bool) {
		more := true
		j.Flags().VisitAll(func(f *flag.Flag) { more = more && yield(f.Name, f) })
	}
}
