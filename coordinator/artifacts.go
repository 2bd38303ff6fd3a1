package coordinator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// artifacts keeps uploaded files under their SHA-256. A file has its name only once it
// is whole, checked and durable, so that any number may upload the same one at a time.
type artifacts struct{ dir string }

const (
	uploadPrefix = "upload-"
	// artifactAge is how long a file is kept since it was last uploaded or asked for.
	artifactAge = 30 * 24 * time.Hour
	// checkedMode is that of a file whose sum was found right. Workers of this user on this
	// machine share it, and start it if it is a program.
	checkedMode = 0o500
)

var errArtifact = errors.New("artifact refused")

// openArtifacts removes uploads that were cut short, and files nobody asked for in a
// long time.
func openArtifacts(dir string) (*artifacts, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue
		}
		if strings.HasPrefix(e.Name(), uploadPrefix) || validSHA(e.Name()) && time.Since(info.ModTime()) > artifactAge {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return &artifacts{dir}, nil
}

func validSHA(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && s == strings.ToLower(s)
}

// has says whether a file is there, and that it is wanted for a while longer.
func (a *artifacts) has(sha string) bool {
	if !validSHA(sha) {
		return false
	}
	name := filepath.Join(a.dir, sha)
	now := time.Now()
	return os.Chtimes(name, now, now) == nil
}

func (a *artifacts) open(sha string) (*os.File, error) {
	if !validSHA(sha) {
		return nil, os.ErrNotExist
	}
	return os.Open(filepath.Join(a.dir, sha))
}

// put stores what next yields, io.EOF at the end.
func (a *artifacts) put(sha string, size int64, next func() ([]byte, error)) (err error) {
	if !validSHA(sha) {
		return fmt.Errorf("%w: %q is no SHA-256 in lower-case hex", errArtifact, sha)
	}
	if size < 0 || size > artifactBytesMax {
		return fmt.Errorf("%w: %d bytes, at most %d are allowed", errArtifact, size, artifactBytesMax)
	}
	f, err := os.CreateTemp(a.dir, uploadPrefix)
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	var n int64
	for {
		data, err := next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if n += int64(len(data)); n > size {
			return fmt.Errorf("%w: more than the %d bytes that were announced", errArtifact, size)
		}
		h.Write(data)
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); n != size || got != sha {
		return fmt.Errorf("%w: %d of %d bytes came, with SHA-256 %s instead of %s", errArtifact, n, size, got, sha)
	}
	if err := f.Chmod(checkedMode); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(a.dir, sha))
}
