package client

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// keepSumFrom is the size from which a file's sum is kept: adding up a job's program
	// would take most of the time of a short job's submission.
	keepSumFrom = 4 << 20
	// keptSums are the last ones.
	keptSums = 64
	// settled is how long ago a file must have changed last for its sum to be kept: within
	// the grain of a file system's clock it could change once more unseen.
	settled = 2 * time.Second
)

// A keptSum is the sum of a file as it was.
type keptSum struct {
	File   stamp  `json:"file"`
	SHA256 string `json:"sha256"`
}

// A stamp tells that a file has not been written to or replaced: the kernel sets Changed,
// in nanoseconds since 1970, at each write, and no program can.
type stamp struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	Inode   uint64 `json:"inode"`
	Device  uint64 `json:"device"`
	Changed int64  `json:"changed"`
}

// sums adds up files and keeps the sums of large ones in a file; "" keeps none.
type sums struct {
	file string
	now  func() time.Time
}

// userSums are kept in the user's cache folder.
func userSums() sums {
	dir, err := os.UserCacheDir()
	if err != nil {
		return sums{"", time.Now}
	}
	return sums{filepath.Join(dir, "divisi", "sums.json"), time.Now}
}

// sum adds up a file, or takes the sum that was kept of it.
func (s sums) sum(path string) (artifact, error) {
	f, err := os.Open(path)
	if err != nil {
		return artifact{}, fmt.Errorf("upload: %w", err)
	}
	defer f.Close()
	before, sure := stampOf(f)
	large := sure && before.Size >= keepSumFrom && s.file != ""
	if large {
		for _, k := range s.kept() {
			if k.File == before && len(k.SHA256) == 2*sha256.Size {
				return artifact{path, k.SHA256, before.Size}, nil
			}
		}
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return artifact{}, fmt.Errorf("upload: %w", err)
	}
	a := artifact{path, hex.EncodeToString(h.Sum(nil)), n}
	if after, ok := stampOf(f); large && ok && after == before && s.now().Sub(time.Unix(0, after.Changed)) > settled {
		s.keep(keptSum{after, a.sha})
	}
	return a, nil
}

// kept is what is kept, the last first; nothing if that cannot be read.
func (s sums) kept() []keptSum {
	b, err := os.ReadFile(s.file)
	var all []keptSum
	if err != nil || json.Unmarshal(b, &all) != nil {
		return nil
	}
	return all
}

// keep puts a sum before the others. That it could not be written, or is lost because
// another process did the same, costs time and no more.
func (s sums) keep(k keptSum) {
	others := slices.DeleteFunc(s.kept(), func(o keptSum) bool { return o.File.Path == k.File.Path })
	b, err := json.Marshal(append([]keptSum{k}, others[:min(len(others), keptSums-1)]...))
	if err != nil || os.MkdirAll(filepath.Dir(s.file), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(s.file), ".sums-*")
	if err != nil {
		return
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), s.file) != nil {
		_ = os.Remove(f.Name())
	}
}
