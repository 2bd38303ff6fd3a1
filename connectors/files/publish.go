package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/bare"
	"github.com/divisi-data/divisi/storage"
)

// The commit of an output folder. Two small hidden files in it decide everything;
// both are made only if absent, so that of any number of jobs and of processes
// that publish one job, exactly one decides:
//
//	_manifest          whose turn it is: the job's name
//	_manifest-<job>    what that job publishes and deletes, written when it has its turn
//
// Publish:                                     after a crash here, Publish again
//
//	1  make _manifest                         finds it its own and goes on
//	2  look whether the output is free        looks again: nothing is published yet
//	3  make _manifest-<job>                   goes on with what stands in it
//	4  delete the old _SUCCESS (replace)      the same again: each step is idempotent
//	5  publish the parts
//	6  delete the replaced files
//	7  make _SUCCESS
//	8  delete _manifest                       finds only _manifest-<job>: is done
//
// Clean finishes 4 to 8 if it finds both, deletes what it finds alone, and sweeps
// the job's attempts. The parts come from the receipts only; the folder is listed
// to see whether it is free and what is in the way, never to find out what belongs
// to the output.
const manifestName = "_manifest"

// publishAtOnce is how many parts are published at a time.
const publishAtOnce = 8

type publisher struct {
	sink   *sink
	fs     storage.Filesystem
	out    string
	commit dataflow.Commit
}

// Publish implements dataflow.Sink.
func (s *sink) Publish(ctx context.Context, c dataflow.Commit, won []dataflow.Receipt) error {
	ctx = advancing(ctx)
	p, err := s.publisher(ctx, c)
	if err != nil {
		return err
	}
	parts, err := p.parts(won)
	if err != nil {
		return err
	}
	m, err := p.readManifest(ctx)
	if err != nil {
		return err
	}
	if m == nil {
		if m, err = p.decide(ctx, parts); err != nil {
			return err
		}
	}
	mine, err := p.holdsTurn(ctx)
	if err != nil {
		return err
	}
	if !mine {
		return nil // step 8 was taken
	}
	err = p.carryOut(ctx, m)
	if errors.Is(err, storage.ErrGone) {
		mine, terr := p.holdsTurn(ctx)
		if terr != nil {
			return terr
		}
		if !mine {
			return nil // step 8 was taken meanwhile, and what was published may have been replaced since
		}
	}
	return err
}

// Clean implements dataflow.Sink.
func (s *sink) Clean(ctx context.Context, c dataflow.Commit) error {
	ctx = advancing(ctx)
	p, err := s.publisher(ctx, c)
	if err != nil {
		return err
	}
	m, err := p.readManifest(ctx)
	if err != nil {
		return err
	}
	mine, err := p.holdsTurn(ctx)
	if err != nil {
		return err
	}
	if m != nil && mine {
		err := p.carryOut(ctx, m)
		if errors.Is(err, storage.ErrGone) || errors.Is(err, storage.ErrNotExist) {
			err = p.undo(ctx, m) // a sealed part is gone: better nothing than half
		}
		if err != nil {
			return err
		}
	} else if mine {
		if err := p.remove(ctx, manifestName); err != nil {
			return err
		}
	}
	if m != nil {
		if err := p.remove(ctx, p.manifestOf(c.Job)); err != nil {
			return err
		}
	}
	if sw, ok := storage.As[storage.Sweeper](p.fs); ok {
		if err := sw.Sweep(ctx, p.out, c.Job); err != nil {
			return storageError("files.Clean", s.path, err)
		}
	}
	return nil
}

func (s *sink) publisher(ctx context.Context, c dataflow.Commit) (*publisher, error) {
	fs, out, err := storage.Resolve(ctx, s.path)
	if err != nil {
		return nil, storageError("files.Publish", s.path, err)
	}
	return &publisher{sink: s, fs: fs, out: out, commit: c}, nil
}

// parts are the files of the winners, by name.
func (p *publisher) parts(won []dataflow.Receipt) ([]storage.Sealed, error) {
	var parts []storage.Sealed
	of := map[string]dataflow.TaskID{}
	for _, r := range won {
		var pay partPayload
		if err := json.Unmarshal(r.Payload, &pay); err != nil {
			return nil, &dataflow.Error{Op: "files.Publish", Task: r.Task.String(), Kind: dataflow.Fatal, Err: fmt.Errorf("receipt: %w", err)}
		}
		if pay.Sealed == nil {
			continue
		}
		for _, s := range append([]storage.Sealed{*pay.Sealed}, pay.More...) {
			if other, twice := of[s.Name]; twice {
				return nil, &dataflow.Error{Op: "files.Publish", Task: r.Task.String(), Path: s.Name, Kind: dataflow.Fatal, Err: fmt.Errorf("%s wrote the same part", other)}
			}
			of[s.Name] = r.Task
			parts = append(parts, s)
		}
	}
	slices.SortFunc(parts, func(a, b storage.Sealed) int { return strings.Compare(a.Name, b.Name) })
	return parts, nil
}

