package s3

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/divisi-data/divisi/storage"
	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

const sweepers = 16 // requests at once while removing much

// Sweep ends an owner's uploads for keys at or below prefix.
func (f *FS) Sweep(ctx context.Context, prefix, owner string) error {
	return f.sweepFolder(ctx, clean(prefix), storage.OwnerFolder(owner))
}

// sweepFolder ends the uploads that the marks of one folder tell of.
func (f *FS) sweepFolder(ctx context.Context, prefix, folder string) error {
	var unnoted []string // marks of uploads that have to be looked for
	err := f.each(ctx, f.marks+folder+"/"+folderPrefix(prefix), func(ctx context.Context, key string) (bool, error) {
		return f.sweepMark(ctx, key)
	}, &unnoted)
	if err != nil {
		return err
	}
	// Only now is all that the owner's marks note known to be gone.
	for _, key := range unnoted {
		if err := f.sweepUnnoted(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// each calls do for all keys with a prefix, several at once, and collects those for
// which it says so.
func (f *FS) each(ctx context.Context, prefix string, do func(ctx context.Context, key string) (bool, error), collect *[]string) error {
	for keys, err := range f.all(ctx, prefix) {
		if err != nil {
			return err
		}
		picked := make([]bool, len(keys))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(sweepers)
		for i, o := range keys {
			g.Go(func() (err error) {
				picked[i], err = do(ctx, o.Key)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, o := range keys {
			if picked[i] {
				*collect = append(*collect, o.Key)
			}
		}
	}
	return nil
}

// sweepMark ends the upload that a mark notes, or takes the mark over and reports
// that an upload has to be looked for.
func (f *FS) sweepMark(ctx context.Context, key string) (unnoted bool, err error) {
	_, name, id, ok := f.parseMark(key)
	if !ok {
		return false, nil // a stand-in for a folder, or nobody's
	}
	for {
		m, o, err := f.readMark(ctx, key)
		switch {
		case errors.Is(err, storage.ErrNotExist):
			return false, nil // its writer has ended
		case err != nil:
			return false, err
		case m.state == swept:
			return true, nil
		case m.state == upload:
			if err := f.abort(ctx, "sweep", name, m.upload); err != nil {
				return false, err
			}
			if m.since != 0 {
				return true, nil
			}
			return false, f.remove(ctx, "sweep", key)
		}
		_, err = f.writeMark(ctx, "sweep", key, mark{state: swept, id: id, since: o.LastModified.Unix()}, o.ETag)
		if !errors.Is(err, storage.ErrGone) {
			return true, err
		}
		// Its writer has noted the upload meanwhile, or has ended.
	}
}

// sweepUnnoted ends uploads that can only be those of a mark that does not note
// them, and removes the mark.
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
	return f.remove(ctx, "sweep", key)
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
func (f *FS) folderAll(ctx context.Context, prefix string) func(yield func([]minio.ObjectInfo, error) bool) {
	return func(yield func([]minio.ObjectInfo, error) bool) {
		after := ""
		for more := true; more; {
			var page []minio.ObjectInfo
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
	err = f.each(ctx, name+"/", func(ctx context.Context, key string) (bool, error) {
		if reserved(key) {
			return false, nil // marks end with their uploads
		}
		return false, f.remove(ctx, op, key)
	}, nil)
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
