package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	pb "github.com/divisi-data/divisi/proto/divisipb"
)

// artifacts are the programs and files of jobs, by the SHA-256 of their content. They
// are fetched once from the coordinator and kept.
type artifacts struct {
	dir string

	mu      sync.Mutex
	fetches map[string]*fetch
}

// A fetch is under way; all who need the artifact wait for the one.
type fetch struct {
	done chan struct{}
	err  error
}

func newArtifacts(dir string) *artifacts { return &artifacts{dir: dir, fetches: map[string]*fetch{}} }

// get is the path of an artifact, fetched where it is not yet here.
func (a *artifacts) get(ctx context.Context, from pb.ControlClient, sha string) (string, error) {
	if b, err := hex.DecodeString(sha); err != nil || len(b) != sha256.Size {
		return "", fmt.Errorf("worker: %q is no SHA-256", sha)
	}
	path := filepath.Join(a.dir, sha)
	for {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		a.mu.Lock()
		f := a.fetches[sha]
		mine := f == nil
		if mine {
			f = &fetch{done: make(chan struct{})}
			a.fetches[sha] = f
		}
		a.mu.Unlock()
		if mine {
			f.err = a.fetch(ctx, from, sha, path)
			a.mu.Lock()
			delete(a.fetches, sha)
			a.mu.Unlock()
			close(f.done)
			return path, f.err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-f.done: // look again: whoever fetched may have been cancelled
			if f.err != nil && !errors.Is(f.err, context.Canceled) {
				return "", f.err
			}
		}
	}
}

func (a *artifacts) fetch(ctx context.Context, from pb.ControlClient, sha, path string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("worker: fetch artifact %s: %w", sha[:12], err)
		}
	}()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := from.GetArtifact(ctx, &pb.GetArtifactRequest{Sha256: sha})
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(a.dir, "fetching-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	h := sha256.New()
	for {
		c, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		h.Write(c.Data)
		if _, err := tmp.Write(c.Data); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sha {
		return fmt.Errorf("what came has SHA-256 %s", got)
	}
	if err := tmp.Chmod(0o500); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
