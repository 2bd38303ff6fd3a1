package main

import (
	"fmt"
	"syscall"
)

// mountSmall mounts a file system of a few bytes, in memory, on a folder.
func mountSmall(dir string, bytes int64) error {
	return syscall.Mount("divisi-chaos", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }
