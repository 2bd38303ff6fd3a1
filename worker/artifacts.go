package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	artifactBytesMax = 1 << 30 // of one artifact
	cacheBytesMax    = 4 << 30 // of all that are kept
	fetchingPrefix   = "fetching-"
	shelfRead        = 256 << 10
)

// artifacts are the programs and files of jobs, by the SHA-256 of their content. They
// are fetched once from the coordinator and kept for other jobs, as far as there is
// room; a job has links of its own, so that it keeps what it uses.
type artifacts struct {
	dir   string
	shelf string // a folder where others may be, by their SHA-256; "": none
	max   int64  // bytes to keep

	turn chan struct{} // holds a token while somebody fetches or links: one at a time is enough

	fetched atomic.Int64 // bytes that have come, of all
}

// newArtifacts opens the folder and removes what was being fetched when an earlier
// process ended.
func newArtifacts(dir, shelf string) (*artifacts, error) {
	old, err := filepath.Glob(filepath.Join(dir, fetchingPrefix+"*"))
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	return &artifacts{dir: dir, shelf: shelf, max: cacheBytesMax, turn: make(chan struct{}, 1)}, err
}

// link makes path an artifact, which is fetched where it is not yet here.
func (a *artifacts) link(ctx context.Context, from pb.ControlClient, sha, path string) error {
	if b, err := hex.DecodeString(sha); err != nil || len(b) != sha256.Size {
		return fmt.Errorf("worker: %q is no SHA-256", sha)
	}
	kept := filepath.Join(a.dir, sha)
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	}
	if err := os.Chtimes(kept, time.Time{}, time.Now()); err != nil {
		if err := a.fetch(ctx, from, sha, kept); err != nil {
			return fmt.Errorf("worker: fetch artifact %s: %w", sha[:12], err)
		}
		if err := a.trim(sha); err != nil {
			return err
		}
	}
	if err := os.Link(kept, path); !errors.Is(err, fs.ErrExist) { // there already for an earlier host
		return err
	}
	return nil
}

// fetch brings an artifact to path, which exists only when all of it is right: from the
// shelf, if it is there and whole, or from the coordinator.
func (a *artifacts) fetch(ctx context.Context, from pb.ControlClient, sha, path string) error {
	if a.shelf != "" {
		if a.share(sha, path) {
			return nil
		}
		f, err := os.Open(filepath.Join(a.shelf, sha))
		if err == nil {
			buf := make([]byte, shelfRead)
			err = a.keep(sha, path, func() ([]byte, error) {
				n, err := f.Read(buf)
				return buf[:n], err
			})
			f.Close()
		}
		if err == nil {
			return nil
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := from.GetArtifact(ctx, &pb.GetArtifactRequest{Sha256: sha})
	if err != nil {
		return err
	}
	return a.keep(sha, path, func() ([]byte, error) {
		c, err := stream.Recv()
		return c.GetData(), err
	})
}

// checkedMode is that of an artifact whose sum was found right, of a program that can be
// started. It is given by whoever has looked at all of the bytes, a coordinator too.
const checkedMode = 0o500

// share makes path the shelf's own file, where this user has put that there: then it is
// as good as one that was kept here before. Of anybody else's a copy is made, and checked.
func (a *artifacts) share(sha, path string) bool {
	on := filepath.Join(a.shelf, sha)
	info, err := os.Lstat(on)
	if err != nil || info.Mode() != checkedMode { // a regular file of just this mode
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() || os.Link(on, path) != nil {
		return false
	}
	a.fetched.Add(info.Size())
	return true
}

// keep makes path of what next yields, io.EOF at the end, if that is what sha says.
func (a *artifacts) keep(sha, path string, next func() ([]byte, error)) error {
	tmp, err := os.CreateTemp(a.dir, fetchingPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	h, size := sha256.New(), 0
	for {
		data, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if size += len(data); size > artifactBytesMax {
			return fmt.Errorf("it has more than %d bytes", artifactBytesMax)
		}
		a.fetched.Add(int64(len(data)))
		h.Write(data)
		if _, err := tmp.Write(data); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sha {
		return fmt.Errorf("what came has SHA-256 %s", got)
	}
	if err := errors.Join(tmp.Chmod(checkedMode), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// trim removes the artifacts that were used the longest ago, until the others are
// not too many bytes; never the one just fetched.
func (a *artifacts) trim(fetched string) error {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return err
	}
	var all []fs.FileInfo
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || strings.HasPrefix(e.Name(), fetchingPrefix) {
			continue
		}
		all = append(all, info)
		total += info.Size()
	}
	slices.SortFunc(all, func(x, y fs.FileInfo) int { return x.ModTime().Compare(y.ModTime()) })
	for _, info := range all {
		if total <= a.max || info.Name() == fetched {
			break
		}
		if err := os.Remove(filepath.Join(a.dir, info.Name())); err != nil {
			return err
		}
		total -= info.Size()
	}
	return nil
}
