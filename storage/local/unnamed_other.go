//go:build !linux

package local

import "errors"

// linkUnnamed needs Linux.
func linkUnnamed(string, []byte) error { return errors.ErrUnsupported }
