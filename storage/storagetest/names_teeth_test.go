package storagetest

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// namesLies are wrong in one way each, about names and lists.
var namesLies = []lie{
	{"missing is another error", "what is not there", func() storage.Filesystem {
		return &liar{FS: mem.New(), open: func(fs *mem.FS, ctx context.Context, name string) (storage.File, error) {
			f, err := fs.Open(ctx, name)
			if err != nil {
				err = errors.New("404")
			}
			return f, err
		}}
	}},
	{"errors without name", "what is not there", func() storage.Filesystem {
		return &liar{FS: mem.New(), open: func(fs *mem.FS, ctx context.Context, name string) (storage.File, error) {
			f, err := fs.Open(ctx, name)
			if err != nil {
				err = storage.ErrNotExist
			}
			return f, err
		}}
	}},
	{"removing nothing fails", "what is not there", func() storage.Filesystem {
		return &liar{FS: mem.New(), remove: func(fs *mem.FS, ctx context.Context, name string) error {
			if _, err := fs.Stat(ctx, name); err != nil {
				return err
			}
			return fs.Remove(ctx, name)
		}}
	}},
	{"list is in the order of a walk", "list order", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return sorted(fs.List(ctx, prefix), func(a, b string) int {
				return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
			})
		}}
	}},
	{"list knows no sizes", "list order", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				for i, err := range fs.List(ctx, prefix) {
					i.Size = 0
					if !yield(i, err) {
						return
					}
				}
			}
		}}
	}},
	{"prefix is cut anywhere", "list cuts at slashes", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				for i, err := range fs.List(ctx, "") {
					if strings.HasPrefix(i.Name, prefix) && !yield(i, err) {
						return
					}
				}
			}
		}}
	}},
	{"list does not stop", "list stops", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				for i, err := range fs.List(ctx, prefix) {
					yield(i, err)
				}
			}
		}}
	}},
	{"folders are told again and again", "list folder", func() storage.Filesystem {
		return &liar{FS: mem.New(), folder: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				for i, err := range fs.ListFolder(ctx, prefix) {
					if !yield(i, err) || i.Dir && !yield(i, err) {
						return
					}
				}
			}
		}}
	}},
	{"stat knows no folders", "stat", func() storage.Filesystem {
		return &liar{FS: mem.New(), stat: func(fs *mem.FS, ctx context.Context, name string) (storage.Info, error) {
			i, err := fs.Stat(ctx, name)
			i.Dir = false
			return i, err
		}}
	}},
	{"remove takes neighbours", "remove", func() storage.Filesystem {
		return &liar{FS: mem.New(), remove: func(fs *mem.FS, ctx context.Context, name string) error {
			return errors.Join(fs.Remove(ctx, name), fs.Remove(ctx, name+"put"))
		}}
	}},
	{"remove takes only objects", "remove", func() storage.Filesystem {
		return &liar{FS: mem.New(), remove: func(fs *mem.FS, ctx context.Context, name string) error {
			if i, err := fs.Stat(ctx, name); err == nil && i.Dir {
				return nil
			}
			return fs.Remove(ctx, name)
		}}
	}},
	{"percent is decoded", "odd names", func() storage.Filesystem {
		return &liar{FS: mem.New(), open: func(fs *mem.FS, ctx context.Context, name string) (storage.File, error) {
			return fs.Open(ctx, strings.ReplaceAll(name, "%41", "A"))
		}}
	}},
	{"plus is a blank in lists", "odd names", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return func(yield func(storage.Info, error) bool) {
				for i, err := range fs.List(ctx, prefix) {
					i.Name = strings.ReplaceAll(i.Name, "+", " ")
					if !yield(i, err) {
						return
					}
				}
			}
		}}
	}},
}
