package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/divisi-data/divisi/storage"
)

var errEnough = errors.New("the caller has seen enough")

// Attempts implements storage.AttemptLister: it looks where Sweep looks, for all
// owners.
func (FS) Attempts(ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
	return func(yield func(storage.Attempt, error) bool) {
		prefix, err := begin(ctx, "list attempts", prefix)
		if err == nil {
			err = attempts(ctx, prefix, yield)
		}
		if err != nil && err != errEnough {
			yield(storage.Attempt{}, failed("list attempts", prefix, err))
		}
	}
}

func attempts(ctx context.Context, prefix string, yield func(storage.Attempt, error) bool) error {
	for anchor := path.Dir(prefix); path.Dir(prefix) != prefix; anchor = path.Dir(anchor) {
		list, err := os.ReadDir(anchor)
		if err != nil && !absent(err) && !denied(err) {
			return err
		}
		for _, d := range list {
			if !d.IsDir() || !storage.IsOwnerFolder(d.Name()) {
				continue
			}
			p := place{anchor: anchor, folder: d.Name(), name: prefix}
			if err := attemptsIn(ctx, p, p.dir(), yield); err != nil {
				return err
			}
		}
		if anchor == path.Dir(anchor) {
			break
		}
	}
	start := prefix
	if to, err := filepath.EvalSymlinks(filepath.FromSlash(prefix)); err == nil {
		start = filepath.ToSlash(to)
	}
	return walkFolders(ctx, start, func(dir string, d fs.DirEntry) error {
		if !d.IsDir() || !storage.IsOwnerFolder(d.Name()) {
			return nil
		}
		// Names are as they are seen from the prefix, also where that is a link.
		anchor := path.Join(prefix, strings.TrimPrefix(path.Dir(dir), start))
		if err := attemptsIn(ctx, place{anchor: anchor, folder: d.Name()}, dir, yield); err != nil {
			return err
		}
		return fs.SkipDir
	})
}

// attemptsIn yields the attempts at or below a folder inside an owner's folder.
func attemptsIn(ctx context.Context, p place, dir string, yield func(storage.Attempt, error) bool) error {
	owner, ok := storage.FolderOwner(p.folder)
	if !ok {
		return nil
	}
	return walkFolders(ctx, dir, func(name string, d fs.DirEntry) error {
		if d.IsDir() || !strings.HasPrefix(d.Name(), attempt) {
			return nil
		}
		fi, err := d.Info()
		if absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		_, below, _ := strings.Cut(path.Dir(name)+"/", "/"+p.folder+"/")
		if !yield(storage.Attempt{Name: path.Join(p.anchor, below), Owner: owner, Size: fi.Size(), Changed: fi.ModTime()}, nil) {
			return errEnough
		}
		return nil
	})
}

// walkFolders visits what is in a folder, without following links; what vanishes
// meanwhile and what may not be read is passed over.
func walkFolders(ctx context.Context, root string, visit func(name string, d fs.DirEntry) error) error {
	return filepath.WalkDir(filepath.FromSlash(root), func(p string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			if absent(err) || denied(err) {
				return nil
			}
			return err
		}
		return visit(filepath.ToSlash(p), d)
	})
}
