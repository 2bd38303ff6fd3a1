package main

import (
	"context"
	"net/http"
	"time"

	"github.com/divisi-data/divisi/coordinator"
	"github.com/divisi-data/divisi/coordinator/web"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	pageJobsMax = 500
	pageWithin  = 5 * time.Second // a page does not wait longer for the coordinator
)

// pages serves the coordinator's pages. What cannot be had is shown as absent.
func pages(name string) func(coordinator.Reader) http.Handler {
	return func(r coordinator.Reader) http.Handler {
		h, err := web.New(pageReader{r, name}, time.Now)
		if err != nil {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "there are no pages: "+err.Error(), http.StatusInternalServerError)
			})
		}
		return h
	}
}

// A pageReader shows the coordinator as the pages want to read it.
type pageReader struct {
	r    coordinator.Reader
	name string
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), pageWithin)
}

func (p pageReader) Cluster() string { return p.name }

func (p pageReader) Jobs() []*pb.JobStatus {
	ctx, cancel := within()
	defer cancel()
	jobs, _ := p.r.Jobs(ctx, "", pageJobsMax)
	return jobs
}

func (p pageReader) Job(id string) (*pb.JobStatus, bool) {
	ctx, cancel := within()
	defer cancel()
	s, err := p.r.Job(ctx, id, false)
	return s, err == nil
}

func (p pageReader) Events(job string, last int) []*pb.Event {
	ctx, cancel := within()
	defer cancel()
	events, _ := p.r.Events(ctx, job, 0)
	return events[max(0, len(events)-last):]
}

func (p pageReader) Workers() []*pb.WorkerStatus {
	ctx, cancel := within()
	defer cancel()
	workers, _ := p.r.Workers(ctx)
	return workers
}
