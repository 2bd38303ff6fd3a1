package local

import (
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/divisi-data/divisi/storage"
)

// linkUnnamed writes a file that has no name, makes its bytes durable and links it to
// name in an existing folder. Of a file that never gets its name nothing is left, so it
// needs no attempt's folder. It fails with ErrExist where the name is taken; any other
// error says that it could not be done in this way, and that nothing has happened.
func linkUnnamed(name string, data []byte) error {
	f, err := os.OpenFile(path.Dir(name), os.O_WRONLY|unix.O_TMPFILE, 0o666)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// Without a privilege, a file is linked by its name in /proc only.
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
	if errors.Is(err, storage.ErrExist) {
		return storage.ErrExist
	}
	return err
}
