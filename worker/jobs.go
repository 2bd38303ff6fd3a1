package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// A job is what a worker knows of one.
type job struct {
	id    string
	spec  *pb.JobSpec
	host  *host // nil: none runs
	hosts int   // started so far
	begun time.Time
	// told is what a host that starts later must be told too: locations as they
	// came, by exchange, and what sinks have prepared.
	told     map[int32][]*pb.Locations
	prepared map[int32][]byte
	outputs  map[string]heldOutput // by attempt
	adopting chan struct{}         // closed when what was asked for so far is copied; nil: nothing was
	ctx      context.Context       // ends with the job here
	end      context.CancelFunc
}

// A heldOutput is blocks of an attempt that the coordinator may still need.
type heldOutput struct {
	id    *pb.TaskID
	bytes int64
}

// tellJob takes a job's description. It comes again after a reconnection.
func (w *Worker) tellJob(spec *pb.JobSpec) {
	if err := exchange.ValidJob(spec.Id); err != nil {
		w.log.Error("a job is refused", "err", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[spec.Id]
	if j == nil {
		j = w.newJob(spec)
	}
	j.spec = spec
	for sink, what := range spec.Prepared {
		j.prepared[sink] = what
	}
	// What an earlier coordinator died before telling, a host that runs must hear too.
	if j.host != nil && len(spec.Prepared) > 0 {
		j.host.out.put(&pb.ToHost{Body: &pb.ToHost_JobUpdate{JobUpdate: &pb.JobUpdate{Job: j.id, Prepared: spec.Prepared}}})
	}
}

func (w *Worker) updateJob(u *pb.JobUpdate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[u.Job]
	if j == nil {
		return
	}
	for sink, what := range u.Prepared {
		j.prepared[sink] = what
	}
	if j.host != nil {
		j.host.out.put(&pb.ToHost{Body: &pb.ToHost_JobUpdate{JobUpdate: u}})
	}
}

func (w *Worker) tellLocations(l *pb.Locations) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j := w.jobs[l.Job]
	if j == nil {
		return
	}
	if l.Reset_ {
		j.told[l.Exchange] = nil
	}
	j.told[l.Exchange] = append(j.told[l.Exchange], l)
	if j.host != nil {
		j.host.out.put(&pb.ToHost{Body: &pb.ToHost_Locations{Locations: l}})
	}
}

// endJob kills a job's host and drops what there is of the job; with HostsOnly its
// blocks and description stay for control tasks. answer says that it has been done.
func (w *Worker) endJob(e *pb.EndJob, answer bool) {
	w.mu.Lock()
	j := w.jobs[e.Job]
	var h *host
	var copying chan struct{}
	if j != nil {
		h, j.host, copying = j.host, nil, j.adopting
		if !e.HostsOnly {
			delete(w.jobs, e.Job)
			j.end()
		}
	}
	w.ending[e.Job]++
	w.dropTasks(e.Job)
	w.mu.Unlock()
	w.closing.Go(func() {
		if h != nil {
			h.kill("the job has ended")
			<-h.done
		}
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.ending[e.Job]--; w.ending[e.Job] == 0 {
				delete(w.ending, e.Job)
			}
			w.tellDrained() // its last tasks may have been this job's
		}()
		if !e.HostsOnly && j != nil && copying != nil {
			<-copying
		}
		if !e.HostsOnly && exchange.ValidJob(e.Job) == nil {
			for _, d := range w.jobDirs(e.Job) {
				shuffle.Forget(d)
				if err := os.RemoveAll(d); err != nil {
					w.log.Error("a job's folder cannot be removed", "job", e.Job, "err", err)
				}
			}
			if err := w.trimLogs(); err != nil {
				w.log.Error("old logs cannot be removed", "err", err)
			}
		}
		if answer {
			w.send(&pb.FromWorker{Body: &pb.FromWorker_JobGone{JobGone: &pb.JobGone{Job: e.Job, HostsOnly: e.HostsOnly}}})
		}
		if answer && h != nil && !e.HostsOnly {
			w.makeReady(j)
		}
	})
}

// logsKept is of how many jobs the logs stay, the last ones.
const logsKept = 500

// trimLogs removes the logs of jobs that ended long ago.
func (w *Worker) trimLogs() error {
	dir := filepath.Dir(exchange.LogDir(w.cfg.Dir, "any"))
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= logsKept {
		return err
	}
	var old []fs.FileInfo
	for _, e := range entries {
		w.mu.Lock()
		ended := w.jobs[e.Name()] == nil
		w.mu.Unlock()
		if info, err := e.Info(); err == nil && ended { // else another call has just removed it
			old = append(old, info)
		}
	}
	slices.SortFunc(old, func(x, y fs.FileInfo) int { return x.ModTime().Compare(y.ModTime()) })
	var errs []error
	for _, info := range old[:min(len(old), len(entries)-logsKept)] {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, info.Name())))
	}
	return errors.Join(errs...)
}

// dropTasks forgets all tasks of a job; nobody asks how they ended. The caller holds mu.
func (w *Worker) dropTasks(job string) {
	keep := w.queue[:0]
	for _, t := range w.queue {
		if t.spec.Id.Job != job {
			keep = append(keep, t)
		}
	}
	w.queue = keep
	for key, t := range w.tasks {
		if t.spec.Id.Job != job {
			continue
		}
		delete(w.tasks, key)
		if t.slot {
			t.slot = false
			w.busy--
		}
	}
	w.fill()
}

// endAllJobs ends what there is, and waits until it is gone.
func (w *Worker) endAllJobs() {
	w.mu.Lock()
	var ids []string
	for id := range w.jobs {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	for _, id := range ids {
		w.endJob(&pb.EndJob{Job: id}, false)
	}
	w.closing.Wait()
}

// jobDirs are a job's folders: the first for its blocks, all for spill files.
func (w *Worker) jobDirs(id string) []string {
	dirs := []string{exchange.JobDir(w.cfg.Dir, id)}
	for _, d := range w.cfg.SpillDirs {
		dirs = append(dirs, filepath.Join(w.spillDir(d), id))
	}
	return dirs
}

// spillDir is the worker's own folder in a folder for spill files.
func (w *Worker) spillDir(d string) string { return filepath.Join(d, "divisi-"+w.id) }

// sweepSpill removes what an earlier process left in the folders for spill files.
func (w *Worker) sweepSpill() error {
	var errs []error
	for _, d := range w.cfg.SpillDirs {
		errs = append(errs, os.RemoveAll(w.spillDir(d)))
	}
	return errors.Join(errs...)
}

// removeAttempt deletes the files of an attempt that did not end well.
func (w *Worker) removeAttempt(id *pb.TaskID) error {
	out := w.outputPath(id)
	errs := []error{shuffle.Remove(out)}
	for _, d := range w.jobDirs(id.Job) {
		errs = append(errs, os.RemoveAll(filepath.Join(d, "spill", filepath.Base(out))))
	}
	for _, half := range []string{shuffle.DataPath(out), shuffle.IndexPath(out)} {
		if err := os.Remove(half + ".tmp"); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (w *Worker) outputPath(id *pb.TaskID) string {
	return filepath.Join(exchange.ShuffleDir(w.cfg.Dir, id.Job), shuffle.Name(dataflowID(id)))
}
