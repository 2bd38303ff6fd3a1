//go:build !unix

package journal

import "os"

// lockFolder cannot keep a second coordinator out here.
func lockFolder(d *folder) (*os.File, error) {
	return d.root.OpenFile(lockName, os.O_CREATE|os.O_RDWR, 0o600)
}
