package coordinator

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/divisi-data/divisi/coordinator/job"
	"github.com/divisi-data/divisi/coordinator/web"
	"github.com/divisi-data/divisi/proto/divisipb"
)

// A Reader is what pages are made of. Its answers are the caller's to keep, and not to
// be changed. Methods may be called from many goroutines.
type Reader interface {
	// Cluster is its name, the same for ever.
	Cluster() string
	// Jobs, newest first, without stages; state is a job state's name, "active" or "";
	// limit 0 means all.
	Jobs(ctx context.Context, state string, limit int) ([]*divisipb.JobStatus, error)
	// Job by its id or the beginning of it.
	Job(ctx context.Context, id string, plan bool) (*divisipb.JobStatus, error)
	// Events of a job from a sequence number on, oldest first.
	Events(ctx context.Context, job string, from uint64) ([]*divisipb.Event, error)
	// Tasks of a stage that are done: the winners' results, in order of the tasks. None
	// of a job that ended long ago.
	Tasks(ctx context.Context, job string, stage int) ([]*divisipb.TaskResult, error)
	Workers(ctx context.Context) ([]*divisipb.WorkerStatus, error)
}

type reader struct{ c *Coordinator }

// Reader of this coordinator.
func (c *Coordinator) Reader() Reader { return reader{c} }

func (r reader) Cluster() string { return r.c.state.cluster } // never changes once started

func (r reader) Jobs(ctx context.Context, state string, limit int) ([]*divisipb.JobStatus, error) {
	return r.c.list(ctx, state, limit)
}

func (r reader) Job(ctx context.Context, id string, plan bool) (*divisipb.JobStatus, error) {
	return r.c.job(ctx, id, plan)
}

func (r reader) Workers(ctx context.Context) ([]*divisipb.WorkerStatus, error) {
	return r.c.workers(ctx)
}

func (r reader) Events(ctx context.Context, id string, from uint64) ([]*divisipb.Event, error) {
	old, err := r.c.oldEvents(ctx, id, from)
	if err != nil {
		return nil, err
	}
	if n := len(old); n > 0 {
		from = old[n-1].GetSequence() + 1
	}
	return query(ctx, r.c, func(s *state) ([]*divisipb.Event, error) {
		js, err := s.find(id)
		if err != nil {
			return nil, notFound(err)
		}
		return append(old, js.eventsFrom(from)...), nil
	})
}

func (r reader) Tasks(ctx context.Context, id string, stage int) ([]*divisipb.TaskResult, error) {
	return query(ctx, r.c, func(s *state) ([]*divisipb.TaskResult, error) {
		js, err := s.find(id)
		if err != nil {
			return nil, notFound(err)
		}
		if js.job == nil || stage < 0 || stage >= len(js.job.Plan().Stages) {
			return nil, nil
		}
		var all []*divisipb.TaskResult
		n, _, _ := js.job.Progress(stage)
		for i := range n {
			if w := js.job.Winner(job.Key{Stage: stage, Index: i}); w != nil {
				all = append(all, toResult(js.id, w.Attempt, w.Result))
			}
		}
		return all, nil
	})
}

// pageWait bounds how long a page waits for the loop. What cannot be had is absent.
const pageWait = 5 * time.Second

// pages are the coordinator's own.
func pages(r Reader) (http.Handler, error) { return web.New(pageReader{r}, time.Now) }

type pageReader struct{ r Reader }

var _ web.Reader = pageReader{}

func within[T any](f func(ctx context.Context) (T, error)) (T, bool) {
	ctx, cancel := context.WithTimeout(context.Background(), pageWait)
	defer cancel()
	v, err := f(ctx)
	return v, err == nil
}

func (p pageReader) Cluster() string { return p.r.Cluster() }

func (p pageReader) Jobs() []*divisipb.JobStatus {
	jobs, _ := within(func(ctx context.Context) ([]*divisipb.JobStatus, error) { return p.r.Jobs(ctx, "", 0) })
	return jobs
}

func (p pageReader) Job(id string) (*divisipb.JobStatus, bool) {
	return within(func(ctx context.Context) (*divisipb.JobStatus, error) { return p.r.Job(ctx, id, false) })
}

func (p pageReader) Events(id string, last int) []*divisipb.Event {
	events, _ := within(func(ctx context.Context) ([]*divisipb.Event, error) { return p.r.Events(ctx, id, 0) })
	return slices.Clone(events[max(0, len(events)-last):])
}

func (p pageReader) Workers() []*divisipb.WorkerStatus {
	workers, _ := within(p.r.Workers)
	return workers
}
