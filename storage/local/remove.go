package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/divisi-data/divisi/storage"
)

// Remove deletes a file or link, or a folder with all that is in it and all
// attempts for names below it. Links are removed, not what they point to.
func (FS) Remove(ctx context.Context, name string) error {
	name, err := begin(ctx, "remove", name)
	if err != nil {
		return err
	}
	if path.Dir(name) == name {
		return failed("remove", name, errors.New("the root of all files is not removed"))
	}
	if fi, err := os.Lstat(name); err == nil && !fi.IsDir() {
		if err := os.Remove(name); !absent(err) {
			return failed("remove", name, err)
		}
		return nil
	}
	if err := os.RemoveAll(name); err != nil && !absent(err) {
		return failed("remove", name, err)
	}
	for anchor := path.Dir(name); ; anchor = path.Dir(anchor) {
		list, err := os.ReadDir(anchor)
		if err != nil && !absent(err) && !denied(err) {
			return failed("remove", name, err)
		}
		for _, d := range list {
			if storage.IsOwnerFolder(d.Name()) {
				if err := removeAttempts(anchor, d.Name(), name); err != nil {
					return failed("remove", name, err)
				}
			}
		}
		if anchor == path.Dir(anchor) {
			return nil
		}
	}
}

// removeAttempts removes those attempts of an owner's folder beside anchor whose
// final name is prefix or below it. In a folder that all may write to, such as
// /tmp, somebody else may have put a link there in place of the owner's folder:
// nothing is removed through it.
func removeAttempts(anchor, folder, prefix string) error {
	p := place{anchor: anchor, folder: folder, name: prefix}
	hiddenFolder, dir := path.Join(anchor, folder), p.dir()
	fi, err := os.Lstat(hiddenFolder)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is no folder (%s): it is not followed; remove it by hand", hiddenFolder, fi.Mode().Type())
	}
	root, err := os.OpenRoot(hiddenFolder)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	if opened, err := root.Stat("."); err != nil || !os.SameFile(fi, opened) {
		return errors.Join(err, fmt.Errorf("%s was exchanged while it was swept", hiddenFolder))
	}
	err = root.RemoveAll(strings.TrimPrefix(dir, hiddenFolder+"/"))
	if err := tolerable(err); err != nil {
		return err
	}
	prune(path.Dir(dir), anchor)
	return nil
}

// tolerable forgives the removal of a folder in which others make files
// meanwhile: what they make after it began may stay.
func tolerable(err error) error {
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrExist) || absent(err) {
		return nil
	}
	return err
}

// Sweep removes an owner's attempts for names at or below prefix: from its hidden
// folders inside prefix, and beside prefix and every folder above it. Links inside
// prefix are not followed.
func (FS) Sweep(ctx context.Context, prefix, owner string) error {
	prefix, err := begin(ctx, "sweep", prefix)
	if err != nil {
		return err
	}
	folder := storage.OwnerFolder(owner)
	for anchor := path.Dir(prefix); path.Dir(prefix) != prefix; anchor = path.Dir(anchor) {
		if err := removeAttempts(anchor, folder, prefix); err != nil && !denied(err) {
			return failed("sweep", prefix, err)
		}
		if anchor == path.Dir(anchor) {
			break
		}
	}
	return failed("sweep", prefix, sweepInside(ctx, prefix, folder))
}

// sweepInside removes the owner's hidden folders within a tree. Their contents
// are attempts for names in the tree and nothing else.
func sweepInside(ctx context.Context, root, folder string) error {
	// A link at the very end of the prefix is followed, as List does.
	start := root
	if to, err := filepath.EvalSymlinks(filepath.FromSlash(root)); err == nil {
		start = to
	}
	return filepath.WalkDir(start, func(p string, d fs.DirEntry, err error) error {
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		storage.Advance(ctx)
		switch {
		case err != nil && (absent(err) || p != start && denied(err)):
			return nil // just removed; or no folder this owner could write to
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case d.Name() == folder:
			if err := tolerable(os.RemoveAll(p)); err != nil {
				return err
			}
			return fs.SkipDir
		case storage.IsOwnerFolder(d.Name()):
			return fs.SkipDir
		}
		return nil
	})
}
