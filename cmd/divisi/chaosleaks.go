package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// An inventory is what there is of a cluster that does nothing.
type inventory struct {
	processes   int // task hosts included
	goroutines  int // of the coordinator
	descriptors int // of the coordinator and the workers
	files       int // but for logs and the journal, which are kept
	bytes       int64
}

func (i inventory) String() string {
	return fmt.Sprintf("%d processes, %d goroutines, %d descriptors, %d files of %s", i.processes, i.goroutines, i.descriptors, i.files, console.Bytes(i.bytes))
}

// above says what there is more of than there was, beyond what idle connections explain.
func (i inventory) above(base inventory) string {
	const slack = 10
	switch {
	case i.processes != base.processes:
		return "processes"
	case i.goroutines > base.goroutines+slack:
		return "goroutines"
	case i.descriptors > base.descriptors+slack:
		return "descriptors"
	case i.files > base.files || i.bytes > base.bytes:
		return "files"
	}
	return ""
}

const (
	leaksAtOnce = 4
	leaksWarm   = 10 // jobs before the first inventory: caches are filled by then
)

// leaks runs many small jobs, of which every fifth is cancelled and every fifth loses a
// task host, and compares what there is before and after.
func (c *chaosCluster) leaks(ctx context.Context, jobs int) error {
	in := filepath.Join(c.dir, "small")
	if err := chaos.Text(in, 3, 20_000, 2); err != nil {
		return err
	}
	files, err := textFiles(in)
	if err != nil {
		return err
	}
	want, err := countLines(files)
	if err != nil {
		return err
	}
	if _, err := c.leakJobs(ctx, leaksWarm, in, want); err != nil {
		return err
	}
	before, err := c.idle(ctx, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.o.app.out, "before   %s\n", before)
	began := time.Now()
	ended, err := c.leakJobs(ctx, jobs, in, want)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.o.app.out, "jobs     %d in %.1f s: %d in peace, %d cancelled, a host killed under %d\n", jobs, time.Since(began).Seconds(), ended.plain, ended.canceled, ended.killed)
	after, err := c.idle(ctx, &before)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.o.app.out, "after    %s\n", after)
	if what := after.above(before); what != "" {
		return console.Exitf(console.CheckFailed, "chaos: there are more %s after %d jobs than before", what, jobs)
	}
	return nil
}

// idle waits until there is no more than base says, or a while has passed, and returns
// what there is. Without a base it waits for the end of all hosts.
func (c *chaosCluster) idle(ctx context.Context, base *inventory) (inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		now, hosts, err := c.inventory(ctx)
		if err == nil && hosts == 0 && (base == nil || now.above(*base) == "") {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, err
		case <-tick.C:
		}
	}
}

func (c *chaosCluster) inventory(ctx context.Context) (i inventory, hosts int, err error) {
	running, err := chaos.Hosts(c.hurt.Dir)
	if err != nil {
		return i, 0, err
	}
	info := c.sup.info()
	i.processes = len(info.Processes) + len(running)
	for _, p := range info.Processes {
		fds, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd"))
		if err != nil {
			return i, 0, err
		}
		i.descriptors += len(fds)
	}
	if i.goroutines, err = goroutines(ctx, info.HTTP); err != nil {
		return i, 0, err
	}
	err = filepath.WalkDir(c.hurt.Dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // just removed
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "logs" || d.Name() == "journal"):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(name, ".log"):
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return nil
		}
		i.files++
		i.bytes += st.Size()
		return nil
	})
	return i, len(running), err
}

// goroutines asks a coordinator's metrics.
func goroutines(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer r.Body.Close()
	for s := bufio.NewScanner(r.Body); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "go_goroutines "); ok {
			return strconv.Atoi(v)
		}
	}
	return 0, fmt.Errorf("chaos: %s/metrics does not tell go_goroutines", url)
}

// leakEnds is how the jobs ended: each is counted in one of them.
type leakEnds struct{ plain, canceled, killed int }

// leakFate is what is to happen to a job.
type leakFate int

const (
	inPeace leakFate = iota
	toCancel
	toKill
)

