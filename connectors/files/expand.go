package files

import (
	"context"
	"errors"
	"fmt"
	"path"
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
	fs, name, err := storage.Resolve(ctx, p)
	if err != nil {
		return nil, storageError("files.Find", p, err)
	}
	prefix, pattern := cutGlob(name)
	var found []foundFile
	hidden := false
	for info, err := range fs.List(ctx, prefix) {
		if err != nil {
			return nil, storageError("files.Find", p, err)
		}
		rest := strings.TrimPrefix(strings.TrimPrefix(info.Name, prefix), "/")
		if isHidden(rest) {
			hidden = true
			continue
		}
		if pattern != "" && !matchBelow(pattern, rest) {
			continue
		}
		found = append(found, foundFile{fs: fs, name: info.Name, uri: storage.URI(p, info.Name), size: info.Size})
	}
	switch {
	case len(found) > 0:
		return found, nil
	case pattern != "":
		return nil, &dataflow.Error{Op: "files.Find", Path: p, Kind: dataflow.User,
			Err: fmt.Errorf("%w: no file matches", dataflow.ErrNoInput), Try: "check the pattern; quote it so that the shell leaves it alone"}
	case hidden: // the output of a job that had no rows
		return nil, nil
	}
	if st, ok := storage.As[storage.Stater](fs); ok {
		info, err := st.Stat(ctx, name)
		if err == nil && info.Dir {
			return nil, &dataflow.Error{Op: "files.Find", Path: p, Kind: dataflow.User,
				Err: fmt.Errorf("%w: the folder is empty", dataflow.ErrNoInput)}
		}
		if err != nil && !errors.Is(err, storage.ErrNotExist) {
			return nil, storageError("files.Find", p, err)
		}
	}
	return nil, &dataflow.Error{Op: "files.Find", Path: p, Kind: dataflow.User,
		Err: fmt.Errorf("%w: %w", dataflow.ErrNoInput, storage.ErrNotExist), Try: "check the path's spelling and whether it is on the workers too"}
}

// cutGlob divides a name at the first element with a meta character; pattern is ""
// where there is none.
func cutGlob(name string) (prefix, pattern string) {
	i := strings.IndexAny(name, `*?[{`)
	if i < 0 {
		return name, ""
	}
	slash := strings.LastIndexByte(name[:i], '/')
	return name[:max(slash, 0)], name[slash+1:]
}

// matchBelow reports whether a name matches, or lies in a folder that does.
func matchBelow(pattern, name string) bool {
	want := strings.Split(pattern, "/")
	have := strings.Split(name, "/")
	if len(have) < len(want) {
		return false
	}
	for i, w := range want {
		if !matchElement(w, have[i]) {
			return false
		}
	}
	return true
}

// matchElement is path.Match with {a,b}.
func matchElement(pattern, name string) bool {
	open := strings.IndexByte(pattern, '{')
	shut := strings.IndexByte(pattern, '}')
	if open < 0 || shut < open {
		ok, _ := path.Match(pattern, name)
		return ok
	}
	for alt := range strings.SplitSeq(pattern[open+1:shut], ",") {
		if matchElement(pattern[:open]+alt+pattern[shut+1:], name) {
			return true
		}
	}
	return false
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
