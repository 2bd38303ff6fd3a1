package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	"github.com/divisi-data/divisi/internal/faultproxy"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type chaosOptions struct {
	app     *app
	runs    int
	seed    uint64
	job     string
	stages  int
	keys    int64
	size    console.Size
	workers int
	faults  string
	every   time.Duration
	span    time.Duration
	links   bool
	fresh   bool
	leaks   int
	crashes int
	copyAll bool
	out     string
	cancels int
	keep    bool
	limit   time.Duration
}

func chaosCommand(a *app) *cobra.Command {
	o := chaosOptions{app: a, size: 8 << 20, job: "both"}
	cmd := &cobra.Command{
		Use: "chaos", Short: "Kill, stop and damage what there is of a cluster while it works, and check the results", Args: between(0, 0),
		Long: "Start a cluster on this machine and run jobs on it again and again, while processes are killed and\n" +
			"stopped, connections spoiled, shuffle files deleted and damaged, by a schedule that the seed gives.\n" +
			"Each run's whole output is compared with a plain program's, and nothing may be left over.\n" +
			"A run that goes wrong prints the command that repeats its schedule.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.out != "" && o.crashes == 0 {
				return console.Exitf(console.Usage, "chaos: --out is for --crashes")
			}
			if o.runs < 1 || o.workers < 1 || o.stages < 2 || o.keys < 1 {
				return console.Exitf(console.Usage, "chaos: --runs and --workers are 1 or more, --keys too, --stages 2 or more")
			}
			return runChaos(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.runs, "runs", 10, "number of runs")
	f.Uint64Var(&o.seed, "seed", 1, "of the first run's schedule; the next run's is one more")
	f.Var(choice{&o.job, []string{"both", "wordcount", "chain", "folders", "sized"}}, "job", "what is run: one of the jobs, the first two in turn, or a copy into folders of values or into files of a size")
	f.IntVar(&o.stages, "stages", 12, "of the chain")
	f.Int64Var(&o.keys, "keys", 20_000, "of the chain: it moves about as many rows at each stage")
	f.Var(&o.size, "size", "of the text")
	f.IntVar(&o.workers, "workers", 3, "number of workers")
	f.StringVar(&o.faults, "faults", "", "kinds of faults: kill, stop, link, peers, delete, flip, full, slow (default: all but the last two, which need root)")
	f.DurationVar(&o.every, "every", 0, "a fault in each such interval (0: one to three anywhere in a run)")
	f.DurationVar(&o.span, "span", 0, "faults begin within so much of a run (0: a fifth more than a run takes in peace)")
	f.BoolVar(&o.links, "links", true, "reach workers through proxies, so that connections can be spoiled")
	f.BoolVar(&o.fresh, "fresh", false, "start a new cluster for each run, which the job's program has to be sent to first")
	f.IntVar(&o.leaks, "leaks", 0, "instead: run so many small jobs, a fifth cancelled, a fifth with a host killed, and compare what there is before and after")
	f.IntVar(&o.crashes, "crashes", 0, "instead: so many times, kill the cluster or a process of it at a random moment between the first write of an output and its _SUCCESS")
	f.StringVar(&o.out, "out", "", "of --crashes: the folder for outputs, such as s3://bucket/folder (none: in a temporary folder)")
	f.BoolVar(&o.copyAll, "copy-all", false, "start a copy of each task as soon as it runs")
	f.MarkHidden("copy-all")
	f.IntVar(&o.cancels, "cancels", 0, "instead: cancel so many jobs at random moments, and watch their processes and files go")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with logs and outputs, also when all went well")
	f.DurationVar(&o.limit, "limit", 5*time.Minute, "a job that has not ended by then hangs")
	return cmd
}

// chaosJob is one of the jobs, and what is known of it.
type chaosJob struct {
	name  string
	mark  []string // first arguments
	want  []string
	peace time.Duration // how long it takes without faults
}

// chaosCluster is a cluster with all that can be done to it.
type chaosCluster struct {
	o      chaosOptions
	dir    string // all of it; the cluster's is below
	sup    *supervisor
	hurt   *chaos.Cluster
	mu     sync.Mutex
	outs   int // under mu
	struck int // faults that came
	// noticed is the longest it took to give up a worker that was killed or stopped.
	noticed map[chaos.Kind]time.Duration
	undo    []func() error
	starts  int
}

