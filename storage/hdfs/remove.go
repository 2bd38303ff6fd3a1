package hdfs

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/divisi-data/divisi/storage"
)

// Remove deletes a file, or a folder with all that is in it and all attempts for
// names below it. Nothing goes to a trash folder.
func (fs *FS) Remove(ctx context.Context, name string) error {
	name, err := begin(ctx, "remove", name)
	if err != nil {
		return err
	}
	if name == "/" {
		return failed("remove", name, errors.New("the root of all files is not removed"))
	}
	return failed("remove", name, fs.do(ctx, func(c *connection) error {
		s, err := stat(c, name)
		err = interpret(err)
		isFile := err == nil && kind(s) == isFile
		if err == nil {
			_, err = remove(c, name, true)
		}
		if err = absent(err); err != nil || isFile {
			return err
		}
		for anchor := path.Dir(name); ; anchor = path.Dir(anchor) {
			folders, err := ownerFolders(c, anchor)
			if err = absent(err); err != nil && !errors.Is(err, storage.ErrPermission) {
				return err
			}
			for _, folder := range folders {
				if err := removeAttempts(c, anchor, folder, name); err != nil {
					return err
				}
			}
			if anchor == "/" {
				return nil
			}
		}
	}))
}

// absent is err as said about something that need not be there.
func absent(err error) error {
	err = interpret(err)
	if errors.Is(err, storage.ErrNotExist) || errors.Is(err, errNotFolder) {
		return nil
	}
	return err
}

// ownerFolders are the base names of all owners' hidden folders in a folder.
func ownerFolders(n namenode, dir string) ([]string, error) {
	var all []string
	// What sorts between this and the first of them is little, whatever else lies
	// in the folder.
	after := strings.TrimSuffix(hidden, "i") + "h~"
	for {
		page, more, err := list(n, dir, after)
		if err != nil {
			return all, err
		}
		for _, s := range page {
			after = string(s.GetPath())
			if !strings.HasPrefix(after, hidden) && after > hidden {
				return all, nil
			}
			if kind(s) == isDir && storage.IsOwnerFolder(after) {
				all = append(all, after)
			}
		}
		if !more {
			return all, nil
		}
	}
}

// removeAttempts removes those attempts of an owner's folder beside anchor whose
// final name is prefix or below it.
func removeAttempts(n namenode, anchor, folder, prefix string) error {
	dir := place{anchor: anchor, folder: folder, name: prefix}.dir()
	there, err := remove(n, dir, true)
	if err := absent(err); err != nil {
		return err
	}
	if there {
		prune(n, path.Dir(dir), anchor)
	}
	return nil
}

// Sweep removes an owner's attempts for names at or below prefix: from its hidden
// folders inside prefix, and beside prefix and every folder above it.
func (fs *FS) Sweep(ctx context.Context, prefix, owner string) error {
	prefix, err := begin(ctx, "sweep", prefix)
	if err != nil {
		return err
	}
	folder := storage.OwnerFolder(owner)
	for anchor := path.Dir(prefix); prefix != "/"; anchor = path.Dir(anchor) {
		err := fs.do(ctx, func(c *connection) error { return removeAttempts(c, anchor, folder, prefix) })
		if err != nil && !errors.Is(err, storage.ErrPermission) {
			return failed("sweep", prefix, err)
		}
		if anchor == "/" {
			break
		}
	}
	return failed("sweep", prefix, fs.sweepInside(ctx, prefix, folder))
}

// sweepInside removes the owner's hidden folders within a tree. Their contents are
// attempts for names in the tree and nothing else.
func (fs *FS) sweepInside(ctx context.Context, dir, folder string) error {
	s, err := fs.stat(ctx, dir)
	if err := absent(err); err != nil || s == nil || kind(s) != isDir {
		return err
	}
	err = fs.do(ctx, func(c *connection) error {
		_, err := remove(c, path.Join(dir, folder), true)
		return absent(err)
	})
	if err != nil && !errors.Is(err, storage.ErrPermission) {
		return err
	}
	all, err := fs.entries(ctx, dir)
	if err != nil {
		if errors.Is(err, storage.ErrPermission) {
			return nil // no folder this owner could write to
		}
		return err
	}
	for _, s := range all {
		if kind(s) != isDir {
			continue
		}
		if err := fs.sweepInside(ctx, path.Join(dir, string(s.GetPath())), folder); err != nil {
			return err
		}
	}
	return nil
}
