package storage

import (
	"context"
	"iter"
	"strings"
)

// Stat describes the object or folder of that name, or fails with ErrNotExist.
// Drivers that cannot say are asked for the first entry of a listing.
func Stat(ctx context.Context, fs Filesystem, name string) (Info, error) {
	if s, ok := As[Stater](fs); ok {
		return s.Stat(ctx, name)
	}
	name = strings.TrimRight(name, "/")
	for info, err := range fs.List(ctx, name) {
		if err != nil {
			return Info{}, err
		}
		if info.Name == name {
			return info, nil
		}
		return Info{Name: name, Dir: true}, nil
	}
	return Info{}, &Error{Op: "stat", Path: name, Err: ErrNotExist}
}

// ListFolder lists what lies directly in a folder, as FolderLister says. Drivers
// that cannot are listed whole, and each folder is told once.
func ListFolder(ctx context.Context, fs Filesystem, folder string) iter.Seq2[Info, error] {
	if l, ok := As[FolderLister](fs); ok {
		return l.ListFolder(ctx, folder)
	}
	return func(yield func(Info, error) bool) {
		below := strings.TrimRight(folder, "/") + "/"
		if folder == "" {
			below = ""
		}
		last := ""
		for info, err := range fs.List(ctx, folder) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			rest, ok := strings.CutPrefix(info.Name, below)
			if !ok || rest == "" {
				continue // the prefix is itself an object
			}
			if first, _, deeper := strings.Cut(rest, "/"); deeper {
				if below+first == last {
					continue
				}
				last = below + first
				info = Info{Name: last, Dir: true}
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Hidden reports whether the last part of a name begins with "." or "_": marks
// and scratch files such as _SUCCESS, which are no part of a folder's data.
func Hidden(name string) bool {
	base := name[strings.LastIndexByte(name, '/')+1:]
	return strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")
}