func runChaos(ctx context.Context, o chaosOptions) (err error) {
	kinds, err := chaos.ParseKinds(o.faults)
	if err != nil {
		return console.Exitf(console.Usage, "chaos: %w", err)
	}
	ctx, stop := console.Signals(ctx, func(os.Signal) { fmt.Fprintln(o.app.err, "\nending") }, func() { os.Exit(console.Canceled) })
	defer stop()
	c := &chaosCluster{o: o, noticed: map[chaos.Kind]time.Duration{}}
	wrong := 0
	defer func() {
		err = errors.Join(err, c.close())
		if c.dir == "" {
			return
		}
		if wrong > 0 || o.keep || err != nil {
			fmt.Fprintf(o.app.out, "kept     %s\n", c.dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(c.dir))
	}()
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.start(ctx, kinds); err != nil {
		return err
	}
	if o.leaks > 0 || o.cancels > 0 {
		run, n := c.leaks, o.leaks
		if n == 0 {
			run, n = c.cancels, o.cancels
		}
		if err = run(ctx, n); err != nil {
			wrong++
		}
		return err
	}
	if o.crashes > 0 {
		if err = c.crashes(ctx, o.crashes); err != nil {
			wrong++
		}
		return err
	}
	jobs, err := c.jobs(ctx)
	if err != nil {
		return err
	}
	var slowest float64
	for i := range o.runs {
		if o.fresh {
			if err := errors.Join(c.close(), c.start(ctx, kinds)); err != nil {
				return err
			}
		}
		j := &jobs[i%len(jobs)]
		seed := o.seed + uint64(i)
		span := o.span
		if span == 0 {
			span = (j.peace * 6 / 5).Round(time.Millisecond)
		}
		ok, times, err := c.trial(ctx, i+1, j, seed, chaos.Options{Kinds: kinds, Span: span, Every: o.every})
		if err != nil {
			return err
		}
		if slowest = max(slowest, times); !ok {
			wrong++
		}
	}
	fmt.Fprintf(o.app.out, "%d runs, %d wrong, the slowest took %.1f times as long as in peace\n", o.runs, wrong, slowest)
	for _, k := range []chaos.Kind{chaos.Kill, chaos.Stop} {
		if d := c.noticed[k]; d > 0 {
			fmt.Fprintf(o.app.out, "%s: a worker's was noticed within %.2f s\n", k, d.Seconds())
		}
	}
	if wrong > 0 {
		return console.Exitf(console.CheckFailed, "chaos: %d of %d runs went wrong", wrong, o.runs)
	}
	if o.every > 0 && c.struck == 0 {
		return console.Exitf(console.CheckFailed, "chaos: no fault came, for the jobs ended first, so the runs show nothing: make the job longer (--size, --stages, --keys) or the faults more frequent (--every, now %v)", o.every)
	}
	return nil
}

// begin makes the folder and the text.
func (c *chaosCluster) begin() (err error) {
	if c.dir, err = os.MkdirTemp("", "divisi-chaos-"); err != nil {
		return err
	}
	const files = 12
	return chaos.Text(c.text(), files, int(c.o.size)/files, 1)
}

// start starts a cluster, which close ends.
func (c *chaosCluster) start(ctx context.Context, kinds []chaos.Kind) (err error) {
	c.starts++
	dir := filepath.Join(c.dir, "cluster-"+strconv.Itoa(c.starts))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return c.startIn(ctx, dir, kinds)
}

// startIn starts a cluster in a folder, which may be a dead one's.
func (c *chaosCluster) startIn(ctx context.Context, dir string, kinds []chaos.Kind) error {
	c.hurt = &chaos.Cluster{Dir: dir, Links: map[string]*faultproxy.Proxy{}, Peers: map[string]*faultproxy.Proxy{}}
	if slices.Contains(kinds, chaos.Full) {
		for _, name := range []string{"worker-1", "coordinator"} {
			if err := c.small(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	if slices.Contains(kinds, chaos.Slow) {
		if err := chaos.CanSlow(); err != nil {
			return console.Exitf(console.JobFailed, "%w", err)
		}
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "supervisor-"+strconv.Itoa(c.starts)+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	c.undo = append(c.undo, log.Close)
	c.sup = &supervisor{dir: dir, workers: c.o.workers, slots: 2, memory: 256 << 20, restart: true, log: log}
	if c.o.copyAll {
		c.sup.extra = []string{"--copy-all"}
	}
	if c.o.links {
		if err := c.proxies(ctx); err != nil {
			return err
		}
	}
	if err := c.sup.start(ctx); err != nil {
		return err
	}
	c.undo = append(c.undo, func() error { c.sup.end(); return nil })
	for _, p := range c.sup.info().Processes {
		if x := c.hurt.Peers[p.ID]; x != nil {
			x.SetTarget(p.Address)
		}
	}
	c.hurt.Processes = func() []chaos.Process {
		var ps []chaos.Process
		for _, p := range c.sup.info().Processes {
			id := p.ID
			if id == "" {
				id = p.Role
			}
			ps = append(ps, chaos.Process{Role: p.Role, ID: id, PID: p.PID})
		}
		return ps
	}
	return nil
}

// proxies stands one before the coordinator and one before the exchange, for each
// worker. The first two workers read each other's files, the others do not.
func (c *chaosCluster) proxies(ctx context.Context) error {
	for i := range c.o.workers {
		name := "worker-" + strconv.Itoa(i+1)
		for n, m := range []map[string]*faultproxy.Proxy{c.hurt.Links, c.hurt.Peers} {
			p, err := faultproxy.Start(context.WithoutCancel(ctx), faultproxy.Config{Seed: c.o.seed + uint64(2*i+n)})
			if err != nil {
				return err
			}
			c.undo = append(c.undo, p.Close)
			m[name] = p
		}
	}
	c.sup.links = func(worker, coordinator string) []string {
		c.hurt.Links[worker].SetTarget(coordinator)
		args := []string{"--coordinator", c.hurt.Links[worker].Addr(), "--advertise", c.hurt.Peers[worker].Addr()}
		if worker != "worker-1" && worker != "worker-2" {
			args = append(args, "--machine", worker)
		}
		return args
	}
	return nil
}

// small puts a folder on a file system of its own that can be filled.
func (c *chaosCluster) small(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := mountSmall(dir, 256<<20); err != nil {
		return console.Exitf(console.JobFailed, "chaos: --faults full: a small file system cannot be mounted: %w", err)
	}
	c.undo = append(c.undo, func() error { return unmount(dir) })
	c.hurt.Small = append(c.hurt.Small, dir)
	return nil
}

func (c *chaosCluster) text() string { return filepath.Join(c.dir, "text") }

// close ends all, last things first, and sees that no process is left.
func (c *chaosCluster) close() error {
	var errs []error
	for _, f := range slices.Backward(c.undo) {
		errs = append(errs, f())
	}
	c.undo = nil
	if c.hurt != nil {
		hosts, err := chaos.Hosts(c.hurt.Dir)
		errs = append(errs, err)
		if len(hosts) > 0 {
			errs = append(errs, console.Exitf(console.CheckFailed, "chaos: the cluster has ended, and there are left: %v", hosts))
		}
	}
	return errors.Join(errs...)
}

// jobs says what each job must give, and runs it once in peace.
func (c *chaosCluster) jobs(ctx context.Context) ([]chaosJob, error) {
	files, err := textFiles(c.text())
	if err != nil {
		return nil, err
	}
	var jobs []chaosJob
	if c.o.job == "both" || c.o.job == "wordcount" {
		want, err := countLines(files)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, chaosJob{name: "wordcount", want: want})
	}
	if slices.Contains(layouts, c.o.job) {
		want, err := copyPlainly(files, c.o.job)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, chaosJob{name: c.o.job, mark: []string{copyMark, c.o.job}, want: want})
	}
	if c.o.job == "both" || c.o.job == "chain" {
		want, err := chainPlainly(files, c.o.stages, c.o.keys)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, chaosJob{name: "chain", mark: []string{chainMark, strconv.Itoa(c.o.stages), strconv.FormatInt(c.o.keys, 10)}, want: want})
	}
	for i := range jobs {
		j := &jobs[i]
		for range 2 { // the first time all is cold
			ok, _, err := c.trial(ctx, 0, j, 0, chaos.Options{})
			if err != nil {
				return nil, err
			}
			if !ok {
				return nil, console.Exitf(console.CheckFailed, "chaos: %s goes wrong without any fault", j.name)
			}
		}
	}
	return jobs, nil
}

// trial runs a job under a schedule, run 0 in peace, and says how it went: times as
// long as in peace.
func (c *chaosCluster) trial(ctx context.Context, run int, j *chaosJob, seed uint64, o chaos.Options) (ok bool, times float64, err error) {
	c.mu.Lock()
	c.outs++
	n := c.outs
	c.mu.Unlock()
	outDir := filepath.Join(c.dir, "out")
	if err := os.MkdirAll(outDir, 0o755); err != nil {
		return false, 0, err
	}
	out := filepath.Join(outDir, "run-"+strconv.Itoa(n))
	var st *pb.JobStatus
	t := chaos.Trial{Cluster: c.hurt, Output: out, Want: j.want, Limit: c.o.limit, Job: func(ctx context.Context) (err error) {
		st, err = c.submit(ctx, slices.Concat(j.mark, []string{filepath.Join(c.text(), "*.txt"), out}))
		return err
	}}
	if run > 0 {
		t.Faults = chaos.Plan(seed, o)
	}
	r, err := t.Run(ctx)
	if ctx.Err() != nil {
		return false, 0, ctx.Err()
	}
	if err != nil {
		return false, 0, err
	}
	if j.peace == 0 || run == 0 {
		j.peace = r.Took
	}
	times = r.Took.Seconds() / j.peace.Seconds()
	what := "in peace"
	if run > 0 {
		what = fmt.Sprintf("seed %d", seed)
	}
	verdict := "ok"
	if len(r.Wrong) > 0 {
		verdict = "WRONG"
	}
	fmt.Fprintf(c.o.app.out, "%-5s %s %s: %.2f s, %d retries", verdict, j.name, what, r.Took.Seconds(), st.GetRetries())
	c.struck += len(r.Strikes)
	for _, s := range r.Strikes {
		c.noticed[s.Fault.Kind] = max(c.noticed[s.Fault.Kind], s.Noticed)
		fmt.Fprintf(c.o.app.out, "; %s", s)
	}
	fmt.Fprintln(c.o.app.out)
	for _, w := range r.Wrong {
		fmt.Fprintf(c.o.app.out, "      %s\n", console.Plain(w))
	}
	if len(r.Wrong) > 0 && run > 0 {
		fmt.Fprintf(c.o.app.out, "      again: %s\n", c.again(j, seed, o))
		return false, times, nil
	}
	return len(r.Wrong) == 0, times, os.RemoveAll(out)
}

// again is the command that repeats a run's schedule.
func (c *chaosCluster) again(j *chaosJob, seed uint64, o chaos.Options) string {
	args := []string{"divisi", "chaos", "--runs", "1", "--seed", strconv.FormatUint(seed, 10), "--job", j.name,
		"--span", o.Span.String(), "--workers", strconv.Itoa(c.o.workers), "--size", strconv.FormatInt(int64(c.o.size), 10), "--stages", strconv.Itoa(c.o.stages), "--keys", strconv.FormatInt(c.o.keys, 10)}
	if o.Every > 0 {
		args = append(args, "--every", o.Every.String())
	}
	if c.o.faults != "" {
		args = append(args, "--faults", c.o.faults)
	}
	if c.o.fresh {
		args = append(args, "--fresh")
	}
	if !c.o.links {
		args = append(args, "--links=false")
	}
	return strings.Join(args, " ")
}

// submit runs a job to its end, as a client elsewhere would.
func (c *chaosCluster) submit(ctx context.Context, args []string) (*pb.JobStatus, error) {
	cl, err := client.DialPatiently(ctx, c.sup.info().Coordinator)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	b := binary{here: c.sup.exe, forCluster: c.sup.exe}
	id, err := b.submit(ctx, cl, submitOptions{app: c.o.app, args: args})
	if err != nil {
		return nil, err
	}
	p, err := console.NewProgress(io.Discard, console.ProgressNone)
	if err != nil {
		return nil, err
	}
	st, err := console.Follow(ctx, cl, id, p)
	if err == nil {
		st, err = cl.Wait(ctx, id) // until workers have nothing of it either
	}
	if err == nil {
		err = console.Outcome(st)
	}
	if err == nil && !st.GetCleaned() {
		err = errors.New("it has ended and was not cleaned up")
	}
	return st, err
}
