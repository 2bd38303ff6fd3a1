package mem

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/storage"
)

// file reads a published object as it was when it was opened.
type file struct {
	fs   *FS
	name string
	data []byte
}

// Open opens a published object.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, f.failed("open", name, err)
	}
	name = clean(name)
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, ok := f.objects[name]
	if ok {
		return &file{f, name, o.data}, nil
	}
	if from, to := f.below(name); from < to {
		return nil, f.failed("open", name, errors.New("is a folder: name an object in it, or use it as an input where folders are taken"))
	}
	return nil, f.failed("open", name, storage.ErrNotExist)
}

func (f *file) Size() int64  { return int64(len(f.data)) }
func (f *file) Close() error { return nil }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, f.fs.failed("read", f.name, errors.New("negative offset "+strconv.FormatInt(off, 10)))
	}
	n := copy(p, f.data[min(off, int64(len(f.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// List yields the objects that are at or below prefix when it is called on.
func (f *FS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		prefix := clean(prefix)
		f.mu.RLock()
		from, to := f.below(prefix)
		names := slices.Clone(f.names[from:to])
		if _, ok := f.objects[prefix]; ok {
			names = []string{prefix}
		}
		f.mu.RUnlock()
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, f.failed("list", prefix, err))
			return
		}
		for _, name := range names {
			if err := ctx.Err(); err != nil {
				yield(storage.Info{}, f.failed("list", prefix, err))
				return
			}
			storage.Advance(ctx)
			if info, ok := f.info(name); ok && !yield(info, nil) {
				return
			}
		}
	}
}

func (f *FS) info(name string) (storage.Info, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	o, ok := f.objects[name]
	return storage.Info{Name: name, Size: int64(len(o.data)), ModTime: o.time, ETag: strconv.Itoa(o.version)}, ok
}

// ListFolder yields the objects and folders directly in a folder.
func (f *FS) ListFolder(ctx context.Context, folder string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(storage.Info{}, f.failed("list", folder, err))
			return
		}
		folder := clean(folder)
		start := 0
		if folder != "" {
			start = len(folder) + 1
		}
		last := ""
		f.mu.RLock()
		from, to := f.below(folder)
		names := slices.Clone(f.names[from:to])
		f.mu.RUnlock()
		for _, name := range names {
			var info storage.Info
			if i := strings.IndexByte(name[start:], '/'); i >= 0 {
				dir := name[:start+i]
				if dir == last {
					continue
				}
				last = dir
				info = storage.Info{Name: dir, Dir: true}
			} else {
				var ok bool
				if info, ok = f.info(name); !ok {
					continue
				}
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Stat describes an object, or a folder that holds one.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, f.failed("stat", name, err)
	}
	name = clean(name)
	if info, ok := f.info(name); ok {
		return info, nil
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if from, to := f.below(name); from < to {
		return storage.Info{Name: name, Dir: true}, nil
	}
	return storage.Info{}, f.failed("stat", name, storage.ErrNotExist)
}
