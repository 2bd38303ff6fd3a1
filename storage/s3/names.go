package s3

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	hidden  = ".divisi"
	attempt = "attempt-"
	keyMax  = 1024 // bytes of a key, S3's limit
)

// clean is a key without slashes at its end.
func clean(name string) string { return strings.TrimRight(name, "/") }

// ownerFolder is the folder of an owner's marks.
func ownerFolder(owner string) string {
	if owner == "" {
		return hidden
	}
	var b strings.Builder
	for i := range len(owner) {
		switch c := owner[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default: // capitals too: some servers keep keys as files that do not tell them apart
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := b.String()
	if len(name) > 200 {
		sum := sha256.Sum256([]byte(owner))
		name = name[:120] + "%" + hex.EncodeToString(sum[:])
	}
	return hidden + "-" + name
}

func isOwnerFolder(part string) bool {
	return part == hidden || strings.HasPrefix(part, hidden+"-")
}

// reserved reports whether a key is a mark's, or a folder of marks.
func reserved(key string) bool {
	if !strings.Contains(key, hidden) {
		return false
	}
	for part := range strings.SplitSeq(key, "/") {
		if isOwnerFolder(part) {
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
	if !ok || !cut || i <= 0 || !isOwnerFolder(folder) || !isID(rest[i+1:]) {
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
