package storagetest

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	"github.com/divisi-data/divisi/storage/mem"
)

// ownersLies are wrong in one way each, about owners, sweeps and what is told meanwhile.
var ownersLies = []lie{
	{"remove leaves attempts", "remove takes attempts", func() storage.Filesystem {
		return &liar{FS: mem.New(), remove: func(fs *mem.FS, ctx context.Context, name string) error {
			for i := range fs.List(ctx, name) {
				if err := fs.Remove(ctx, i.Name); err != nil {
					return err
				}
			}
			return nil
		}}
	}},
	{"creates over what is there", "create if absent", func() storage.Filesystem {
		return &liar{FS: mem.New(), once: func(fs *mem.FS, ctx context.Context, name string, data []byte) error {
			_, err := put(ctx, fs, name, data)
			return err
		}}
	}},
	{"the same bytes again succeed", "create if absent", func() storage.Filesystem {
		return &liar{FS: mem.New(), once: func(fs *mem.FS, ctx context.Context, name string, data []byte) error {
			if holds(ctx, fs, name, data) == nil {
				return nil
			}
			return fs.CreateIfAbsent(ctx, name, data)
		}}
	}},
	{"looks, then creates", "create if absent, raced", func() storage.Filesystem {
		var all sync.WaitGroup
		all.Add(8)
		var mu sync.Mutex
		looked := map[string]int{}
		return &liar{FS: mem.New(), once: func(fs *mem.FS, ctx context.Context, name string, data []byte) error {
			if !strings.Contains(name, "/out/0/") {
				return fs.CreateIfAbsent(ctx, name, data)
			}
			_, err := fs.Stat(ctx, name)
			mu.Lock()
			looked[name]++
			mu.Unlock()
			all.Done()
			all.Wait() // everybody has looked
			if err == nil {
				return &storage.Error{Op: "create", Path: name, Err: storage.ErrExist}
			}
			_, err = put(ctx, fs, name, data)
			return err
		}}
	}},
	{"everybody loses", "create if absent, raced", func() storage.Filesystem {
		return faulty.Wrap(mem.New(), faulty.At(faulty.CreateOnce, "", 0, faulty.After{Err: &storage.Error{Op: "create", Path: "x", Err: storage.ErrExist}}))
	}},
	{"sweep does nothing", "sweep", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(*mem.FS, context.Context, string, string) error { return nil }}
	}},
	{"sweep takes what is published", "sweep", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(fs *mem.FS, ctx context.Context, prefix, owner string) error {
			return errors.Join(fs.Sweep(ctx, prefix, owner), fs.Remove(ctx, prefix))
		}}
	}},
	{"sweep takes every owner's", "sweep is its owner's", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(fs *mem.FS, ctx context.Context, prefix, owner string) error {
			return errors.Join(fs.Sweep(ctx, prefix, owner), fs.Sweep(ctx, prefix, "job-2"))
		}}
	}},
	{"sweep cuts the owner short", "sweep is its owner's", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(fs *mem.FS, ctx context.Context, prefix, owner string) error {
			return errors.Join(fs.Sweep(ctx, prefix, owner), fs.Sweep(ctx, prefix, owner+"1"))
		}}
	}},
	{"sweep cuts the prefix anywhere", "sweep is its owner's", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(fs *mem.FS, ctx context.Context, prefix, owner string) error {
			return errors.Join(fs.Sweep(ctx, prefix, owner), fs.Sweep(ctx, prefix+"put", owner))
		}}
	}},
	{"all attempts are one owner's", "list attempts", func() storage.Filesystem {
		return &liar{FS: mem.New(), attempts: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
			return func(yield func(storage.Attempt, error) bool) {
				for a, err := range fs.Attempts(ctx, prefix) {
					if a.Owner = strings.TrimSuffix(a.Owner, "1"); !yield(a, err) {
						return
					}
				}
			}
		}}
	}},
	{"long owners are left out", "long owners", func() storage.Filesystem {
		return &liar{FS: mem.New(), attempts: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
			return func(yield func(storage.Attempt, error) bool) {
				for a, err := range fs.Attempts(ctx, prefix) {
					if len(a.Owner) < 100 && !yield(a, err) {
						return
					}
				}
			}
		}}
	}},
	{"attempts beside the prefix are hidden", "list attempts", func() storage.Filesystem {
		return &liar{FS: mem.New(), attempts: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
			return func(yield func(storage.Attempt, error) bool) {
				for a, err := range fs.Attempts(ctx, prefix) {
					if a.Name != prefix && !yield(a, err) {
						return
					}
				}
			}
		}}
	}},
	{"open is deaf", "cancelled", func() storage.Filesystem {
		return &liar{FS: mem.New(), open: func(fs *mem.FS, ctx context.Context, name string) (storage.File, error) {
			return fs.Open(now(ctx), name)
		}}
	}},
	{"publish is deaf", "cancelled", func() storage.Filesystem {
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			return fs.Publish(now(ctx), s)
		}}
	}},
	{"list is deaf", "cancelled", func() storage.Filesystem {
		return &liar{FS: mem.New(), list: func(fs *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
			return fs.List(now(ctx), prefix)
		}}
	}},
	{"seal is deaf", "cancelled", func() storage.Filesystem {
		return creates(object{seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) { return o.Seal(now(ctx)) }})
	}},
	{"publish is silent", "advances", func() storage.Filesystem {
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			return fs.Publish(storage.WithAdvance(ctx, func() {}), s)
		}}
	}},
	{"sweep is silent", "advances", func() storage.Filesystem {
		return &liar{FS: mem.New(), sweepFor: func(fs *mem.FS, ctx context.Context, prefix, owner string) error {
			return fs.Sweep(storage.WithAdvance(ctx, func() {}), prefix, owner)
		}}
	}},
}
