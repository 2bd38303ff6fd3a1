package client

import (
	"os"
	"path/filepath"
	"syscall"
)

// stampOf is an open file's.
func stampOf(f *os.File) (stamp, bool) {
	path, err := filepath.Abs(f.Name())
	if err != nil {
		return stamp{}, false
	}
	info, err := f.Stat()
	if err != nil {
		return stamp{}, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{path, info.Size(), st.Ino, uint64(st.Dev), st.Ctim.Nano()}, true
}
