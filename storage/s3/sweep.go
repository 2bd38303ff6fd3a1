package s3

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/divisi-data/divisi/storage"
	"golang.org/x/sync/errgroup"
)

const sweepers = 16 // requests at once while removing much

// Sweep ends an owner's uploads for keys at or below prefix.
func (f *FS) Sweep(ctx context.Context, prefix, owner string) error {
	return f.sweepFolder(ctx, clean(prefix), storage.OwnerFolder(owner))
}

// sweepPasses bounds how often a folder of marks is looked through. What is written
// while its owner's writers end may appear after the first look.
const sweepPasses = 3

// sweepFolder ends the uploads that the marks of one folder tell of.
func (f *FS) sweepFolder(ctx context.Context, prefix, folder string) error {
	for range sweepPasses {
		found, err := f.sweepOnce(ctx, prefix, folder)
		if !found || err != nil {
			return err
		}
	}
	return nil
}

// sweepOnce ends the uploads that the marks there are tell of, and reports whether there
// were any. The marks stay until what is on its way to the server has arrived, so that
// who sweeps after a sweeper that died finds all of it.
func (f *FS) sweepOnce(ctx context.Context, prefix, folder string) (found bool, err error) {
	all := f.marks + folder + "/" + folderPrefix(prefix)
	var mu sync.Mutex
	var marks []sweeping
	err = f.each(ctx, all, func(ctx context.Context, key string) error {
		s, err := f.sweepMark(ctx, key)
		if s.key != "" {
			mu.Lock()
			marks = append(marks, s)
			mu.Unlock()
		}
		return err
	})
	if err != nil || len(marks) == 0 {
		return false, err
	}
	// Only now is all that the owner's marks note known to be gone.
	for _, s := range marks {
		if s.unnoted {
			if err := f.sweepUnnoted(ctx, s.key); err != nil {
				return true, err
			}
		}
	}
	err = f.afterwards(ctx, "sweep", prefix, func() error {
		return atOnce(ctx, marks, func(ctx context.Context, s sweeping) error {
			if s.upload != "" {
				err := f.abortAgain(ctx, "sweep", s.name, s.upload)
				if err != nil || !s.unnoted {
					return err
				}
			}
			return f.sweepUnnoted(ctx, s.key)
		})
	})
	if err != nil {
		return true, err
	}
	return true, atOnce(ctx, marks, func(ctx context.Context, s sweeping) error { return f.remove(ctx, "sweep", s.key) })
}

// sweeping is a mark that is being swept.
type sweeping struct {
	key     string
	name    string
	upload  string // the one it notes
	unnoted bool   // an upload that it does not note has to be looked for
}

