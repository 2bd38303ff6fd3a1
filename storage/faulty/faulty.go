// Package faulty is the saboteur: a storage.Filesystem that asks a function of
// the test's before every operation and fails, stalls, shortens or spoils it as
// told. The code under test cannot tell it from the real thing. Abilities that
// the wrapped filesystem has go through the same function; none is added.
package faulty

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"

	"github.com/divisi-data/divisi/storage"
)

// Kinds of operations.
const (
	Open       = "open"
	Create     = "create"
	Publish    = "publish"
	List       = "list"
	Next       = "next" // one entry of a list; Name is the entry's
	Remove     = "remove"
	Read       = "read" // one ReadAt
	Close      = "close"
	Write      = "write"
	Seal       = "seal"
	Abort      = "abort"
	Blocks     = "blocks"
	CreateOnce = "create if absent"
	Stat       = "stat"
	Discard    = "discard"
	Sweep      = "sweep"
	ListFolder = "list folder"
)

// Op is an operation that is about to happen.
type Op struct {
	Kind string
	Name string // the object's, prefix's or folder's
	N    int    // counts from 1: reads, writes and entries within one file, object or list; the others by kind and name
	Off  int64  // of a read or write
	Len  int    // of a read, a write or a CreateIfAbsent
}

// A Hook decides about an operation: nil lets it happen; Stall, Short, Flip and
// After do what they say; any other error is returned in its place. It is called
// from many goroutines.
type Hook func(Op) error

// Stall makes an operation wait until its context is done and return the
// context's error. A read or write waits on the context that opened or created
// what it belongs to; a Close of the file ends a read's wait too.
var Stall = errors.New("faulty: stall")

// Short makes a read, a write or a CreateIfAbsent move at most N bytes and then
// return Err; with no Err it is io.ErrUnexpectedEOF for a read and
// io.ErrShortWrite for the others. Other operations return Err without more.
type Short struct {
	N   int
	Err error
}

func (s Short) Error() string { return "faulty: short" }

// Flip makes a read return, and a write or CreateIfAbsent store, the right number
// of bytes with one bit wrong in byte At, counted from the operation's start and
// modulo its length. Other operations happen unchanged.
type Flip struct{ At int }

func (f Flip) Error() string { return "faulty: flip" }

// After lets the operation happen and returns Err in place of its answer: a
// reply that got lost.
type After struct{ Err error }

func (a After) Error() string { return "faulty: after: " + a.Err.Error() }
func (a After) Unwrap() error { return a.Err }

// At is a Hook for one fault: err for the n-th operation of a kind on a name with
// the given suffix. With n = 0 every one fails.
func At(kind, suffix string, n int, err error) Hook {
	return func(op Op) error {
		if op.Kind == kind && strings.HasSuffix(op.Name, suffix) && (n == 0 || op.N == n) {
			return err
		}
		return nil
	}
}

// FS is a wrapped filesystem.
type FS struct {
	inner storage.Filesystem
	hook  Hook

	mu     sync.Mutex
	counts map[[2]string]int
}

var _ interface {
	storage.Filesystem
	storage.Forwarder
	storage.BlockLocator
	storage.ConditionalCreator
	storage.Stater
	storage.KnownOpener
	storage.Discarder
	storage.Sweeper
	storage.FolderLister
} = (*FS)(nil)

// Wrap puts a hook before every operation of a filesystem.
func Wrap(fs storage.Filesystem, hook func(op Op) error) *FS {
	return &FS{inner: fs, hook: hook, counts: map[[2]string]int{}}
}

// Unwrap is the filesystem without faults. What is asked of it is not seen by the
// hook; storage.As never gets that far for the abilities that FS forwards.
func (f *FS) Unwrap() storage.Filesystem { return f.inner }

// Forwards reports whether the wrapped filesystem has an ability.
func (f *FS) Forwards(ability any) bool {
	var ok bool
	switch ability.(type) {
	case *storage.BlockLocator:
		_, ok = storage.As[storage.BlockLocator](f.inner)
	case *storage.ConditionalCreator:
		_, ok = storage.As[storage.ConditionalCreator](f.inner)
	case *storage.Stater:
		_, ok = storage.As[storage.Stater](f.inner)
	case *storage.KnownOpener:
		_, ok = storage.As[storage.KnownOpener](f.inner)
	case *storage.Discarder:
		_, ok = storage.As[storage.Discarder](f.inner)
	case *storage.Sweeper:
		_, ok = storage.As[storage.Sweeper](f.inner)
	case *storage.FolderLister:
		_, ok = storage.As[storage.FolderLister](f.inner)
	default:
		ok = true // the wrapper's own methods, asked for by their type
	}
	return ok
}

func (f *FS) ask(op Op) error {
	f.mu.Lock()
	f.counts[[2]string{op.Kind, op.Name}]++
	op.N = f.counts[[2]string{op.Kind, op.Name}]
	f.mu.Unlock()
	return f.hook(op)
}

// do carries out a whole operation as its verdict says.
func do(ctx context.Context, verdict error, op func() error) error {
	if after, ok := errors.AsType[After](verdict); ok {
		if err := op(); err != nil {
			return err
		}
		return after.Err
	}
	if errors.Is(verdict, Stall) {
		<-ctx.Done()
		return ctx.Err()
	}
	if short, ok := errors.AsType[Short](verdict); ok && short.Err != nil {
		return short.Err
	}
	if _, ok := errors.AsType[Flip](verdict); ok || verdict == nil {
		return op()
	}
	return verdict
}