// decide is steps 1 to 3.
func (p *publisher) decide(ctx context.Context, parts []storage.Sealed) (*manifest, error) {
	if m, err := p.takeTurn(ctx); err != nil || m != nil {
		return m, err
	}
	m := &manifest{Version: 2, Job: p.commit.Job, Parts: parts}
	if err := p.free(ctx, m); err != nil {
		// What is in the way may be our own, published by another process.
		if m, merr := p.readManifest(ctx); merr != nil || m != nil {
			return m, merr
		}
		return nil, errors.Join(err, p.remove(ctx, manifestName))
	}
	raw, err := m.encode()
	if err != nil {
		return nil, err
	}
	switch err := p.create(ctx, p.manifestOf(p.commit.Job), raw); {
	case errors.Is(err, storage.ErrExist): // another process of the same job decided
		return p.readManifest(ctx)
	case err != nil:
		return nil, err
	}
	return m, nil
}

// turnTries bounds how often a turn may end just when it is looked at.
const turnTries = 100

// takeTurn is step 1. It returns a manifest where another process has decided in
// the meantime, or nil when this one has the turn.
func (p *publisher) takeTurn(ctx context.Context) (*manifest, error) {
	var holder string
	for range turnTries {
		err := p.create(ctx, manifestName, encodeTurn(p.commit.Job))
		if err == nil {
			m, err := p.readManifest(ctx)
			if err != nil || m == nil {
				return nil, err
			}
			return m, p.remove(ctx, manifestName) // published whole in between
		}
		if !errors.Is(err, storage.ErrExist) {
			return nil, err
		}
		holder, err = p.readTurn(ctx)
		switch {
		case errors.Is(err, storage.ErrNotExist): // that turn is over
			continue
		case err != nil:
			return nil, err
		case holder == p.commit.Job:
			return p.readManifest(ctx)
		}
		return nil, p.busy(holder)
	}
	return nil, p.busy(holder)
}

// free checks that the output may be written and sets what is deleted for it.
func (p *publisher) free(ctx context.Context, m *manifest) error {
	seen, err := p.visible(ctx)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, s := range m.Parts {
		ours[s.Name] = true
	}
	var prep prepared
	if len(p.commit.Prepared) > 0 {
		if err := json.Unmarshal(p.commit.Prepared, &prep); err != nil {
			return &dataflow.Error{Op: "files.Publish", Path: p.sink.path, Kind: dataflow.Fatal, Err: fmt.Errorf("what Prepare said: %w", err)}
		}
	}
	m.Base = prep.Base
	for _, name := range seen {
		switch {
		case p.commit.Mode == dataflow.Append && !ours[name]:
		case p.commit.Mode == dataflow.Append:
			return p.exists(name, "was written while the job ran", "another job appended to the same output: run this one again")
		case p.commit.Mode == dataflow.Replace:
			if !ours[name] {
				m.Delete = append(m.Delete, name)
			}
		default:
			return p.exists(name, "was written while the job ran", "another job wrote to the same output: name another one")
		}
	}
	return nil
}

