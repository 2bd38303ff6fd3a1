//go:build unix

package task

import "golang.org/x/sys/unix"

// freeBytes is the room on the disk that holds dir.
func freeBytes(dir string) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
