package divisi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/plan"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// ErrUsage is what Run fails with, by errors.Is, when a job cannot be built: the job's
// graph, its types, its arguments or flags are wrong. Nothing has run then.
var ErrUsage = errors.New("the job cannot be built")

// A built job: its program, and what goes to the coordinator.
type built struct {
	program *plan.Program
	sub     client.Submission
}

// buildJob builds the graph and compiles it. All that is wrong with the job or its
// arguments is found here, before anything runs: exit code 2.
func buildJob(name string, build func(*dataflow.Job), args []string, o plan.Options, memory int64, redact bool) (built, error) {
	j := dataflow.NewJob(name, args)
	g, err := graph(j, build)
	if err != nil {
		if flagErr := unknownFlag(j, args); flagErr != nil {
			return built{}, flagErr
		}
		return built{}, &console.Exit{Code: console.Usage, Err: dataflow.Mark(err, ErrUsage)}
	}
	prog, err := plan.Compile(g, o)
	if err != nil {
		return built{}, &console.Exit{Code: console.Usage, Err: dataflow.Mark(err, ErrUsage)}
	}
	text, err := prog.Plan.JSON()
	if err != nil {
		return built{}, err
	}
	b := built{program: prog, sub: client.Submission{Job: &pb.JobSpec{
		Name: name, Args: args, Env: client.Environment(),
		Fingerprint: prog.Plan.Fingerprint, Plan: text,
		Mode: string(o.Mode), MemoryBytes: memory, Check: o.Check, RedactRecords: redact,
	}}}
	for _, f := range j.Files() {
		path, err := filepath.Abs(f.Path)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			err = fmt.Errorf("job %s: %s: File %q: %w", name, f.Site, f.Name, err)
			return built{}, &console.Exit{Code: console.Usage, Err: dataflow.Mark(err, ErrUsage)}
		}
		b.sub.Files = append(b.sub.Files, client.ShippedFile{Name: f.Name, Path: path})
	}
	return b, nil
}

// estimate adds guesses of rows to the plan. A source that cannot be asked is told of by
// note: without its rows there are fewer guesses, and nothing else is the matter.
func (b *built) estimate(ctx context.Context, note func(error)) error {
	if err := b.program.Estimate(ctx); err != nil {
		if ctx.Err() != nil {
			return err
		}
		note(fmt.Errorf("rows cannot be estimated: %w", err))
	}
	text, err := b.program.Plan.JSON()
	b.sub.Job.Plan = text
	return err
}

// graph calls the author's function; its panic is an error like others.
func graph(j *dataflow.Job, build func(*dataflow.Job)) (g *dataflow.Graph, err error) {
	defer func() {
		if v := recover(); v != nil {
			buf := make([]byte, 4<<10)
			buf = buf[:runtime.Stack(buf, false)]
			_, early := j.Graph()
			err = errors.Join(early, fmt.Errorf("job %s: building it panicked: %v\n%s", j.Name(), v, buf))
		}
	}()
	build(j)
	return j.Graph()
}

// jobName is the name of the author's function, or of the program where that has
// none of its own.
func jobName(build func(*dataflow.Job)) string {
	name := runtime.FuncForPC(reflect.ValueOf(build).Pointer()).Name()
	name = name[strings.LastIndex(name, "/")+1:]
	if parts := strings.Split(name, "."); len(parts) == 2 && parts[1] != "build" && parts[1] != "job" {
		return parts[1]
	}
	return strings.TrimSuffix(filepath.Base(os.Args[0]), ".test")
}
