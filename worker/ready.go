package worker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A short job waits for most of its time until its program has started. So when one has
// ended, its program is started once more, and waits for a while for another job
// that brings the same program and the same environment, whoever's it is. It has been
// told nothing of the job before and has run none of its tasks: it is as good as one that
// is started later.

// A readyProgram waits for a job; there is at most one.
type readyProgram struct {
	key   string
	p     *program
	over  chan struct{} // closed when it has become a host, or another has its place
	taken bool          // it has become a host; guarded by the worker's mu
	gone  chan struct{} // closed when it is neither waiting nor there
}

// readyKey is what has to be the same for a job to take a ready program: all that a
// process is given when it starts, but for its folder. "": none can be.
func (w *Worker) readyKey(j *job) string {
	if w.cfg.KeepReady <= 0 || j.spec.BinarySha256 == "" {
		return ""
	}
	env := childEnv(HostStart{Job: j.spec, Host: w.cfg.Host})
	return strings.Join(slices.Insert(env, 0, j.spec.BinarySha256), "\x00")
}

// takeReady gives a job's first host the program that is ready for it, if there is one.
// Its folder becomes the job's, at work.
func (w *Worker) takeReady(h *host, work string) *program {
	w.mu.Lock()
	r, first := w.ready, h.job.hosts == 1
	if r == nil || !first || r.key != w.readyKey(h.job) {
		w.mu.Unlock()
		return nil
	}
	w.ready, r.taken = nil, true
	close(r.over)
	w.mu.Unlock()
	if err := r.p.ready.give(work, h.logName); err != nil {
		w.log.Warn("a program that was ready cannot be used", "job", h.job.id, "err", err)
		r.p.end()
		return nil
	}
	return r.p
}

// shortJob is what a job may take on a worker for its next one to gain by a program that
// is ready.
const shortJob = time.Second

// makeReady starts the program of a short job that has ended, in place of the one that
// was ready before.
func (w *Worker) makeReady(j *job) {
	w.mu.Lock()
	key := w.readyKey(j)
	needless := time.Since(j.begun) > w.cfg.shortJob || w.ready != nil && w.ready.key == key
	ending := w.ctx.Err() != nil || w.drain
	w.mu.Unlock()
	if key == "" || needless || ending {
		return
	}
	p, err := w.startReady(j)
	if err != nil {
		w.log.Warn("no program can be made ready", "job", j.id, "err", err)
		return
	}
	r := &readyProgram{key: key, p: p, over: make(chan struct{}), gone: make(chan struct{})}
	w.mu.Lock()
	if w.ready != nil {
		close(w.ready.over)
	}
	w.ready = r
	w.mu.Unlock()
	w.waiting.Go(func() { w.await(r) })
}

func (w *Worker) startReady(j *job) (*program, error) {
	d, err := newReadyDir(w.folder.ready())
	if err != nil {
		return nil, err
	}
	err = os.Link(filepath.Join(w.folder.artifacts(), j.spec.BinarySha256), d.program())
	if err == nil {
		var p *program
		start := HostStart{Job: j.spec, Binary: d.program(), Dir: d.work(), Host: w.cfg.Host}
		if p, err = w.startProgram(w.ctx, start, d.log()); err == nil {
			p.ready = d
			return p, nil
		}
	}
	d.remove()
	return nil, err
}

// await ends a ready program that no job has come for, or that has died, or when the
// worker ends.
func (w *Worker) await(r *readyProgram) {
	defer close(r.gone)
	late := time.NewTimer(w.cfg.KeepReady)
	defer late.Stop()
	select {
	case <-r.over:
	case <-late.C:
	case <-w.ctx.Done():
	case err := <-r.p.ended:
		r.p.ended <- err
	}
	w.mu.Lock()
	taken := r.taken
	if w.ready == r {
		w.ready = nil
	}
	w.mu.Unlock()
	if !taken {
		r.p.end()
	}
}

// A readyDir is the folder of a program that is ready. The one it works in becomes its
// job's later, and is found under its first name too, which the program may have seen.
type readyDir struct{ path string }

func newReadyDir(in string) (*readyDir, error) {
	if err := os.MkdirAll(in, 0o700); err != nil {
		return nil, err
	}
	path, err := os.MkdirTemp(in, "")
	return &readyDir{path}, err
}

func (d *readyDir) program() string { return filepath.Join(d.path, "program") }
func (d *readyDir) work() string    { return filepath.Join(d.path, "work") }
func (d *readyDir) log() string     { return filepath.Join(d.path, "log") }

// give makes its working folder and log a job's.
func (d *readyDir) give(work, log string) error {
	if err := os.Rename(d.work(), work); err != nil {
		return err
	}
	return errors.Join(os.Symlink(work, d.work()), os.Rename(d.log(), log))
}

// remove may be called on nil.
func (d *readyDir) remove() {
	if d != nil {
		_ = os.RemoveAll(d.path) // what stays is removed when the worker starts again
	}
}