// carryOut is steps 4 to 8.
func (p *publisher) carryOut(ctx context.Context, m *manifest) error {
	success := join(p.out, successName)
	if slices.Contains(m.Delete, success) {
		if err := p.remove(ctx, successName); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(publishAtOnce)
	for _, part := range m.Parts {
		g.Go(func() error {
			return publishError(storage.URI(p.sink.path, part.Name), p.fs.Publish(gctx, part))
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, name := range m.Delete {
		if name == success {
			continue
		}
		if err := p.fs.Remove(ctx, name); err != nil {
			return storageError("files.Publish", storage.URI(p.sink.path, name), err)
		}
	}
	if err := p.create(ctx, successName, nil); err != nil && !errors.Is(err, storage.ErrExist) {
		return err
	}
	// Another process of this job may have come this far before, and the turn be
	// another job's by now.
	mine, err := p.holdsTurn(ctx)
	if err != nil || !mine {
		return err
	}
	return p.remove(ctx, manifestName)
}

// publishError is storageError for a part that was to be published. One that is gone
// does not come back, however often that is tried.
func publishError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrGone):
		return &dataflow.Error{Op: "files.Publish", Path: path, Kind: dataflow.Fatal, Err: err,
			Try: "run the job again: the store, or somebody who cleaned up in it, lost a part before it was published; what was published of this output is taken back"}
	}
	return storageError("files.Publish", path, err)
}

// undo takes back what was published of a job that cannot be published whole.
func (p *publisher) undo(ctx context.Context, m *manifest) error {
	for _, part := range m.Parts {
		if err := p.fs.Remove(ctx, part.Name); err != nil {
			return storageError("files.Clean", storage.URI(p.sink.path, part.Name), err)
		}
	}
	return p.remove(ctx, manifestName)
}

// visible lists the output's files: all that is not hidden, and _SUCCESS.
func (p *publisher) visible(ctx context.Context) ([]string, error) {
	var names []string
	for info, err := range p.fs.List(ctx, p.out) {
		if err != nil {
			return nil, storageError("files.Publish", p.sink.path, err)
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(info.Name, p.out), "/")
		if rest == successName || !isHidden(rest) {
			names = append(names, info.Name)
		}
	}
	return names, nil
}

func (p *publisher) exists(name, why, try string) error {
	return &dataflow.Error{Op: "files.Sink", Path: p.sink.path, Kind: dataflow.User, Try: try,
		Err: fmt.Errorf("%w: %s %s", dataflow.ErrOutputExists, storage.URI(p.sink.path, name), why)}
}

// busy is the answer when another job has its turn. In mode fail that decides it;
// otherwise it passes, unless the other job's coordinator is gone for good.
func (p *publisher) busy(holder string) error {
	err := fmt.Errorf("%w: job %s is being published there", dataflow.ErrOutputExists, holder)
	if p.commit.Mode == dataflow.Append || p.commit.Mode == dataflow.Replace {
		return &dataflow.Error{Op: "files.Publish", Path: p.sink.path, Kind: dataflow.Transient, Err: err,
			Try: "if that job is gone for good, remove " + storage.URI(p.sink.path, join(p.out, manifestName))}
	}
	return &dataflow.Error{Op: "files.Publish", Path: p.sink.path, Kind: dataflow.User, Err: err, Try: "name another output"}
}

// manifestOf is the base name of a job's manifest.
func (p *publisher) manifestOf(job string) string { return manifestName + "-" + url.PathEscape(job) }

// readManifest is what the job decided to publish, or nil.
func (p *publisher) readManifest(ctx context.Context) (*manifest, error) {
	if bare.Manifests() {
		return nil, nil
	}
	name := p.manifestOf(p.commit.Job)
	raw, err := p.read(ctx, name)
	if errors.Is(err, storage.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(raw)
	if err == nil && m.Job != p.commit.Job {
		err = fmt.Errorf("it is job %s's, job %s looks for its own", m.Job, p.commit.Job)
	}
	if err != nil {
		return nil, damaged(storage.URI(p.sink.path, join(p.out, name)), err)
	}
	return m, nil
}

// readTurn is the job that _manifest names.
func (p *publisher) readTurn(ctx context.Context) (string, error) {
	raw, err := p.read(ctx, manifestName)
	if err != nil {
		return "", err
	}
	job, err := decodeTurn(raw)
	if err != nil {
		return "", damaged(storage.URI(p.sink.path, join(p.out, manifestName)), err)
	}
	return job, nil
}

// holdsTurn reports whether _manifest names this job.
func (p *publisher) holdsTurn(ctx context.Context) (bool, error) {
	if bare.Manifests() {
		return true, nil
	}
	job, err := p.readTurn(ctx)
	if errors.Is(err, storage.ErrNotExist) {
		return false, nil
	}
	return err == nil && job == p.commit.Job, err
}

// create makes a small file in the output if it is absent, or fails with an error
// that wraps storage.ErrExist.
func (p *publisher) create(ctx context.Context, base string, data []byte) error {
	if bare.Manifests() && base != successName {
		return nil
	}
	name := join(p.out, base)
	cc, ok := storage.As[storage.ConditionalCreator](p.fs)
	if !ok {
		return storageError("files.Publish", storage.URI(p.sink.path, name), storage.ErrUnsupported)
	}
	if err := cc.CreateIfAbsent(storage.WithOwner(ctx, p.commit.Job), name, data); err != nil {
		return storageError("files.Publish", storage.URI(p.sink.path, name), err)
	}
	return nil
}

func (p *publisher) remove(ctx context.Context, base string) error {
	if bare.Manifests() && base != successName {
		return nil
	}
	name := join(p.out, base)
	if err := p.fs.Remove(ctx, name); err != nil {
		return storageError("files.Publish", storage.URI(p.sink.path, name), err)
	}
	return nil
}

func (p *publisher) read(ctx context.Context, base string) ([]byte, error) {
	name := join(p.out, base)
	f, err := p.fs.Open(ctx, name)
	if err != nil {
		return nil, storageError("files.Publish", storage.URI(p.sink.path, name), err)
	}
	defer f.Close()
	raw := make([]byte, f.Size())
	if _, err := f.ReadAt(raw, 0); err != nil && err != io.EOF {
		return nil, storageError("files.Publish", storage.URI(p.sink.path, name), err)
	}
	return raw, nil
}
