package divisi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/security"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/task"
)

// Main is the whole main function of a job binary: it reads the program's flags,
// builds the job, runs it in this process or on a cluster, prints the summary, and
// exits with one of the codes that "divisi help exit-codes" lists.
//
// The build function is called in every process that works for the job, with the
// same arguments, and must build the same graph each time.
func Main(build func(*dataflow.Job)) { MainArgs(jobName(build), build, os.Args[1:]) }

// MainArgs is Main for a program that names the job itself and makes its arguments of
// its own. Task hosts of the job are this program too, started with one argument,
// "--task-host": its main function must call Main or MainArgs with the same build
// function then.
func MainArgs(name string, build func(*dataflow.Job), args []string) {
	task.Relax()
	err := run(name, build, args, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
	}
	os.Exit(console.Code(err))
}

func run(name string, build func(*dataflow.Job), args []string, stdout, stderr io.Writer) error {
	f, rest, err := parseFlags(args)
	if err != nil {
		return err
	}
	switch {
	case f.help:
		usage(stdout, name, build)
		return nil
	case f.taskHost:
		// A terminal's Ctrl-C reaches the whole group; a host ends with its worker.
		signal.Ignore(os.Interrupt)
		task.ServeProcess(build)
	case f.describe:
		b, err := buildJob(name, build, rest, f.options(max(f.slots, 1)), int64(f.memory), f.redact)
		if err == nil && f.analyze {
			err = b.estimate(context.Background(), func(err error) { fmt.Fprintf(stderr, "note: %v\n", err) })
		}
		if err != nil {
			return err
		}
		return b.sub.Describe(stdout)
	case f.dryRun:
		b, err := buildJob(name, build, rest, f.options(max(f.slots, 1)), int64(f.memory), f.redact)
		if err != nil {
			return err
		}
		return dryRun(context.Background(), stdout, b.program, max(f.slots, 1))
	}
	progress, err := console.NewProgress(stderr, f.progress)
	if err != nil {
		return err
	}
	// Neither this nor a connection is ended here: with the process they end in less time.
	ctx := interruptible(progress)
	var c *client.Client
	slots := f.parallelism
	if slots == 0 {
		slots = runtime.GOMAXPROCS(0)
	}
	if f.cluster != "" {
		id, err := security.LoadClient(f.security)
		if err != nil {
			return err
		}
		if c, err = client.DialPatiently(ctx, f.cluster, client.As(id)); err != nil {
			return err
		}
		slots = max(1, int(c.Cluster().Slots))
	}
	b, err := buildJob(name, build, rest, f.options(slots), int64(f.memory), f.redact)
	if err != nil {
		return err
	}
	switch {
	case f.analyze && f.explain == "dot":
		return console.Exitf(console.Usage, "--analyze prints text or JSON, not dot")
	case f.analyze:
		if err := b.estimate(ctx, func(err error) { progress.Note("%v", err) }); err != nil {
			return err
		}
	case f.explain != "":
		return explain(stdout, b.program.Plan, f.explain)
	}
	if c != nil {
		if b.sub.Binary, err = ownBinary(c); err != nil {
			return err
		}
	} else {
		l, err := startLocal(ctx, build, localConfig{
			slots: slots, memory: int64(f.memory), tmp: f.tmp, named: "--tmp", debug: f.debug,
		})
		if err != nil {
			return err
		}
		defer l.closeWithin(closeWithin)
		atExit.add(l.removeFiles)
		c = l.client
	}
	st, err := submit(ctx, c, b.sub, progress)
	if st == nil || !client.Ended(st.State) {
		return err
	}
	if f.debug && st.ErrorStack != "" {
		fmt.Fprintln(stderr, console.Plain(st.ErrorStack))
	}
	if f.analyze {
		asJSON := f.explain == "json"
		err = errors.Join(err, console.Analyze(b.program.Plan, st).Print(stdout, asJSON))
		if asJSON {
			return errors.Join(console.Outcome(st), err)
		}
	}
	if perr := console.Summarize(st).Print(stdout, f.output == "json"); err == nil {
		err = perr
	}
	return errors.Join(console.Outcome(st), err)
}

// submit submits a job and follows it to its end.
func submit(ctx context.Context, c *client.Client, sub client.Submission, p *console.Progress) (*pb.JobStatus, error) {
	id, err := c.Submit(ctx, sub)
	if err != nil {
		return nil, err
	}
	return console.Follow(ctx, c, id, p)
}

func (f *flags) options(slots int) plan.Options {
	return plan.Options{Partitions: f.partitions, Slots: slots, Mode: f.mode}
}

// interruptible is a context that ends with the first signal; the second one ends
// the process at once, without its temporary files.
func interruptible(p *console.Progress) context.Context {
	ctx, _ := console.Signals(context.Background(),
		func(s os.Signal) {
			fmt.Fprintf(os.Stderr, "\n%v: cancelling the job; again to leave it at once\n", s)
		},
		func() {
			atExit.run()
			os.Exit(console.Canceled)
		})
	return ctx
}

// ownBinary is this program's file, if the cluster can run it.
func ownBinary(c *client.Client) (string, error) {
	own := runtime.GOOS + "/" + runtime.GOARCH
	if have := c.Cluster().Platforms; len(have) > 0 && !slices.Contains(have, own) {
		return "", console.Exitf(console.Usage, "this binary is for %s, the cluster's workers are %v: "+
			"use \"divisi submit PACKAGE\", which builds for the cluster", own, have)
	}
	return os.Executable()
}

func explain(w io.Writer, p *plan.Plan, format string) error {
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
	_, err := io.WriteString(w, p.Text())
	return err
}
