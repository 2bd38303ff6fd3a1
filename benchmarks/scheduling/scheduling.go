// Package scheduling measures what the coordinator itself can do: one job of very many
// tasks that do nothing, on workers that are only simulated. The coordinator is a process
// of its own with its journal on disk, each record synced before what follows from it is
// sent; each worker is a goroutine of this process and speaks the real protocol over a
// TCP connection of its own on loopback. There are no task hosts and no data.
package scheduling

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/coordinator/journal"
	"github.com/divisi-data/divisi/dataflow/plan"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// Options of the benchmark.
type Options struct {
	Work     string // folder for the journal, on the disk that is to be measured
	Tasks    int
	Workers  int
	Slots    int // of each worker
	Runs     int
	Profiles string // folder for profiles of the coordinator's last run; "": none
	Log      io.Writer
}

// Run runs it.
func Run(ctx context.Context, o Options) (harness.Result, error) {
	res := harness.Result{Name: "scheduling", Machine: harness.ThisMachine()}
	bin := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}
	program, err := bin.Build(ctx, "./benchmarks/scheduling/coordinator")
	if err != nil {
		return res, err
	}
	c := newCluster(o, program, filepath.Join(o.Work, "scheduling-state"))
	entry := harness.Entry{
		Name: "divisi, coordinator alone", Version: "this",
		Command: fmt.Sprintf("%d simulated workers of %d slots, gRPC on loopback, journal on disk", o.Workers, o.Slots),
		Before:  func() error { return c.start(ctx) }, Run: c.job, Check: c.check, After: c.stop,
	}
	row := harness.Row{
		Work: "no-op tasks, each journalled, on simulated workers", Size: fmt.Sprintf("%d tasks", o.Tasks),
		Items: int64(o.Tasks), Item: "task",
	}
	row = harness.Compare(ctx, row, o.Runs, o.Log, entry)
	if first := &row.Contenders[0]; first.Error == "" {
		first.Figures = map[string]float64{
			"tasks a second": float64(o.Tasks) / first.Median(), "journal records a second": float64(c.records) / first.Median(),
			"CPU seconds of the coordinator alone": c.cpu,
		}
	}
	res.Rows = append(res.Rows, row)
	o.Tasks = min(o.Tasks, restartTasks)
	res.Rows = append(res.Rows, compareRestarts(ctx, o, program))
	return res, nil
}

// A cluster is one coordinator and the workers that attach to it.
type cluster struct {
	o       Options
	program string
	state   string

	addr    string
	cmd     *exec.Cmd
	stdin   io.Closer
	end     context.CancelFunc
	workers []*worker
	running *errgroup.Group // the workers
	common  *common
	records int64   // of the last run
	cpu     float64 // of the coordinator in the last run, seconds
}

func newCluster(o Options, program, state string) *cluster {
	return &cluster{o: o, program: program, state: state, common: &common{splits: o.Tasks}}
}

// start begins with an empty journal and returns when all workers are registered.
func (c *cluster) start(ctx context.Context) error {
	if err := os.RemoveAll(c.state); err != nil {
		return err
	}
	c.common.done.Store(0)
	if err := c.launch(); err != nil {
		return err
	}
	c.workers = nil
	for i := range c.o.Workers {
		c.workers = append(c.workers, &worker{id: fmt.Sprintf("w%03d", i), slots: int32(c.o.Slots), common: c.common})
	}
	if err := c.attach(ctx); err != nil {
		return errors.Join(err, c.stop())
	}
	return nil
}

// launch starts a coordinator and returns when it is ready.
func (c *cluster) launch() error {
	c.cmd = exec.Command(c.program, "-state", c.state, "-profiles", c.o.Profiles)
	c.cmd.Stderr = os.Stderr
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	c.stdin = in
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return errors.Join(fmt.Errorf("the coordinator did not start: %w", err), c.stop())
	}
	c.addr = strings.TrimSpace(line)
	return nil
}

