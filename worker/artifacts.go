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
	"time"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

const (
	artifactBytesMax = 1 << 30 // of one artifact
	cacheBytesMax    = 4 << 30 // of all that are kept
	fetchingPrefix   = "fetching-"
)

// artifacts are the programs and files of jobs, by the SHA-256 of their content. They
// are fetched once from the coordinator and kept for other jobs, as far as there is
// room; a job has links of its own, so that it keeps what it uses.
type artifacts struct {
	dir string
	max int64 // bytes to keep

	turn chan struct{} // holds a token while somebody fetches or links: one at a time is enough

	fetched atomic.Int64 // bytes that have come, of all
}

// newArtifacts opens the folder and removes what was being fetched when an earlier
// process ended.
func newArtifacts(dir string) (*artifacts, error) {
	old, err := filepath.Glob(filepath.Join(dir, fetchingPrefix+"*"))
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	return &artifacts{dir: dir, max: cacheBytesMax, turn: make(chan struct{}, 1)}, err
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

// fetch brings an artifact to path, which exists only when all of it is right.
func (a *artifacts) fetch(ctx context.Context, from pb.ControlClient, sha, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := from.GetArtifact(ctx, &pb.GetArtifactRequest{Sha256: sha})
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(a.dir, fetchingPrefix+"*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	h, size := sha256.New(), 0
	for {
		c, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if size += len(c.Data); size > artifactBytesMax {
			return fmt.Errorf("it has more than %d bytes", artifactBytesMax)
		}
		a.fetched.Add(int64(len(c.Data)))
		h.Write(c.Data)
		if _, err := tmp.Write(c.Data); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sha {
		return fmt.Errorf("what came has SHA-256 %s", got)
	}
	if err := errors.Join(tmp.Chmod(0o500), tmp.Close()); err != nil {
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
