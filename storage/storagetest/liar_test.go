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

// liar is a filesystem in memory with one method wrong. What is nil is right. Its
// abilities are always there, so a liar of each kind can be made.
type liar struct {
	*mem.FS
	open     func(f *mem.FS, ctx context.Context, name string) (storage.File, error)
	create   func(f *mem.FS, ctx context.Context, name string) (storage.Object, error)
	publish  func(f *mem.FS, ctx context.Context, s storage.Sealed) error
	list     func(f *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error]
	folder   func(f *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Info, error]
	remove   func(f *mem.FS, ctx context.Context, name string) error
	once     func(f *mem.FS, ctx context.Context, name string, data []byte) error
	stat     func(f *mem.FS, ctx context.Context, name string) (storage.Info, error)
	discard  func(f *mem.FS, ctx context.Context, s storage.Sealed) error
	sweepFor func(f *mem.FS, ctx context.Context, prefix, owner string) error
	attempts func(f *mem.FS, ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error]
}

func (l *liar) Attempts(ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
	if l.attempts != nil {
		return l.attempts(l.FS, ctx, prefix)
	}
	return l.FS.Attempts(ctx, prefix)
}

func (l *liar) Open(ctx context.Context, name string) (storage.File, error) {
	if l.open != nil {
		return l.open(l.FS, ctx, name)
	}
	return l.FS.Open(ctx, name)
}

func (l *liar) Create(ctx context.Context, name string) (storage.Object, error) {
	if l.create != nil {
		return l.create(l.FS, ctx, name)
	}
	return l.FS.Create(ctx, name)
}

func (l *liar) Publish(ctx context.Context, s storage.Sealed) error {
	if l.publish != nil {
		return l.publish(l.FS, ctx, s)
	}
	return l.FS.Publish(ctx, s)
}

func (l *liar) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if l.list != nil {
		return l.list(l.FS, ctx, prefix)
	}
	return l.FS.List(ctx, prefix)
}

func (l *liar) ListFolder(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	if l.folder != nil {
		return l.folder(l.FS, ctx, prefix)
	}
	return l.FS.ListFolder(ctx, prefix)
}

func (l *liar) Remove(ctx context.Context, name string) error {
	if l.remove != nil {
		return l.remove(l.FS, ctx, name)
	}
	return l.FS.Remove(ctx, name)
}

func (l *liar) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	if l.once != nil {
		return l.once(l.FS, ctx, name, data)
	}
	return l.FS.CreateIfAbsent(ctx, name, data)
}

func (l *liar) Stat(ctx context.Context, name string) (storage.Info, error) {
	if l.stat != nil {
		return l.stat(l.FS, ctx, name)
	}
	return l.FS.Stat(ctx, name)
}

func (l *liar) Discard(ctx context.Context, s storage.Sealed) error {
	if l.discard != nil {
		return l.discard(l.FS, ctx, s)
	}
	return l.FS.Discard(ctx, s)
}

func (l *liar) Sweep(ctx context.Context, prefix, owner string) error {
	if l.sweepFor != nil {
		return l.sweepFor(l.FS, ctx, prefix, owner)
	}
	return l.FS.Sweep(ctx, prefix, owner)
}

// object and file are the real ones with one method wrong.
type object struct {
	storage.Object
	write func(o storage.Object, p []byte) (int, error)
	seal  func(o storage.Object, ctx context.Context) (storage.Sealed, error)
	abort func(o storage.Object, ctx context.Context) error
}

func (o *object) Write(p []byte) (int, error) {
	if o.write != nil {
		return o.write(o.Object, p)
	}
	return o.Object.Write(p)
}

func (o *object) Seal(ctx context.Context) (storage.Sealed, error) {
	if o.seal != nil {
		return o.seal(o.Object, ctx)
	}
	return o.Object.Seal(ctx)
}

func (o *object) Abort(ctx context.Context) error {
	if o.abort != nil {
		return o.abort(o.Object, ctx)
	}
	return o.Object.Abort(ctx)
}

type file struct {
	storage.File
	readAt func(f storage.File, p []byte, off int64) (int, error)
	more   int64
}

func (f *file) Size() int64 { return f.File.Size() + f.more }

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if f.readAt != nil {
		return f.readAt(f.File, p, off)
	}
	return f.File.ReadAt(p, off)
}

func opens(wrong file) *liar {
	return &liar{FS: mem.New(), open: func(fs *mem.FS, ctx context.Context, name string) (storage.File, error) {
		f, err := fs.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		w := wrong
		w.File = f
		return &w, nil
	}}
}

func creates(wrong object) *liar {
	return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
		o, err := fs.Create(ctx, name)
		if err != nil {
			return nil, err
		}
		w := wrong
		w.Object = o
		return &w, nil
	}}
}

// now is mem's, but deaf to cancellation.
func now(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }

func sorted(infos iter.Seq2[storage.Info, error], less func(a, b string) int) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		var all []storage.Info
		for i, err := range infos {
			if err != nil {
				yield(i, err)
				return
			}
			all = append(all, i)
		}
		slices.SortStableFunc(all, func(a, b storage.Info) int { return less(a.Name, b.Name) })
		for _, i := range all {
			if !yield(i, nil) {
				return
			}
		}
	}
}

func parent(name string) string { return name[:strings.LastIndexByte(name, '/')] }

func firstOf(o storage.Object, err error) func(error) (storage.Object, error) {
	return func(other error) (storage.Object, error) { return o, errors.Join(err, other) }
}
