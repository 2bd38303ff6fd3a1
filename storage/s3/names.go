package s3

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/divisi-data/divisi/storage"
)

const (
	hidden  = storage.AttemptFolder
	attempt = "attempt-"
	keyMax  = 1024 // bytes of a key, S3's limit
)

// clean is a key without slashes at its end.
func clean(name string) string { return strings.TrimRight(name, "/") }

// reserved reports whether a key is a mark's, or a folder of marks.
func reserved(key string) bool {
	if !strings.Contains(key, hidden) {
		return false
	}
	for part := range strings.SplitSeq(key, "/") {
		if storage.IsOwnerFolder(part) {
			return true
		}
	}
	return false
}

// writable says why nothing can be written under a name.
func (f *FS) writable(name string) error {
	switch {
	case name == "":
		return errors.New("the key is empty")
	case reserved(name):
		return fmt.Errorf("a part of the key is %s or begins with %s-, which is kept for attempts", hidden, hidden)
	case !utf8.ValidString(name):
		return errors.New("the key is not UTF-8, which S3 does not take")
	case len(f.marks)+len(name)+len(hidden)+len(attempt)+16+210 > keyMax:
		return fmt.Errorf("the key has %d bytes; S3 takes %d, and the marks of attempts need about 250 of them", len(name), keyMax)
	}
	return nil
}

func newID() string {
	var id [8]byte
	rand.Read(id[:])
	return attempt + hex.EncodeToString(id[:])
}

func isID(s string) bool {
	rest, ok := strings.CutPrefix(s, attempt)
	_, err := hex.DecodeString(rest)
	return ok && err == nil && len(rest) == 16
}

// markKey is the key of an attempt's mark.
func (f *FS) markKey(folder, name, id string) string {
	return f.marks + folder + "/" + name + "/" + id
}

// parseMark undoes markKey.
func (f *FS) parseMark(key string) (folder, name, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, f.marks)
	folder, rest, cut := strings.Cut(rest, "/")
	i := strings.LastIndexByte(rest, '/')
	if !ok || !cut || i <= 0 || !storage.IsOwnerFolder(folder) || !isID(rest[i+1:]) {
		return "", "", "", false
	}
	return folder, rest[:i], rest[i+1:], true
}

// folderPrefix is what the keys below a folder begin with.
func folderPrefix(name string) string {
	if name == "" {
		return ""
	}
	return name + "/"
}
