package hdfs

import (
	"context"
	"errors"
	"iter"
	"path"
	"strings"
	"time"

	"github.com/divisi-data/divisi/storage"
)

var errEnough = errors.New("the caller has seen enough")

// Attempts implements storage.AttemptLister: it looks where Sweep looks, for all
// owners. HDFS says of a file that is written when it was begun, and as its size that
// of the blocks that are whole.
func (fs *FS) Attempts(ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
	return func(yield func(storage.Attempt, error) bool) {
		prefix, err := begin(ctx, "list attempts", prefix)
		if err == nil {
			err = fs.attempts(ctx, prefix, yield)
		}
		if err != nil && err != errEnough {
			yield(storage.Attempt{}, failed("list attempts", prefix, err))
		}
	}
}

func (fs *FS) attempts(ctx context.Context, prefix string, yield func(storage.Attempt, error) bool) error {
	for anchor := path.Dir(prefix); prefix != "/"; anchor = path.Dir(anchor) {
		folders, err := fs.ownersIn(ctx, anchor)
		if err != nil {
			return err
		}
		for _, folder := range folders {
			p := place{anchor: anchor, folder: folder, name: prefix}
			if err := fs.attemptsIn(ctx, p, p.dir(), yield); err != nil {
				return err
			}
		}
		if anchor == "/" {
			break
		}
	}
	return fs.attemptsInside(ctx, prefix, yield)
}

// attemptsInside yields those of the owners' folders within a tree.
func (fs *FS) attemptsInside(ctx context.Context, dir string, yield func(storage.Attempt, error) bool) error {
	all, err := fs.readable(ctx, dir)
	if err != nil {
		return err
	}
	folders, err := fs.ownersIn(ctx, dir)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := fs.attemptsIn(ctx, place{anchor: dir, folder: folder}, path.Join(dir, folder), yield); err != nil {
			return err
		}
	}
	for _, s := range all {
		if kind(s) == isDir {
			if err := fs.attemptsInside(ctx, path.Join(dir, string(s.GetPath())), yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// attemptsIn yields the attempts below a folder inside an owner's folder.
func (fs *FS) attemptsIn(ctx context.Context, p place, dir string, yield func(storage.Attempt, error) bool) error {
	owner, ok := storage.FolderOwner(p.folder)
	if !ok {
		return nil
	}
	all, err := fs.readable(ctx, dir)
	if err != nil {
		return err
	}
	for _, s := range all {
		base := string(s.GetPath())
		switch {
		case kind(s) == isDir:
			if err := fs.attemptsIn(ctx, p, path.Join(dir, base), yield); err != nil {
				return err
			}
		case strings.HasPrefix(base, attempt):
			name := path.Join(p.anchor, strings.TrimPrefix(dir, path.Join(p.anchor, p.folder)))
			if !yield(storage.Attempt{Name: name, Owner: owner, Size: int64(s.GetLength()), Changed: time.UnixMilli(int64(s.GetModificationTime()))}, nil) {
				return errEnough
			}
		}
	}
	return nil
}

// readable is what lies in a folder; nothing where it is none or may not be read.
func (fs *FS) readable(ctx context.Context, dir string) ([]*status, error) {
	all, err := fs.entries(ctx, dir)
	if errors.Is(err, storage.ErrPermission) {
		return nil, nil
	}
	return all, absent(err)
}

// ownersIn are the owners' folders in a folder.
func (fs *FS) ownersIn(ctx context.Context, dir string) (folders []string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err = fs.do(ctx, func(c *connection) (err error) {
		folders, err = ownerFolders(c, dir)
		return absent(err)
	})
	if errors.Is(err, storage.ErrPermission) {
		err = nil
	}
	return folders, err
}