// each calls do for all keys with a prefix, several at once.
func (f *FS) each(ctx context.Context, prefix string, do func(ctx context.Context, key string) error) error {
	for keys, err := range f.all(ctx, prefix) {
		if err == nil {
			err = atOnce(ctx, keys, func(ctx context.Context, o entry) error { return do(ctx, o.Key) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// atOnce calls do for all, several at once.
func atOnce[T any](ctx context.Context, all []T, do func(ctx context.Context, one T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sweepers)
	for _, one := range all {
		g.Go(func() error { return do(ctx, one) })
	}
	return g.Wait()
}

// sweepMark ends the upload that a mark notes, or takes the mark over so that its writer
// cannot note one. What it returns has no key where there is nothing to sweep.
func (f *FS) sweepMark(ctx context.Context, key string) (sweeping, error) {
	_, name, id, ok := f.parseMark(key)
	if !ok {
		return sweeping{}, nil // a stand-in for a folder, or nobody's
	}
	for {
		m, o, err := f.readMark(ctx, key)
		switch {
		case errors.Is(err, storage.ErrNotExist):
			return sweeping{}, nil // its writer has ended
		case err != nil:
			return sweeping{}, err
		case m.state == swept:
			return sweeping{key: key, name: name, unnoted: true}, nil
		case m.state == upload:
			s := sweeping{key: key, name: name, upload: m.upload, unnoted: m.since != 0}
			return s, f.abort(ctx, "sweep", name, m.upload)
		}
		_, err = f.writeMark(ctx, "sweep", key, mark{state: swept, id: id, since: o.LastModified.Unix()}, o.ETag)
		if !errors.Is(err, storage.ErrGone) {
			return sweeping{key: key, name: name, unnoted: true}, err
		}
		// Its writer has noted the upload meanwhile, or has ended.
	}
}

// sweepUnnoted ends uploads that can only be those of a mark that does not note
// them. The mark stays.
func (f *FS) sweepUnnoted(ctx context.Context, key string) error {
	_, name, _, _ := f.parseMark(key)
	m, _, err := f.readMark(ctx, key)
	if errors.Is(err, storage.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	found, err := f.uploads(ctx, name, time.Unix(m.since, 0))
	if err != nil {
		return err
	}
	if len(found) > 0 {
		noted, certain, err := f.notes(ctx, name, key)
		if err != nil {
			return err
		}
		for _, id := range found {
			if certain && !noted[id] {
				if err := f.abort(ctx, "sweep", name, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// uploads lists the ids of a key's uploads that were begun since a time.
func (f *FS) uploads(ctx context.Context, name string, since time.Time) (ids []string, err error) {
	err = f.try(ctx, "list uploads", name, func(c call) error {
		ids = nil
		var err error
		// The channel is read to its end even after an error: its sender waits.
		for u := range f.core.ListIncompleteUploads(c.ctx, f.bucket, name, true) {
			c.moved()
			if u.Err != nil {
				err = u.Err
			} else if u.Key == name && !u.Initiated.Before(since) {
				ids = append(ids, u.UploadID)
			}
		}
		return err
	})
	return ids, err
}

// notes collects the uploads that any mark of a key notes. It is not certain that
// all others are nobody's where a mark of another folder says intent.
func (f *FS) notes(ctx context.Context, name, own string) (noted map[string]bool, certain bool, err error) {
	noted, certain = map[string]bool{}, true
	ownFolder, _, _, _ := f.parseMark(own)
	folders, err := f.owners(ctx)
	if err != nil {
		return nil, false, err
	}
	for _, folder := range folders {
		keys, err := f.marksOf(ctx, folder, name)
		if err != nil {
			return nil, false, err
		}
		for _, key := range keys {
			m, _, err := f.readMark(ctx, key)
			switch {
			case errors.Is(err, storage.ErrNotExist):
			case err != nil:
				return nil, false, err
			case m.state == upload:
				noted[m.upload] = true
			case m.state == intent || folder != ownFolder:
				certain = false
			}
		}
	}
	return noted, certain, nil
}

// marksOf lists the marks of exactly one key in one folder.
func (f *FS) marksOf(ctx context.Context, folder, name string) (keys []string, err error) {
	for page, err := range f.folderAll(ctx, f.markKey(folder, name, "")) {
		if err != nil {
			return nil, err
		}
		for _, o := range page {
			if _, n, _, ok := f.parseMark(o.Key); ok && n == name {
				keys = append(keys, o.Key)
			}
		}
	}
	return keys, nil
}

// owners lists the folders of marks.
func (f *FS) owners(ctx context.Context) (folders []string, err error) {
	for page, err := range f.folderAll(ctx, f.marks+hidden) {
		if err != nil {
			return nil, err
		}
		for _, o := range page {
			if dir, ok := strings.CutSuffix(strings.TrimPrefix(o.Key, f.marks), "/"); ok && storage.IsOwnerFolder(dir) {
				folders = append(folders, dir)
			}
		}
	}
	return folders, nil
}

// folderAll yields all pages of what lies directly below a prefix.
func (f *FS) folderAll(ctx context.Context, prefix string) func(yield func([]entry, error) bool) {
	return func(yield func([]entry, error) bool) {
		after := ""
		for more := true; more; {
			var page []entry
			var err error
			page, more, err = f.folderPage(ctx, prefix, after)
			if !yield(page, err) || err != nil {
				return
			}
			if len(page) > 0 {
				after = page[len(page)-1].Key
			}
		}
	}
}

// Remove deletes an object. Where there is none of the name, it deletes all
// objects below it, and ends all attempts for the name and for names below it.
func (f *FS) Remove(ctx context.Context, name string) error {
	const op = "remove"
	name = clean(name)
	if name == "" || reserved(name) {
		return f.failed(op, name, errors.New("the whole bucket, and what is kept for attempts, is not removed: name a folder in it"))
	}
	_, err := f.head(ctx, op, name)
	if err == nil {
		return f.remove(ctx, op, name)
	}
	if !errors.Is(err, storage.ErrNotExist) {
		return err
	}
	err = f.each(ctx, name+"/", func(ctx context.Context, key string) error {
		if reserved(key) {
			return nil // marks end with their uploads
		}
		return f.remove(ctx, op, key)
	})
	if err != nil {
		return err
	}
	folders, err := f.owners(ctx)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := f.sweepFolder(ctx, name, folder); err != nil {
			return err
		}
	}
	return nil
}
