package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
)

// AttemptFolder is what the folders are called in which drivers keep attempts of no
// owner; those of an owner have a dash and the owner's name behind it.
const AttemptFolder = ".divisi"

// shortened is how much of an owner's name stands before the hash.
const shortened = 120

// OwnerFolder is the base name of the folder for the attempts of an owner. Capitals
// are escaped for file systems that do not tell them from small letters. A name that
// would be too long is shortened, with a hash at its end; such a name, as FolderOwner
// gives it, stands for its owner.
func OwnerFolder(owner string) string {
	if owner == "" {
		return AttemptFolder
	}
	if IsShortened(owner) {
		return owner
	}
	var b strings.Builder
	for i := range len(owner) {
		switch c := owner[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := b.String()
	if len(name) > 200 { // a file name has 255 bytes at most
		sum := sha256.Sum256([]byte(owner))
		name = name[:shortened] + "%" + hex.EncodeToString(sum[:])
	}
	return AttemptFolder + "-" + name
}

// IsOwnerFolder reports whether a base name is that of a folder for attempts.
func IsOwnerFolder(base string) bool {
	return base == AttemptFolder || strings.HasPrefix(base, AttemptFolder+"-")
}

// IsShortened reports whether an owner is not the owner's name but the name of its folder,
// which was shortened: what FolderOwner says where it cannot say more.
func IsShortened(owner string) bool {
	escaped, ok := strings.CutPrefix(owner, AttemptFolder+"-")
	if !ok || len(escaped) != shortened+1+2*sha256.Size || escaped[shortened] != '%' {
		return false
	}
	_, err := hex.DecodeString(escaped[shortened+1:])
	return err == nil && strings.ToLower(escaped) == escaped
}

// FolderOwner undoes OwnerFolder; false for what is no owner's folder. The owner of a
// shortened name is that name: OwnerFolder, and so Sweep, take it for the owner.
func FolderOwner(base string) (owner string, ok bool) {
	if base == AttemptFolder {
		return "", true
	}
	if IsShortened(base) {
		return base, true
	}
	escaped, ok := strings.CutPrefix(base, AttemptFolder+"-")
	if !ok {
		return "", false
	}
	owner, err := url.PathUnescape(escaped)
	return owner, err == nil && owner != "" && OwnerFolder(owner) == base
}