// leakTries is how often a job is run again that was over before its fate came.
const leakTries = 30

// leakSpans are within what time of a job's begin its fate comes, one try after the
// other: machines differ in how long such a job lives.
var leakSpans = []time.Duration{300 * time.Millisecond, 150 * time.Millisecond, 75 * time.Millisecond, 35 * time.Millisecond, 15 * time.Millisecond}

// leakJobs runs jobs, some at a time. A job that was over before it could be cancelled,
// or before a host could be killed, is run once more and not counted.
func (c *chaosCluster) leakJobs(ctx context.Context, jobs int, in string, want []string) (leakEnds, error) {
	var ends leakEnds
	cl, err := client.DialPatiently(ctx, c.sup.info().Coordinator)
	if err != nil {
		return ends, err
	}
	defer cl.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leaksAtOnce)
	fates := make(chan leakFate, jobs)
	for i := range jobs {
		r := rand.New(rand.NewPCG(c.o.seed, uint64(i)))
		fate := [...]leakFate{inPeace, toCancel, inPeace, toKill, inPeace}[i%5]
		g.Go(func() error {
			for try := range leakTries {
				met, err := c.leakJob(ctx, cl, fate, r, leakSpans[try%len(leakSpans)], in, want)
				if err != nil {
					return err
				}
				if met {
					fates <- fate
					return nil
				}
			}
			return console.Exitf(console.CheckFailed, "chaos: %d jobs in turn were over before they could be cancelled, or one of their hosts killed", leakTries)
		})
	}
	err = g.Wait()
	close(fates)
	for f := range fates {
		switch f {
		case toCancel:
			ends.canceled++
		case toKill:
			ends.killed++
		default:
			ends.plain++
		}
	}
	if left, lerr := os.ReadDir(filepath.Join(c.dir, "out")); err == nil && lerr == nil && len(left) > 0 {
		err = console.Exitf(console.CheckFailed, "chaos: beside the outputs there is left: %v", left)
	}
	return ends, err
}

// leakJob runs one job and sees that its end is as it has to be; met says whether its
// fate came in time.
func (c *chaosCluster) leakJob(ctx context.Context, cl *client.Client, fate leakFate, r *rand.Rand, span time.Duration, in string, want []string) (met bool, err error) {
	c.mu.Lock()
	c.outs++
	out := filepath.Join(c.dir, "out", "small-"+strconv.Itoa(c.outs))
	c.mu.Unlock()
	b := binary{here: c.sup.exe, forCluster: c.sup.exe}
	id, err := b.submit(ctx, cl, submitOptions{app: c.o.app, args: []string{filepath.Join(in, "*.txt"), out}})
	if err != nil {
		return false, err
	}
	if fate != inPeace {
		select { // a random moment of its life
		case <-time.After(time.Duration(r.Float64() * float64(span))):
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	switch fate {
	case toCancel:
		if _, err := cl.Cancel(ctx, id, "a test of what is left"); err != nil {
			return false, err
		}
	case toKill:
		s, err := c.hurt.Strike(chaos.Fault{Kind: chaos.Kill, Role: chaos.Host, Pick: r.Float64()})
		if err != nil {
			return false, err
		}
		met = s.Victim != ""
	default:
		met = true
	}
	st, err := cl.Wait(ctx, id)
	if err != nil {
		return false, err
	}
	switch {
	case !st.Cleaned:
		return false, fmt.Errorf("job %s has ended and was not cleaned up", id)
	case st.State == pb.JobState_JOB_STATE_SUCCEEDED:
		got, err := chaos.Lines(out)
		if err != nil {
			return false, err
		}
		if d := chaos.Compare(got, want); d != "" {
			return false, console.Exitf(console.CheckFailed, "job %s: %s", id, d)
		}
	case st.State != pb.JobState_JOB_STATE_CANCELED || fate != toCancel:
		return false, console.Outcome(st)
	default:
		if left, err := os.ReadDir(out); err == nil {
			return false, console.Exitf(console.CheckFailed, "job %s was cancelled, and its output is there: %v", id, left)
		}
		met = true
	}
	return met, os.RemoveAll(out)
}
