package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// Leftovers is what one job has at or below a place and no reader sees: attempts that
// are not published, and the files of a commit. A living job has them too; who asks has
// to know which jobs live.
type Leftovers struct {
	Job      string // "": nobody's, or made by something else than a job; see storage.IsShortened
	Attempts int
	Bytes    int64    // of the attempts, as far as the storage says
	Commits  []string // outputs in which the job holds the turn, or has a manifest
	// Changed is when the newest of all that changed last, as far as the storage says;
	// some say when it was begun.
	Changed time.Time
}

// FindLeftovers looks for all jobs' leftovers at or below a folder, in order of the
// jobs. What it could read comes with the error for what it could not.
func FindLeftovers(ctx context.Context, folder string) ([]Leftovers, error) {
	fs, name, err := storage.Resolve(ctx, folder)
	if err != nil {
		return nil, storageError("files.FindLeftovers", folder, err)
	}
	lister, ok := storage.As[storage.AttemptLister](fs)
	if !ok {
		return nil, &dataflow.Error{Op: "files.FindLeftovers", Path: folder, Kind: dataflow.User, Err: fmt.Errorf("%w: the storage cannot list attempts", storage.ErrUnsupported)}
	}
	by := map[string]*Leftovers{}
	of := func(job string, changed time.Time) *Leftovers {
		l := by[job]
		if l == nil {
			l = &Leftovers{Job: job}
			by[job] = l
		}
		if changed.After(l.Changed) {
			l.Changed = changed
		}
		return l
	}
	for a, err := range lister.Attempts(ctx, name) {
		if err != nil {
			return nil, storageError("files.FindLeftovers", folder, err)
		}
		l := of(a.Owner, a.Changed)
		l.Attempts++
		l.Bytes += a.Size
	}
	var errs []error
	for info, err := range fs.List(ctx, name) {
		if err != nil {
			return nil, storageError("files.FindLeftovers", folder, err)
		}
		job, err := commitOf(ctx, fs, folder, info.Name)
		if err != nil {
			errs = append(errs, err)
		}
		if job == "" {
			continue
		}
		l := of(job, info.ModTime)
		if out := folderOf(info.Name); !slices.Contains(l.Commits, out) {
			l.Commits = append(l.Commits, out)
		}
	}
	unshorten(by)
	var all []Leftovers
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b Leftovers) int { return cmp.Compare(a.Job, b.Job) })
	return all, errors.Join(errs...)
}

// unshorten brings together what has a job's name, which commits have, and what has only
// the shortened one of its folder.
func unshorten(by map[string]*Leftovers) {
	for job, l := range by {
		short := by[storage.OwnerFolder(job)]
		if short == nil || short == l {
			continue
		}
		l.Attempts += short.Attempts
		l.Bytes += short.Bytes
		if short.Changed.After(l.Changed) {
			l.Changed = short.Changed
		}
		delete(by, short.Job)
	}
}

// commitOf is the job to which a file of a commit belongs, "" where it is none.
func commitOf(ctx context.Context, fs storage.Filesystem, folder, name string) (job string, err error) {
	base := path.Base(name)
	escaped, isManifest := strings.CutPrefix(base, manifestName+"-")
	if base != manifestName && !isManifest {
		return "", nil
	}
	out := folderOf(name)
	p := &publisher{sink: &sink{path: storage.URI(folder, out)}, fs: fs, out: out}
	if !isManifest {
		if job, err = p.readTurn(ctx); errors.Is(err, storage.ErrNotExist) {
			return "", nil // over meanwhile
		}
		return job, err
	}
	if p.commit.Job, err = url.PathUnescape(escaped); err != nil || p.manifestOf(p.commit.Job) != base {
		return "", nil // of something else
	}
	m, err := p.readManifest(ctx)
	if err != nil || m == nil {
		return "", err
	}
	return m.Job, nil
}

// folderOf is the folder of a name, as join takes it.
func folderOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)]
}

// RemoveLeftovers removes what a job left at or below a folder, as FindLeftovers found
// it. What the job had decided to publish, by a manifest, is published whole first, or
// taken back where that cannot be: as at the end of any job. No writer of the job may
// be alive, nor any process that publishes it.
func RemoveLeftovers(ctx context.Context, folder string, l Leftovers) error {
	fs, name, err := storage.Resolve(ctx, folder)
	if err != nil {
		return storageError("files.RemoveLeftovers", folder, err)
	}
	for _, out := range l.Commits {
		s := &sink{path: storage.URI(folder, out)}
		if err := s.Clean(ctx, dataflow.Commit{Job: l.Job}); err != nil {
			return err
		}
	}
	sw, ok := storage.As[storage.Sweeper](fs)
	if !ok {
		return &dataflow.Error{Op: "files.RemoveLeftovers", Path: folder, Kind: dataflow.User, Err: fmt.Errorf("%w: the storage cannot sweep", storage.ErrUnsupported)}
	}
	if err := sw.Sweep(ctx, name, l.Job); err != nil {
		return storageError("files.RemoveLeftovers", folder, err)
	}
	return nil
}
