package hdfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"time"

	"github.com/divisi-data/divisi/storage"
)

// List yields the files at or below prefix.
func (fs *FS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		name, err := begin(ctx, "list", prefix)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		if reserved(name) {
			return
		}
		s, err := fs.stat(ctx, name)
		switch {
		case errors.Is(err, storage.ErrNotExist), errors.Is(err, errNotFolder):
		case err != nil:
			yield(storage.Info{}, failed("list", name, err))
		case kind(s) == isDir:
			fs.walk(ctx, name, yield)
		case kind(s) == isFile:
			yield(info(name, s), nil)
		}
	}
}

// walk goes through a folder and reports whether to go on.
func (fs *FS) walk(ctx context.Context, dir string, yield func(storage.Info, error) bool) bool {
	all, err := fs.entries(ctx, dir)
	if err != nil {
		yield(storage.Info{}, failed("list", dir, err))
		return false
	}
	for _, s := range all {
		name := path.Join(dir, string(s.GetPath()))
		switch kind(s) {
		case isDir:
			if !fs.walk(ctx, name, yield) {
				return false
			}
		case isFile:
			if !yield(info(name, s), nil) {
				return false
			}
		}
	}
	return true
}

// ListFolder yields what is directly in a folder.
func (fs *FS) ListFolder(ctx context.Context, folder string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		name, err := begin(ctx, "list", folder)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		if reserved(name) {
			return
		}
		s, err := fs.stat(ctx, name)
		if errors.Is(err, storage.ErrNotExist) || errors.Is(err, errNotFolder) || err == nil && kind(s) != isDir {
			return
		}
		var all []*status
		if err == nil {
			all, err = fs.entries(ctx, name)
		}
		if err != nil {
			yield(storage.Info{}, failed("list", name, err))
			return
		}
		for _, s := range all {
			if k := kind(s); k != isDir && k != isFile {
				continue
			}
			if !yield(info(path.Join(name, string(s.GetPath())), s), nil) {
				return
			}
		}
	}
}

// entries are what is in a folder, in order of whole names (a folder's ends with a
// slash), without the attempts. A folder that is gone holds nothing.
func (fs *FS) entries(ctx context.Context, dir string) ([]*status, error) {
	var all []*status
	after := ""
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := fs.do(ctx, func(c *connection) error {
			page, rest, err := list(c, dir, after)
			if err != nil {
				return err
			}
			all, more = append(all, page...), rest
			return nil
		})
		if errors.Is(err, storage.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			after = string(all[len(all)-1].GetPath())
		}
	}
	all = slices.DeleteFunc(all, func(s *status) bool { return kind(s) == isDir && storage.IsOwnerFolder(string(s.GetPath())) })
	slices.SortFunc(all, func(a, b *status) int { return cmp.Compare(key(a), key(b)) })
	return all, nil
}

func key(s *status) string {
	if kind(s) == isDir {
		return string(s.GetPath()) + "/"
	}
	return string(s.GetPath())
}

// Stat describes a file or folder.
func (fs *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	name, err := begin(ctx, "stat", name)
	if err != nil {
		return storage.Info{}, err
	}
	if reserved(name) {
		return storage.Info{}, failed("stat", name, fmt.Errorf("%w: a place for unpublished files", storage.ErrNotExist))
	}
	s, err := fs.stat(ctx, name)
	if err != nil {
		return storage.Info{}, failed("stat", name, err)
	}
	return info(name, s), nil
}

func (fs *FS) stat(ctx context.Context, name string) (s *status, err error) {
	err = fs.do(ctx, func(c *connection) error {
		s, err = stat(c, name)
		return err
	})
	return s, err
}

func info(name string, s *status) storage.Info {
	i := storage.Info{Name: name, ModTime: time.UnixMilli(int64(s.GetModificationTime()))}
	if kind(s) == isDir {
		i.Dir = true
		return i
	}
	i.Size = int64(s.GetLength())
	i.ETag = fmt.Sprintf("%d-%d", s.GetFileId(), s.GetModificationTime())
	return i
}
