//go:build unix

package local

import (
	"os"
	"syscall"
)

// sameDevice reports whether a rename between two folders has a chance. Two mounts
// of one disk look the same here and are found out by Publish.
func sameDevice(a, b string) bool {
	fa, err := os.Stat(a)
	if err != nil {
		return false
	}
	fb, err := os.Stat(b)
	if err != nil {
		return false
	}
	sa, ok := fa.Sys().(*syscall.Stat_t)
	sb, ok2 := fb.Sys().(*syscall.Stat_t)
	return !ok || !ok2 || sa.Dev == sb.Dev
}
