package coordinator

import (
	"context"
	"net/http"
	"time"

	"github.com/divisi-data/divisi/coordinator/web"
	"github.com/divisi-data/divisi/proto/divisipb"
)

const (
	// pageWait bounds how long a page waits for the state's owner.
	pageWait = 5 * time.Second
	// pageJobs is how many jobs the list shows.
	pageJobs = 200
)

// pages is what the web pages read.
type pages struct {
	c *Coordinator
	r Reader
}

var _ web.Reader = pages{}

// newPages is the handler of the web pages.
func newPages(c *Coordinator) (http.Handler, error) {
	return web.New(pages{c, c.Reader()}, time.Now)
}

func (p pages) Cluster() string { return p.c.Addr() }

func (p pages) Jobs() []*divisipb.JobStatus {
	ctx, cancel := context.WithTimeout(context.Background(), pageWait)
	defer cancel()
	jobs, err := p.r.Jobs(ctx, "", pageJobs)
	if err != nil {
		return nil
	}
	for i, j := range jobs {
		if j.EndedUnixNanos != 0 {
			continue
		}
		// The list has no stages; what runs is shown with its progress.
		if whole, err := p.r.Job(ctx, j.Id, false); err == nil {
			jobs[i] = whole
		}
	}
	return jobs
}

func (p pages) Job(id string) (*divisipb.JobStatus, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), pageWait)
	defer cancel()
	j, err := p.r.Job(ctx, id, false)
	return j, err == nil
}

func (p pages) Events(job string, last int) []*divisipb.Event {
	ctx, cancel := context.WithTimeout(context.Background(), pageWait)
	defer cancel()
	events, err := p.r.Events(ctx, job, 0)
	if err != nil {
		return nil
	}
	return events[max(0, len(events)-last):]
}

func (p pages) Workers() []*divisipb.WorkerStatus {
	ctx, cancel := context.WithTimeout(context.Background(), pageWait)
	defer cancel()
	workers, err := p.r.Workers(ctx)
	if err != nil {
		return nil
	}
	return workers
}
