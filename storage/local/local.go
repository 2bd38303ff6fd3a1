// Package local is the driver for the machine's own files, and for whatever is
// mounted there: scheme file, and plain paths. Names are cleaned absolute paths
// with slashes.
//
// An attempt lives outside the folder of its final name until it is published, in
// a hidden folder that says whose it is; attempt.go has the layout. Publishing is
// a rename. Any number of processes may write, publish and sweep side by side.
package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/divisi-data/divisi/storage"
)

func init() {
	storage.Register(storage.Driver{
		Scheme:  "file",
		Summary: "local and mounted files: a plain path, or file:///path",
		Open:    open,
		URI:     uri,
	})
}

// FS is the machine's file tree. It holds nothing: all values are the same one.
type FS struct{}

var (
	_ storage.Filesystem         = FS{}
	_ storage.ConditionalCreator = FS{}
	_ storage.Stater             = FS{}
	_ storage.Discarder          = FS{}
	_ storage.Sweeper            = FS{}
	_ storage.AttemptLister      = FS{}
	_ storage.FolderLister       = FS{}
)

const scheme = "file://"

// open splits file:///a/b, or a plain and possibly relative path, into the shared
// file tree and a cleaned absolute name. Nothing is percent-decoded.
func open(_ context.Context, uri string) (storage.Filesystem, string, error) {
	p, isURI := strings.CutPrefix(uri, scheme)
	if isURI {
		p = strings.TrimPrefix(p, "localhost")
		if !strings.HasPrefix(p, "/") {
			return nil, "", failed("resolve", uri, storage.Invalid(errors.New("a file URI has three slashes and an absolute path: file:///data/in; for a relative path leave the scheme away")))
		}
	}
	if p == "" {
		return nil, "", failed("resolve", uri, storage.Invalid(errors.New("the path is empty")))
	}
	if strings.IndexByte(p, 0) >= 0 {
		return nil, "", failed("resolve", uri, storage.Invalid(errors.New("the path holds a zero byte")))
	}
	p = filepath.FromSlash(p)
	if from := os.Getenv(workDirEnv); from != "" && !filepath.IsAbs(p) {
		p = filepath.Join(from, p)
	}
	abs, err := filepath.Abs(p)
	if err != nil {
		return nil, "", failed("resolve", uri, err)
	}
	return FS{}, filepath.ToSlash(abs), nil
}

// workDirEnv names the folder that relative paths start from, where that is not
// the process's own: a task of a job runs elsewhere than where the job was
// submitted, and must find the same files.
const workDirEnv = "DIVISI_WORKDIR"

func uri(base, name string) string {
	if strings.HasPrefix(base, scheme) {
		return scheme + name
	}
	return name
}

// clean is the name as the driver keeps it, or an error for what is no name here.
func clean(op, name string) (string, error) {
	if !filepath.IsAbs(filepath.FromSlash(name)) {
		return "", failed(op, name, errors.New("not an absolute path: names come from storage.Resolve"))
	}
	return path.Clean(name), nil
}

// begin is the start of every operation: a live context and a good name.
func begin(ctx context.Context, op, name string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", failed(op, name, err)
	}
	storage.Advance(ctx)
	return clean(op, name)
}

// failed is err in the words of the storage package.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*storage.Error](err); ok {
		return e
	}
	switch {
	case errors.Is(err, syscall.ENOTDIR) && (op == "open" || op == "stat"):
		err = fmt.Errorf("%w: something above it is a file and no folder (%w)", storage.ErrNotExist, err)
	case errors.Is(err, syscall.EROFS):
		err = fmt.Errorf("%w: %w", storage.ErrPermission, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EINVAL):
		err = storage.Invalid(err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		err = fmt.Errorf("%w: free space there, or name another place", err)
	}
	return &storage.Error{Op: op, Path: name, Err: err}
}

// absent reports whether err says that a path, or a folder on the way, is missing.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
