//go:build !unix

package journal

import "os"

// lockFolder cannot keep a second coordinator out here.
func lockFolder(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
}
