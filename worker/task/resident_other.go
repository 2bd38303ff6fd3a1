//go:build !linux

package task

import "runtime"

// residentBytes is what the runtime has taken from the system and not given back.
func residentBytes() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased)
}
