package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/divisi-data/divisi/dataflow/shuffle"
	pb "github.com/divisi-data/divisi/proto/divisipb"
	"github.com/divisi-data/divisi/worker/exchange"
)

// The outputs of attempts outlive the process that wrote them, and the incarnation. A worker
// that was killed and is started again finds those that are whole in its folder, and
// one that was given up keeps them; both name them when they register, so that no task
// runs again for an output that is there. What ran is gone with the process, and whether
// an output counts the coordinator knows alone.

// foundOutputs reads what an earlier process left of jobs, removes all of it but outputs
// that are whole, and lists those, by job. They are kept only since the machine started:
// nothing makes them outlive it whole.
func foundOutputs(dir string) (map[string][]*pb.TaskID, error) {
	jobs := filepath.Join(dir, "jobs")
	same, err := sameBoot(filepath.Join(dir, "boot"))
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(jobs)
	if err != nil {
		return nil, err
	}
	found := map[string][]*pb.TaskID{}
	for _, e := range entries {
		id := e.Name()
		var kept []*pb.TaskID
		if same && exchange.ValidJob(id) == nil {
			if kept, err = keepWhole(dir, id); err != nil {
				return nil, err
			}
		}
		if len(kept) == 0 {
			if err := os.RemoveAll(filepath.Join(jobs, id)); err != nil {
				return nil, err
			}
			continue
		}
		found[id] = kept
	}
	return found, nil
}

// keepWhole removes all of a job but its whole outputs.
func keepWhole(dir, job string) ([]*pb.TaskID, error) {
	shuffles := exchange.ShuffleDir(dir, job)
	entries, err := os.ReadDir(exchange.JobDir(dir, job))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name := filepath.Join(exchange.JobDir(dir, job), e.Name()); name != shuffles {
			if err := os.RemoveAll(name); err != nil {
				return nil, err
			}
		}
	}
	files, err := os.ReadDir(shuffles)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept []*pb.TaskID
	whole := map[string]bool{}
	for _, f := range files {
		t := &pb.TaskID{Job: job}
		if _, err := fmt.Sscanf(f.Name(), "%d-%d.%d.index", &t.Stage, &t.Index, &t.Attempt); err != nil {
			continue
		}
		name := shuffle.Name(dataflowID(t))
		o, err := shuffle.OpenFile(filepath.Join(shuffles, name))
		if err != nil || f.Name() != shuffle.IndexPath(name) {
			continue // it was not sealed
		}
		o.Close()
		kept = append(kept, t)
		whole[shuffle.IndexPath(name)], whole[shuffle.DataPath(name)] = true, true
	}
	for _, f := range files {
		if !whole[f.Name()] {
			if err := os.RemoveAll(filepath.Join(shuffles, f.Name())); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

// sameBoot says whether the machine runs since a process last asked with the same file.
func sameBoot(file string) (bool, error) {
	now, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return false, nil // there is no way to know
	}
	before, err := os.ReadFile(file)
	if err == nil && string(before) == string(now) {
		return true, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return false, os.WriteFile(file, now, 0o600)
}

// inherit makes jobs of outputs that an earlier process left; it comes before the first
// registration.
func (w *Worker) inherit(found map[string][]*pb.TaskID) {
	for id, tasks := range found {
		j := w.newJob(&pb.JobSpec{Id: id})
		for _, t := range tasks {
			j.outputs[attemptKey(t)] = heldOutput{id: t}
		}
		w.log.Info("outputs of an earlier process are here", "job", id, "outputs", len(tasks))
	}
}

// newJob adds a job. The caller holds mu, or is alone.
func (w *Worker) newJob(spec *pb.JobSpec) *job {
	j := &job{id: spec.Id, spec: spec, begun: time.Now(), told: map[int32][]*pb.Locations{}, prepared: map[int32][]byte{}, outputs: map[string]heldOutput{}}
	j.ctx, j.end = context.WithCancel(w.ctx)
	w.jobs[spec.Id] = j
	return j
}

// renew begins a new incarnation: the tasks of this one have been given to others, so it
// ends them and keeps no more than outputs.
func (w *Worker) renew() {
	w.mu.Lock()
	var ends []*pb.EndJob
	for id, j := range w.jobs {
		ends = append(ends, &pb.EndJob{Job: id, HostsOnly: len(j.outputs) > 0})
	}
	w.mu.Unlock()
	for _, e := range ends {
		w.endJob(e, false)
	}
	w.closing.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, j := range w.jobs { // the coordinator tells it all again
		j.told, j.prepared = map[int32][]*pb.Locations{}, map[int32][]byte{}
	}
	w.incarnation = randomID()
}
