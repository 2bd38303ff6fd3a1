package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// A Driver opens filesystems of one scheme.
type Driver struct {
	Scheme  string
	Summary string // one line for --help and the docs

	// Open splits a URI of the scheme into a filesystem and the name below it.
	// Filesystems are shared: two URIs of one server give the same one.
	Open func(ctx context.Context, uri string) (Filesystem, string, error)

	// URI is the inverse of Open's second result: what a user would write for a
	// name on the same filesystem as the given URI.
	URI func(base, name string) string
}

var registry = struct {
	sync.RWMutex
	drivers map[string]Driver
}{drivers: map[string]Driver{}}

// Register makes a driver known. It is called from init and panics on a second
// driver for a scheme.
func Register(d Driver) {
	registry.Lock()
	defer registry.Unlock()
	if _, twice := registry.drivers[d.Scheme]; twice {
		panic("storage: two drivers for " + d.Scheme + "://")
	}
	registry.drivers[d.Scheme] = d
}

// Drivers lists what is registered, by scheme.
func Drivers() []Driver {
	registry.RLock()
	defer registry.RUnlock()
	return slices.SortedFunc(maps.Values(registry.drivers), func(a, b Driver) int {
		return strings.Compare(a.Scheme, b.Scheme)
	})
}

// Scheme is the part of a URI before "://", or "file" for a plain path.
func Scheme(uri string) string {
	if i := strings.Index(uri, "://"); i > 0 && !strings.ContainsAny(uri[:i], "/\\ ") {
		return uri[:i]
	}
	return "file"
}

// Resolve finds the filesystem a URI or plain path lives on and its name there.
func Resolve(ctx context.Context, uri string) (Filesystem, string, error) {
	registry.RLock()
	d, ok := registry.drivers[Scheme(uri)]
	registry.RUnlock()
	if !ok {
		return nil, "", &Error{Op: "resolve", Path: Shown(uri), Err: fmt.Errorf("%s://: %w (have %s)", Scheme(uri), ErrNoDriver, schemes())}
	}
	fsys, name, err := d.Open(ctx, uri)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Path = Shown(e.Path)
	}
	return fsys, name, err
}

// Shown is uri for errors and logs: without what stands before an @ in front of its path,
// which may be a password.
func Shown(uri string) string {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return uri
	}
	authority, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + rest[strings.LastIndexByte(authority, '@')+1:]
}

// URI is what a user would write for name on base's filesystem.
func URI(base, name string) string {
	registry.RLock()
	defer registry.RUnlock()
	if d, ok := registry.drivers[Scheme(base)]; ok && d.URI != nil {
		return d.URI(base, name)
	}
	return name
}

func schemes() string {
	var s []string
	for _, d := range Drivers() {
		s = append(s, d.Scheme)
	}
	return strings.Join(s, ", ")
}

// An Error says which operation failed on which path. Drivers return it; Err is
// or wraps one of the package's errors where one fits.
type Error struct {
	Op   string // "open", "publish", ...
	Path string // what a user would write, without credentials
	Err  error
}

func (e *Error) Error() string { return "storage: " + e.Op + " " + e.Path + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
