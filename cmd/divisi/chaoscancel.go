package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/internal/chaos"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// What is promised of a job that was cancelled, and how often that is looked at. The
// promises are counted in looks: on a machine that has no time for this process either
// they come later.
const (
	cancelLook      = 20 * time.Millisecond
	processesWithin = 3 * time.Second
	filesWithin     = 30 * time.Second
)

// canceled is what was seen of a job after it was cancelled.
type canceled struct {
	state            pb.JobState
	processes, files time.Duration // until none was left, by the clock
	wrong            []string
}

// cancels runs jobs that are cancelled at a random moment of their lives, one at a time,
// and watches their processes and files go.
func (c *chaosCluster) cancels(ctx context.Context, n int) error {
	jobs, err := c.jobs(ctx)
	if err != nil {
		return err
	}
	cl, err := client.DialPatiently(ctx, c.sup.info().Coordinator)
	if err != nil {
		return err
	}
	defer cl.Close()
	var processes, files time.Duration
	met, wrong := 0, 0
	for i := range n {
		j := &jobs[i%len(jobs)]
		r := rand.New(rand.NewPCG(c.o.seed, uint64(i)))
		at := time.Duration(r.Float64() * float64(j.peace))
		s, err := c.cancelOne(ctx, cl, j, at)
		if err != nil {
			return err
		}
		if s.state == pb.JobState_JOB_STATE_CANCELED {
			met++
			processes, files = max(processes, s.processes), max(files, s.files)
		}
		for _, w := range s.wrong {
			wrong++
			fmt.Fprintf(c.o.app.out, "WRONG %s, cancelled after %v: %s\n", j.name, at.Round(time.Millisecond), console.Plain(w))
		}
	}
	fmt.Fprintf(c.o.app.out, "cancel   %d jobs, of which %d had not ended: at the latest their processes were gone after %.2f s, their files after %.2f s\n",
		n, met, processes.Seconds(), files.Seconds())
	switch {
	case wrong > 0:
		return console.Exitf(console.CheckFailed, "chaos: %d things went wrong with %d jobs that were cancelled", wrong, n)
	case met == 0:
		return console.Exitf(console.CheckFailed, "chaos: all %d jobs had ended before they could be cancelled: make them larger (--size, --keys)", n)
	}
	return nil
}

// cancelOne submits a job, cancels it after a while, and watches what becomes of it.
func (c *chaosCluster) cancelOne(ctx context.Context, cl *client.Client, j *chaosJob, at time.Duration) (s canceled, err error) {
	c.mu.Lock()
	c.outs++
	out := filepath.Join(c.dir, "out", fmt.Sprintf("cancel-%d", c.outs))
	c.mu.Unlock()
	b := binary{here: c.sup.exe, forCluster: c.sup.exe}
	id, err := b.submit(ctx, cl, submitOptions{app: c.o.app, args: slices.Concat(j.mark, []string{filepath.Join(c.text(), "*.txt"), out})})
	if err != nil {
		return s, err
	}
	select {
	case <-time.After(at):
	case <-ctx.Done():
		return s, ctx.Err()
	}
	if _, err := cl.Cancel(ctx, id, "a test of what is left"); err != nil {
		return s, err
	}
	if err := c.watchGo(ctx, out, &s); err != nil {
		return s, err
	}
	st, err := cl.Wait(ctx, id)
	if err != nil {
		return s, err
	}
	s.state = st.State
	_, serr := os.Stat(out)
	switch {
	case !st.Cleaned:
		s.wrong = append(s.wrong, "the job has ended and was not cleaned up")
	case st.State == pb.JobState_JOB_STATE_CANCELED && !os.IsNotExist(serr):
		s.wrong = append(s.wrong, fmt.Sprintf("its output is there: %v", serr))
	case st.State == pb.JobState_JOB_STATE_SUCCEEDED:
		got, err := chaos.Lines(out)
		if err != nil {
			return s, err
		}
		if d := chaos.Compare(got, j.want); d != "" {
			s.wrong = append(s.wrong, d)
		}
	case st.State != pb.JobState_JOB_STATE_CANCELED:
		return s, console.Outcome(st)
	}
	return s, os.RemoveAll(out)
}

// watchGo looks until neither processes nor files of any job are there.
func (c *chaosCluster) watchGo(ctx context.Context, out string, s *canceled) error {
	began := time.Now()
	tick := time.NewTicker(cancelLook)
	defer tick.Stop()
	var left []string
	for looks := 0; ; looks++ {
		hosts, err := chaos.Hosts(c.hurt.Dir)
		if err != nil {
			return err
		}
		if left, err = c.hurt.Left(out); err != nil {
			return err
		}
		spent := time.Duration(looks) * cancelLook
		if len(hosts) > 0 {
			s.processes = time.Since(began)
			if spent-cancelLook < processesWithin && spent >= processesWithin { // told once, and looked for on
				s.wrong = append(s.wrong, fmt.Sprintf("after %v there are still %v", spent, hosts))
			}
		}
		if len(left) == 0 {
			return nil
		}
		if s.files = time.Since(began); spent >= filesWithin {
			s.wrong = append(s.wrong, fmt.Sprintf("after %v there is still left: %s", spent, strings.Join(left, ", ")))
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
