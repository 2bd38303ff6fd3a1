package storagetest

import (
	"context"
	"errors"
	"sync"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// publishLies are wrong in one way each, about publishing.
var publishLies = []lie{
	{"sealed is visible", "unpublished is invisible", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			return &object{Object: o, seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) {
				s, err := o.Seal(ctx)
				return s, errors.Join(err, fs.Publish(ctx, s))
			}}, err
		}}
	}},
	{"created is listed", "unpublished is invisible", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			return firstOf(fs.Create(ctx, name))(fs.CreateIfAbsent(ctx, parent(name)+"/.temp", nil))
		}}
	}},
	{"publish does not replace", "publish replaces", func() storage.Filesystem {
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			if _, err := fs.Stat(ctx, s.Name); err == nil {
				return nil
			}
			return fs.Publish(ctx, s)
		}}
	}},
	{"publish works once", "publish again", func() storage.Filesystem {
		var mu sync.Mutex
		done := map[string]bool{}
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			mu.Lock()
			defer mu.Unlock()
			if done[s.Token] {
				return storage.ErrNotExist
			}
			done[s.Token] = true
			return fs.Publish(ctx, s)
		}}
	}},
	{"publish works once", "publish at once", func() storage.Filesystem {
		var mu sync.Mutex
		done := map[string]bool{}
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			mu.Lock()
			defer mu.Unlock()
			if done[s.Token] {
				return storage.ErrNotExist
			}
			done[s.Token] = true
			return fs.Publish(ctx, s)
		}}
	}},
	{"publish of nothing succeeds", "publish what is gone", func() storage.Filesystem {
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			if err := fs.Publish(ctx, s); !errors.Is(err, storage.ErrGone) {
				return err
			}
			return nil
		}}
	}},
	{"anything under the name will do", "publish what was replaced", func() storage.Filesystem {
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			err := fs.Publish(ctx, s)
			if _, serr := fs.Stat(ctx, s.Name); errors.Is(err, storage.ErrGone) && serr == nil {
				return nil
			}
			return err
		}}
	}},
	{"discard removes what is published", "two attempts", func() storage.Filesystem {
		return &liar{FS: mem.New(), discard: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			return errors.Join(fs.Discard(ctx, s), fs.Remove(ctx, s.Name))
		}}
	}},
	{"two attempts share a place", "two attempts", func() storage.Filesystem {
		shared := map[string]storage.Object{}
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			if o := shared[name]; o != nil {
				return o, nil
			}
			o, err := fs.Create(ctx, name)
			shared[name] = o
			return o, err
		}}
	}},
	{"abort publishes", "abort", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			return &object{Object: o, abort: func(o storage.Object, ctx context.Context) error {
				s, err := o.Seal(ctx)
				return errors.Join(err, fs.Publish(ctx, s))
			}}, err
		}}
	}},
	{"abort only once", "abort", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			ended := false
			return &object{Object: o, abort: func(o storage.Object, ctx context.Context) error {
				if ended {
					return errors.New("closed")
				}
				ended = true
				return o.Abort(ctx)
			}}, err
		}}
	}},
	{"abort after seal discards", "end once", func() storage.Filesystem {
		return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
			o, err := fs.Create(ctx, name)
			return &object{Object: o, abort: func(o storage.Object, ctx context.Context) error {
				return errors.Join(o.Abort(ctx), fs.Sweep(ctx, name, ""))
			}}, err
		}}
	}},
	{"a publish among many is lost", "many writers", func() storage.Filesystem {
		var mu sync.Mutex
		n := 0
		return &liar{FS: mem.New(), publish: func(fs *mem.FS, ctx context.Context, s storage.Sealed) error {
			mu.Lock()
			defer mu.Unlock()
			if n++; n == 20 {
				return nil
			}
			return fs.Publish(ctx, s)
		}}
	}},
}
