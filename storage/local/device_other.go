//go:build !unix

package local

import "path/filepath"

// sameDevice reports whether a rename between two folders has a chance.
func sameDevice(a, b string) bool {
	return filepath.VolumeName(filepath.FromSlash(a)) == filepath.VolumeName(filepath.FromSlash(b))
}
