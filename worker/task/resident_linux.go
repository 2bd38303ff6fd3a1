package task

import (
	"os"
	"strconv"
	"strings"
)

// residentBytes is how much memory the kernel counts for this process, and how much of
// it is occupied: files that are mapped, the program itself above all, are resident as
// long as nobody else needs the room.
func residentBytes() (resident, occupied int64) {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, 0
	}
	f := strings.Fields(string(b)) // size, resident, of files, ...
	if len(f) < 3 {
		return 0, 0
	}
	all, err1 := strconv.ParseInt(f[1], 10, 64)
	files, err2 := strconv.ParseInt(f[2], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, 0
	}
	page := int64(os.Getpagesize())
	return all * page, (all - files) * page
}
