//go:build !linux

package task

import "runtime"

// residentBytes is what the runtime has taken from the system and not given back, all of
// which is occupied.
func residentBytes() (resident, occupied int64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	n := int64(m.Sys - m.HeapReleased)
	return n, n
}