// Open asks the hook with Open, and with Read and Close for the file.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	return f.open(ctx, name, func() (storage.File, error) { return f.inner.Open(ctx, name) })
}

// OpenKnown asks the hook with Open, and with Read for what is read.
func (f *FS) OpenKnown(ctx context.Context, info storage.Info) (storage.File, error) {
	return f.open(ctx, info.Name, func() (storage.File, error) { return storage.OpenKnown(ctx, f.inner, info) })
}

func (f *FS) open(ctx context.Context, name string, open func() (storage.File, error)) (storage.File, error) {
	var in storage.File
	err := do(ctx, f.ask(Op{Kind: Open, Name: name}), func() (err error) {
		in, err = open()
		return err
	})
	if err != nil {
		if in != nil { // After
			in.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	return &file{fs: f, in: in, name: name, ctx: ctx, cancel: cancel}, nil
}

// Create asks the hook with Create, and with Write, Seal and Abort for the object.
func (f *FS) Create(ctx context.Context, name string) (storage.Object, error) {
	var in storage.Object
	err := do(ctx, f.ask(Op{Kind: Create, Name: name}), func() (err error) {
		in, err = f.inner.Create(ctx, name)
		return err
	})
	if err != nil {
		return nil, err // after After, the attempt is left to a sweep
	}
	return &object{fs: f, in: in, name: name, ctx: ctx}, nil
}

// Publish asks the hook with Publish.
func (f *FS) Publish(ctx context.Context, s storage.Sealed) error {
	return do(ctx, f.ask(Op{Kind: Publish, Name: s.Name}), func() error { return f.inner.Publish(ctx, s) })
}

// Remove asks the hook with Remove.
func (f *FS) Remove(ctx context.Context, name string) error {
	return do(ctx, f.ask(Op{Kind: Remove, Name: name}), func() error { return f.inner.Remove(ctx, name) })
}

// List asks the hook with List, and with Next before each entry.
func (f *FS) List(ctx context.Context, prefix string) iter.Seq2[storage.Info, error] {
	return f.list(ctx, List, prefix, func() iter.Seq2[storage.Info, error] { return f.inner.List(ctx, prefix) })
}

// ListFolder asks the hook with ListFolder, and with Next before each entry.
func (f *FS) ListFolder(ctx context.Context, folder string) iter.Seq2[storage.Info, error] {
	return f.list(ctx, ListFolder, folder, func() iter.Seq2[storage.Info, error] {
		return storage.ListFolder(ctx, f.inner, folder)
	})
}

func (f *FS) list(ctx context.Context, kind, name string, list func() iter.Seq2[storage.Info, error]) iter.Seq2[storage.Info, error] {
	return func(yield func(storage.Info, error) bool) {
		var entries iter.Seq2[storage.Info, error]
		err := do(ctx, f.ask(Op{Kind: kind, Name: name}), func() error { entries = list(); return nil })
		if err != nil {
			yield(storage.Info{}, err)
			return
		}
		n := 0
		for info, err := range entries {
			n++
			if err == nil {
				err = do(ctx, f.hook(Op{Kind: Next, Name: info.Name, N: n}), func() error { return nil })
				if err != nil {
					yield(storage.Info{}, err)
					return
				}
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// Blocks asks the hook with Blocks.
func (f *FS) Blocks(ctx context.Context, name string) (blocks []storage.Block, err error) {
	err = do(ctx, f.ask(Op{Kind: Blocks, Name: name}), func() (err error) {
		blocks, err = storage.Blocks(ctx, f.inner, name)
		return err
	})
	return blocks, err
}

// CreateIfAbsent asks the hook with CreateOnce.
func (f *FS) CreateIfAbsent(ctx context.Context, name string, data []byte) error {
	c, ok := storage.As[storage.ConditionalCreator](f.inner)
	if !ok {
		return storage.ErrUnsupported
	}
	verdict := f.ask(Op{Kind: CreateOnce, Name: name, Len: len(data)})
	var lost error
	if short, ok := errors.AsType[Short](verdict); ok {
		data, lost, verdict = data[:min(short.N, len(data))], short.or(io.ErrShortWrite), nil
	}
	if flip, ok := errors.AsType[Flip](verdict); ok {
		data = flip.copy(data)
	}
	return errors.Join(do(ctx, verdict, func() error { return c.CreateIfAbsent(ctx, name, data) }), lost)
}

// Stat asks the hook with Stat.
func (f *FS) Stat(ctx context.Context, name string) (info storage.Info, err error) {
	err = do(ctx, f.ask(Op{Kind: Stat, Name: name}), func() (err error) {
		info, err = storage.Stat(ctx, f.inner, name)
		return err
	})
	return info, err
}

// Discard asks the hook with Discard.
func (f *FS) Discard(ctx context.Context, s storage.Sealed) error {
	d, ok := storage.As[storage.Discarder](f.inner)
	if !ok {
		return storage.ErrUnsupported
	}
	return do(ctx, f.ask(Op{Kind: Discard, Name: s.Name}), func() error { return d.Discard(ctx, s) })
}

// Sweep asks the hook with Sweep.
func (f *FS) Sweep(ctx context.Context, prefix, owner string) error {
	s, ok := storage.As[storage.Sweeper](f.inner)
	if !ok {
		return storage.ErrUnsupported
	}
	return do(ctx, f.ask(Op{Kind: Sweep, Name: prefix}), func() error { return s.Sweep(ctx, prefix, owner) })
}
