package local

import "golang.org/x/sys/unix"

// moveIfFree renames, and fails with an exists error where the new name is taken.
func moveIfFree(from, to string) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
}
