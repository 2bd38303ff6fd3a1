// Package mem is the driver for objects in this process's memory: scheme mem,
// mem://filesystem/name. Each filesystem is made by the first use of its name and
// lives until Drop or the end of the process; other processes have their own. It
// serves jobs that run in one process, and tests.
//
// An object excludes objects below it, as on disk: where "a" is, "a/b" cannot be
// published, and the other way around.
package mem

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/divisi-data/divisi/storage"
)

const scheme = "mem://"

func init() {
	storage.Register(storage.Driver{
		Scheme:  "mem",
		Summary: "memory of this process: mem://filesystem/name",
		Open:    open,
		URI: func(base, name string) string {
			host, _, _ := strings.Cut(strings.TrimPrefix(base, scheme), "/")
			return scheme + host + "/" + name
		},
	})
}

var named = struct {
	sync.Mutex
	m map[string]*FS
}{m: map[string]*FS{}}

// Named is the filesystem behind mem://name/, made if need be.
func Named(name string) *FS {
	named.Lock()
	defer named.Unlock()
	fs := named.m[name]
	if fs == nil {
		fs = New()
		fs.base = scheme + name + "/"
		named.m[name] = fs
	}
	return fs
}

// Drop forgets the filesystem behind mem://name/. Its memory is free once nobody
// holds it; the next use of the name starts an empty one.
func Drop(name string) {
	named.Lock()
	defer named.Unlock()
	delete(named.m, name)
}

func open(_ context.Context, uri string) (storage.Filesystem, string, error) {
	host, name, _ := strings.Cut(strings.TrimPrefix(uri, scheme), "/")
	if host == "" {
		return nil, "", &storage.Error{Op: "resolve", Path: uri, Err: storage.Invalid(errors.New("the filesystem's name is missing: mem://filesystem/name"))}
	}
	return Named(host), clean(name), nil
}

// clean is a name without doubled, leading and trailing slashes and dots.
func clean(name string) string { return path.Clean("/" + name)[1:] }

// FS is one filesystem. The zero value is not ready; use New or Named.
type FS struct {
	base string // what users write before a name

	mu       sync.RWMutex
	objects  map[string]object
	names    []string            // of objects, sorted
	attempts map[string]*attempt // by token
	last     int                 // token and version given out
}

// object is published; its data never changes.
type object struct {
	data    []byte
	crc     uint32
	time    time.Time
	version int
}

var (
	_ storage.Filesystem         = (*FS)(nil)
	_ storage.ConditionalCreator = (*FS)(nil)
	_ storage.Stater             = (*FS)(nil)
	_ storage.Discarder          = (*FS)(nil)
	_ storage.Sweeper            = (*FS)(nil)
	_ storage.AttemptLister      = (*FS)(nil)
	_ storage.FolderLister       = (*FS)(nil)
)

// New makes an empty filesystem that no URI leads to.
func New() *FS {
	return &FS{objects: map[string]object{}, attempts: map[string]*attempt{}}
}

func (f *FS) failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &storage.Error{Op: op, Path: f.base + name, Err: err}
}

// below finds the published names below a folder, as a range of f.names.
func (f *FS) below(folder string) (from, to int) {
	if folder == "" {
		return 0, len(f.names)
	}
	from = sort.SearchStrings(f.names, folder+"/")
	to = sort.SearchStrings(f.names, folder+"0") // "0" comes right after "/"
	return from, to
}

// put makes an object visible. The caller holds the lock.
func (f *FS) put(name string, data []byte, crc uint32) error {
	for up := path.Dir(name); up != "."; up = path.Dir(up) {
		if _, ok := f.objects[up]; ok {
			return fmt.Errorf("%s is an object and no folder", f.base+up)
		}
	}
	if from, to := f.below(name); from < to {
		return fmt.Errorf("a folder is in the way: it holds %s", f.base+f.names[from])
	}
	if i, ok := slices.BinarySearch(f.names, name); !ok {
		f.names = slices.Insert(f.names, i, name)
	}
	f.last++
	f.objects[name] = object{data: data, crc: crc, time: time.Now(), version: f.last}
	return nil
}

// Remove deletes an object, or all objects and attempts below a name; with the
// empty name everything.
func (f *FS) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return f.failed("remove", name, err)
	}
	name = clean(name)
	storage.Advance(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.objects[name]; ok {
		delete(f.objects, name)
		i := sort.SearchStrings(f.names, name)
		f.names = slices.Delete(f.names, i, i+1)
		return nil
	}
	from, to := f.below(name)
	for _, n := range f.names[from:to] {
		delete(f.objects, n)
	}
	f.names = slices.Delete(f.names, from, to)
	f.drop(name, func(*attempt) bool { return true })
	return nil
}

// drop forgets attempts at or below a prefix. The caller holds the lock.
func (f *FS) drop(prefix string, which func(*attempt) bool) {
	for token, a := range f.attempts {
		if within(a.name, prefix) && which(a) {
			delete(f.attempts, token)
		}
	}
}

// within reports whether name is prefix or lies below it.
func within(name, prefix string) bool {
	rest, ok := strings.CutPrefix(name, prefix)
	return ok && (rest == "" || prefix == "" || rest[0] == '/')
}

// Attempts implements storage.AttemptLister.
func (f *FS) Attempts(ctx context.Context, prefix string) iter.Seq2[storage.Attempt, error] {
	return func(yield func(storage.Attempt, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(storage.Attempt{}, f.failed("list attempts", prefix, err))
			return
		}
		var all []storage.Attempt
		f.mu.RLock()
		for _, a := range f.attempts {
			if within(a.name, clean(prefix)) {
				all = append(all, storage.Attempt{Name: a.name, Owner: a.owner, Size: int64(len(a.data)), Changed: a.changed})
			}
		}
		f.mu.RUnlock()
		for _, a := range all {
			if !yield(a, nil) {
				return
			}
		}
	}
}

// Sweep forgets an owner's attempts at or below prefix.
func (f *FS) Sweep(ctx context.Context, prefix, owner string) error {
	if err := ctx.Err(); err != nil {
		return f.failed("sweep", prefix, err)
	}
	storage.Advance(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop(clean(prefix), func(a *attempt) bool { return a.owner == owner })
	return nil
}
