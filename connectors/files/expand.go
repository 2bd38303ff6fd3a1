package files

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage"
)

// foundFile is one input file.
type foundFile struct {
	fs   storage.Filesystem
	name string
	uri  string
	size int64
	etag string // where that helps to open it
}

// whole is all of a file.
func (f foundFile) whole() piece {
	return piece{URI: f.uri, Bytes: f.size, Size: f.size, ETag: f.etag}
}

// expand finds the files that paths name, in order of the paths and of names.
func expand(ctx context.Context, paths []string) ([]foundFile, error) {
	var all []foundFile
	for _, p := range paths {
		found, err := expandOne(ctx, p)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

func expandOne(ctx context.Context, p string) ([]foundFile, error) {
	noInput := func(err error, try string) error {
		return &dataflow.Error{Op: "files.Find", Path: p, Kind: dataflow.User, Err: fmt.Errorf("%w: %w", dataflow.ErrNoInput, err), Try: try}
	}
	infos, err := storage.Glob(ctx, p)
	switch {
	case errors.Is(err, storage.ErrNoMatch):
		return nil, noInput(err, "check the pattern")
	case errors.Is(err, storage.ErrNotExist):
		return nil, noInput(err, "check the path's spelling and whether it is on the workers too")
	case err != nil:
		return nil, planningError("files.Find", p, err)
	}
	var found []foundFile
	for _, info := range infos {
		fs, name, err := storage.Resolve(ctx, info.Name)
		if err != nil {
			return nil, planningError("files.Find", info.Name, err)
		}
		f := foundFile{fs: fs, name: name, uri: info.Name, size: info.Size}
		if _, ok := storage.As[storage.KnownOpener](fs); ok {
			f.etag = info.ETag
		}
		found = append(found, f)
	}
	if len(found) > 0 {
		return found, nil
	}
	// A folder that is empty but for its mark is the output of a job without rows.
	fs, name, err := storage.Resolve(ctx, p)
	if err == nil {
		_, err = storage.Stat(ctx, fs, join(name, successName))
	}
	if errors.Is(err, storage.ErrNotExist) {
		return nil, noInput(errors.New("the folder holds no visible file"), "")
	}
	if err != nil {
		return nil, planningError("files.Find", p, err)
	}
	return nil, nil
}

// isHidden reports whether an element of a name below a folder begins with "_" or ".".
func isHidden(rest string) bool {
	for part := range strings.SplitSeq(rest, "/") {
		if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") {
			return true
		}
	}
	return false
}
