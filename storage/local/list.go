package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"

	"github.com/divisi-data/divisi/storage"
)

// List yields the regular files at or below prefix. Links are followed, to
// folders too; a broken link, a folder that links to one it lies in, and a folder
// that may not be read are errors, unless they are hidden (storage.Hidden) or in
// a hidden folder below prefix. Pipes, sockets and devices hold no
// bytes and are passed over.
func (FS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		name, err := begin(ctx, "list", prefix)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		if reserved(name) {
			return
		}
		fi, err := os.Stat(name)
		if err != nil {
			// A link without its end is told of; what has only just come into being is not.
			l, lerr := os.Lstat(name)
			if !absent(err) || lerr == nil && l.Mode()&fs.ModeSymlink != 0 {
				yield(storage.Info{}, failed("list", name, linkHint(name, err)))
			}
			return
		}
		if !fi.IsDir() {
			if fi.Mode().IsRegular() {
				yield(info(name, fi), nil)
			}
			return
		}
		w := walker{ctx: ctx, yield: yield}
		w.walk(name, []fs.FileInfo{fi}, false)
	}
}

type walker struct {
	ctx   context.Context
	yield func(storage.Info, error) bool
}

// walk goes through a folder, whose own FileInfo is the last of those above it,
// and reports whether to go on. outOfSight is what lies in a hidden folder below
// the prefix.
func (w *walker) walk(dir string, above []fs.FileInfo, outOfSight bool) bool {
	for e, err := range entries(w.ctx, dir) {
		quiet := outOfSight || e.name != dir && storage.Hidden(e.name)
		switch {
		case err != nil && e.name != "" && quiet:
		case err != nil:
			w.yield(storage.Info{}, err)
			return false
		case e.IsDir():
			if slices.ContainsFunc(above, func(a fs.FileInfo) bool { return os.SameFile(a, e.FileInfo) }) {
				if quiet {
					continue
				}
				w.yield(storage.Info{}, failed("list", e.name, storage.Invalid(errors.New("is a link to a folder that it lies in: without end; remove it, or name the files without it"))))
				return false
			}
			if !w.walk(e.name, append(above, e.FileInfo), quiet) {
				return false
			}
		case e.Mode().IsRegular():
			if !w.yield(info(e.name, e), nil) {
				return false
			}
		}
	}
	return true
}

// entry is something in a folder, with links followed.
type entry struct {
	fs.FileInfo
	name string // whole
}

// entries yields what is in a folder, in order of whole names (a folder's ends
// with a slash, so "a.txt" comes before what is in "a"), without the attempts. An
// error with a name is about that entry alone.
func entries(ctx context.Context, dir string) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var all []entry
		broken := map[string]error{}
		list, err := os.ReadDir(dir)
		if err != nil {
			// With the folder's name: a hidden one that may not be read is passed
			// over by its parent's walk.
			if !absent(err) {
				yield(entry{name: dir}, failed("list", dir, err))
			}
			return
		}
		for _, d := range list {
			if storage.IsOwnerFolder(d.Name()) {
				continue
			}
			storage.Advance(ctx)
			name := path.Join(dir, d.Name())
			fi, err := d.Info()
			if err == nil && fi.Mode()&fs.ModeSymlink != 0 {
				if fi, err = os.Stat(name); err != nil {
					broken[name] = failed("list", name, linkHint(name, err))
					all = append(all, entry{name: name})
					continue
				}
			}
			switch {
			case err == nil:
				all = append(all, entry{fi, name})
			case !absent(err): // what has just been removed is not there
				broken[name] = failed("list", name, err)
				all = append(all, entry{name: name})
			}
		}
		slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.key(), b.key()) })
		for _, e := range all {
			if err := ctx.Err(); err != nil {
				yield(entry{}, failed("list", dir, err))
				return
			}
			if !yield(e, broken[e.name]) {
				return
			}
		}
	}
}

func (e entry) key() string {
	if e.FileInfo != nil && e.IsDir() {
		return e.name + "/"
	}
	return e.name
}

// ListFolder yields what is directly in a folder, as List would see it.
func (FS) ListFolder(ctx context.Context, folder string) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		name, err := begin(ctx, "list", folder)
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		if reserved(name) {
			return
		}
		for e, err := range entries(ctx, name) {
			i := storage.Info{Name: e.name}
			if err != nil {
				if e.name == name {
					i.Name = "" // about the whole folder
				}
			} else if !e.IsDir() && !e.Mode().IsRegular() {
				continue
			} else {
				i = info(e.name, e)
			}
			if !yield(i, err) {
				return
			}
		}
	}
}

// Stat describes a file or folder; links are followed. A pipe, socket or device has no
// size that says how much is in it and is an error, but for the null device, which is
// an empty file.
func (FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	name, err := begin(ctx, "stat", name)
	if err != nil {
		return storage.Info{}, err
	}
	if reserved(name) {
		return storage.Info{}, failed("stat", name, fmt.Errorf("%w: a place for unpublished files", storage.ErrNotExist))
	}
	fi, err := os.Stat(name)
	if err != nil {
		return storage.Info{}, failed("stat", name, linkHint(name, err))
	}
	if !fi.IsDir() && !isNull(fi) {
		if err := readable(fi); err != nil {
			return storage.Info{}, failed("stat", name, err)
		}
	}
	return info(name, fi), nil
}

func info(name string, fi fs.FileInfo) storage.Info {
	if fi.IsDir() {
		return storage.Info{Name: name, ModTime: fi.ModTime(), Dir: true}
	}
	return storage.Info{Name: name, Size: fi.Size(), ModTime: fi.ModTime()}
}