// attach registers the workers and lets them run.
func (c *cluster) attach(ctx context.Context) error {
	ctx, c.end = context.WithCancel(ctx)
	c.running, ctx = errgroup.WithContext(ctx)
	for _, w := range c.workers {
		if err := w.attach(ctx, c.addr); err != nil {
			return err
		}
		c.running.Go(func() error { return w.run(ctx) })
	}
	return nil
}

// job submits the job and returns when it has ended and been cleaned up.
func (c *cluster) job(ctx context.Context) error {
	before := harness.CPU(c.cmd.Process.Pid)
	defer func() { c.cpu = harness.CPU(c.cmd.Process.Pid) - before }()
	id, err := c.submit(ctx, &plan.Plan{
		Version: plan.Version, Job: "noop", Fingerprint: "f", Sources: []plan.Source{{Name: "in"}}, Sinks: []plan.Sink{{Name: "out"}},
		Stages: []plan.Stage{{Name: "nothing", Inputs: []plan.Input{{Mode: plan.BySplit, Exchange: -1}}, Output: plan.Output{Exchange: -1, Sample: -1}}},
	})
	if err != nil {
		return err
	}
	return c.follow(ctx, id, c.o.Tasks)
}

// client is a connection to the coordinator as it is now.
func (c *cluster) client() (pb.ClientClient, io.Closer, error) {
	conn, err := grpc.NewClient("passthrough:///"+c.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return pb.NewClientClient(conn), conn, nil
}

func (c *cluster) submit(ctx context.Context, p *plan.Plan) (id string, err error) {
	client, conn, err := c.client()
	if err != nil {
		return "", err
	}
	defer conn.Close()
	b, err := p.JSON()
	if err != nil {
		return "", err
	}
	r, err := client.Submit(ctx, &pb.SubmitRequest{Job: &pb.JobSpec{Name: p.Job, Plan: b, Fingerprint: p.Fingerprint}, Owner: "benchmark"})
	return r.GetJob(), err
}

// await returns the first status of a job of which ok is true.
func (c *cluster) await(ctx context.Context, id string, ok func(*pb.JobStatus) bool) (*pb.JobStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	client, conn, err := c.client()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	watch, err := client.WatchJob(ctx, &pb.WatchJobRequest{Job: id})
	for err == nil {
		var st *pb.JobStatus
		if st, err = watch.Recv(); err == nil && ok(st) {
			return st, nil
		}
	}
	return nil, err
}

// follow waits for a job's end, which has to be a good one of so many tasks that ran once.
func (c *cluster) follow(ctx context.Context, id string, tasks int) error {
	st, err := c.await(ctx, id, (*pb.JobStatus).GetCleaned)
	if err != nil {
		return err
	}
	if st.GetState() != pb.JobState_JOB_STATE_SUCCEEDED || st.GetTasks() != int64(tasks) || st.GetAttempts() != int64(tasks) {
		return fmt.Errorf("job %s ended %v %q with %d tasks, %d attempts, want %d of each", id, st.GetState(), st.GetError(), st.GetTasks(), st.GetAttempts(), tasks)
	}
	return nil
}

// check finds one winner of each task in the journal, and that each ran once.
func (c *cluster) check() error {
	if n := c.common.done.Load(); n != int64(c.o.Tasks) {
		return fmt.Errorf("the workers were given %d tasks of %d", n, c.o.Tasks)
	}
	won := make([]bool, c.o.Tasks)
	c.records = 0
	err := journal.Read(filepath.Join(c.state, "journal"), func(r journal.Record) error {
		c.records++
		if t := r.GetTaskWon(); t != nil {
			i := int(t.GetResult().GetId().GetIndex())
			if i >= len(won) || won[i] {
				return fmt.Errorf("the journal has a second winner of task %d", i)
			}
			won[i] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, w := range won {
		if !w {
			return fmt.Errorf("the journal has no winner of task %d", i)
		}
	}
	return nil
}

// stop ends the workers and the coordinator and removes the journal.
func (c *cluster) stop() error {
	var errs []error
	if c.end != nil {
		c.end()
		errs = append(errs, c.running.Wait())
		c.end = nil
	}
	errs = append(errs, c.stdin.Close(), c.cmd.Wait(), os.RemoveAll(c.state))
	return errors.Join(errs...)
}
