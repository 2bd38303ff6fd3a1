//go:build !linux

package local

import (
	"fmt"

	"github.com/divisi-data/divisi/storage"
)

// moveIfFree would rename only onto a free name, which needs Linux.
func moveIfFree(_, to string) error {
	return fmt.Errorf("%w: the file system of %s has no hard links, without which nothing can be created at most once", storage.ErrUnsupported, to)
}
