//go:build !linux

package client

import "os"

// stampOf has no sure sign here that a file is the same, so that nothing is kept.
func stampOf(*os.File) (stamp, bool) { return stamp{}, false }
