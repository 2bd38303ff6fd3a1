package worker

import (
	"os"
	"strconv"
	"strings"
)

// memoryShare of what the machine or its control group has is a worker's to use.
const memoryShare = 0.75

// DefaultMemory is what a machine's task hosts may use together when nobody says, in bytes: no
// flag is needed to be safe.
func DefaultMemory() int64 {
	limit := int64(0)
	least := func(n int64) {
		if n > 0 && (limit == 0 || n < limit) {
			limit = n
		}
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				if f := strings.Fields(rest); len(f) > 0 {
					kb, _ := strconv.ParseInt(f[0], 10, 64)
					least(kb << 10)
				}
			}
		}
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if b, err := os.ReadFile(name); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil {
				least(n)
			}
		}
	}
	if limit == 0 {
		limit = 2 << 30
	}
	return int64(memoryShare * float64(limit))
}
