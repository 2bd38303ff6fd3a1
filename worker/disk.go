package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// lowWater is the room that must be left in a folder unless the configuration says
// otherwise, in bytes; sweepEvery is how often leftovers are looked for.
const (
	lowWater   = 64 << 20
	sweepEvery = 10 * time.Minute
)

// diskLow says why no task should be given to this worker: there is too little room
// where outputs lie. "" where there is enough. Spill files have other folders too.
func (w *Worker) diskLow() string {
	if free := w.cfg.DiskFree(w.cfg.Dir); free < w.cfg.LowWater {
		return fmt.Sprintf("%s has %d bytes free, below the low-water mark of %d", w.cfg.Dir, free, w.cfg.LowWater)
	}
	return ""
}

// sweepAlways looks for leftovers now and then until ctx ends.
func (w *Worker) sweepAlways(ctx context.Context) {
	tick := time.NewTicker(w.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := w.sweep(); err != nil {
			w.log.Error("leftovers cannot be removed", "err", err)
		}
	}
}

// sweep removes the folders of jobs that this worker does not know, and asks the
// coordinator about those that it does: it ends the ones that are over.
func (w *Worker) sweep() error {
	var errs []error
	dirs := []string{filepath.Join(w.cfg.Dir, "jobs")}
	for _, d := range w.cfg.SpillDirs {
		dirs = append(dirs, w.spillDir(d))
	}
	for _, d := range dirs {
		entries, err := os.ReadDir(d)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			old, err := w.setAside(d, e.Name())
			if err == nil && old != "" {
				w.log.Warn("a job that nobody knows has left something", "folder", filepath.Join(d, e.Name()))
				err = os.RemoveAll(old)
			}
			errs = append(errs, err)
		}
	}
	w.mu.Lock()
	h := &pb.Heartbeat{}
	for id := range w.jobs {
		h.Jobs = append(h.Jobs, id)
	}
	w.mu.Unlock()
	if len(h.Jobs) > 0 {
		h = w.fillHeartbeat(h)
		w.send(&pb.FromWorker{Body: &pb.FromWorker_Heartbeat{Heartbeat: h}})
	}
	return errors.Join(errs...)
}

// setAside renames the folder of a job that is not known, so that one of that name may
// come while the old one is being removed. It returns "" for a job that is known.
func (w *Worker) setAside(dir, name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.jobs[name] != nil || w.ending[name] > 0 {
		return "", nil
	}
	old := filepath.Join(dir, name)
	if strings.HasPrefix(name, leftover) { // of a sweep that did not end
		return old, nil
	}
	aside := filepath.Join(dir, leftover+name)
	return aside, os.Rename(old, aside)
}

// leftover begins the names of folders that are being removed; no job is called so.
const leftover = ".left-"
