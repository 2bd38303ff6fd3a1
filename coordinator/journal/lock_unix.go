//go:build unix

package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lockFolder holds until the file is closed or the process ends, however it ends.
func lockFolder(d *folder) (*os.File, error) {
	f, err := d.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked (stop the other one, or give this one another state folder)", ErrLocked, d.full(lockName))
		}
		return nil, fmt.Errorf("lock %s: %w", d.full(lockName), err)
	}
	return f, nil
}
