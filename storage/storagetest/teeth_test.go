package storagetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
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

// TestTeeth tries the suite on filesystems that are wrong in one way each. The
// named check must be among those that fail.
func TestTeeth(t *testing.T) {
	bitten := map[string]bool{}
	for _, c := range []struct {
		wrong, caught string
		fs            func() storage.Filesystem
	}{
		{"reads flip a bit", "write and read", func() storage.Filesystem {
			return faulty.Wrap(mem.New(), faulty.At(faulty.Read, "", 1, faulty.Flip{At: 3}))
		}},
		{"reads are short without an error", "large object read by many", func() storage.Filesystem {
			return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
				n, err := f.ReadAt(p[:min(len(p), 1000)], off)
				if n == 1000 {
					err = nil
				}
				return n, err
			}})
		}},
		{"the end is no EOF", "reads at the edges", func() storage.Filesystem {
			return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
				n, err := f.ReadAt(p, off)
				if err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return n, err
			}})
		}},
		{"a negative offset is the end", "reads at the edges", func() storage.Filesystem {
			return opens(file{readAt: func(f storage.File, p []byte, off int64) (int, error) {
				if off < 0 {
					return 0, io.EOF
				}
				return f.ReadAt(p, off)
			}})
		}},
		{"size is wrong", "write and read", func() storage.Filesystem { return opens(file{more: 1}) }},
		{"empty objects get a byte", "empty object", func() storage.Filesystem { return opens(file{more: 1}) }},
		{"writes keep the caller's buffer", "pieces of all sizes", func() storage.Filesystem {
			return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
				o, err := fs.Create(ctx, name)
				var kept [][]byte
				return &object{Object: o,
					write: func(_ storage.Object, p []byte) (int, error) { kept = append(kept, p); return len(p), nil },
					seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) {
						o.Write(bytes.Join(kept, nil))
						return o.Seal(ctx)
					}}, err
			}}
		}},
		{"a write is lost", "pieces of all sizes", func() storage.Filesystem {
			n := 0
			return creates(object{write: func(o storage.Object, p []byte) (int, error) {
				if n++; n == 5 {
					return len(p), nil
				}
				return o.Write(p)
			}})
		}},
		{"stored bytes are wrong", "large object read by many", func() storage.Filesystem {
			return faulty.Wrap(mem.New(), func(op faulty.Op) error {
				if op.Kind == faulty.Write && op.Len > 1<<20 {
					return faulty.Flip{At: 5 << 20}
				}
				return nil
			})
		}},
		{"receipt without checksum", "receipt", func() storage.Filesystem {
			return &liar{FS: mem.New(), create: func(fs *mem.FS, ctx context.Context, name string) (storage.Object, error) {
				o, err := fs.Create(ctx, name)
				return &object{Object: o, seal: func(o storage.Object, ctx context.Context) (storage.Sealed, error) {
					s, err := o.Seal(ctx)
					s.CRC32 = 0
					return s, err
				}}, err
			}}
		}},
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
		{"a fault that is simply returned", "write and read", func() storage.Filesystem {
			return faulty.Wrap(mem.New(), faulty.At(faulty.Seal, "", 1, errors.New("injected")))
		}},
	} {
		t.Run(c.wrong, func(t *testing.T) {
			for _, check := range Checks() {
				if check.Name != c.caught {
					continue
				}
				err := fails(t.Context(), check, c.fs())
				if err == nil {
					t.Fatalf("check %q does not mind", c.caught)
				}
				bitten[c.caught] = true
				t.Log(err)
				return
			}
			t.Errorf("no check is called %q", c.caught)
		})
	}
	for _, check := range Checks() {
		if !bitten[check.Name] {
			t.Errorf("no filesystem here is caught by check %q: add one", check.Name)
		}
	}
}

// TestNothingRightIsRefused runs the suite over filesystems that keep every promise.
func TestNothingRightIsRefused(t *testing.T) {
	for _, check := range Checks() {
		for what, fs := range map[string]storage.Filesystem{
			"mem":            mem.New(),
			"an idle liar":   &liar{FS: mem.New()},
			"an idle faulty": faulty.Wrap(mem.New(), func(faulty.Op) error { return nil }),
			"no abilities":   struct{ storage.Filesystem }{mem.New()},
		} {
			if err := check.Run(t.Context(), fs, "top"); err != nil {
				t.Errorf("%s on %s: %v", check.Name, what, err)
			}
		}
	}
}

// fails runs a check; ranging over a list that does not stop panics.
func fails(ctx context.Context, check Check, fs storage.Filesystem) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("panic: the list goes on after its reader has stopped")
		}
	}()
	return check.Run(ctx, fs, "top")
}

func firstOf(o storage.Object, err error) func(error) (storage.Object, error) {
	return func(other error) (storage.Object, error) { return o, errors.Join(err, other) }
}
