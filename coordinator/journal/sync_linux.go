package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync makes a file's content and length durable; times may follow later.
func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}
