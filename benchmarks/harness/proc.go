package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// clockTick is USER_HZ, which Linux fixes at 100 for /proc.
const clockTick = 100

// process is a line of /proc/<pid>/stat.
type process struct {
	pid, parent int
	cpu         float64 // seconds of itself and of children it has waited for
}

// family lists pid and all its descendants that are alive.
func family(root int) []process {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	all := map[int]process{}
	children := map[int][]int{}
	for _, s := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(s)))
		if err != nil {
			continue
		}
		b, err := os.ReadFile(s)
		if err != nil {
			continue
		}
		text := string(b)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(f) < 15 {
			continue
		}
		p := process{pid: pid}
		p.parent, _ = strconv.Atoi(f[1])
		for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
			n, _ := strconv.ParseFloat(f[i], 64)
			p.cpu += n / clockTick
		}
		all[pid] = p
		children[p.parent] = append(children[p.parent], pid)
	}
	var out []process
	todo := []int{root}
	for len(todo) > 0 {
		pid := todo[len(todo)-1]
		todo = append(todo[:len(todo)-1], children[pid]...)
		if p, ok := all[pid]; ok {
			out = append(out, p)
		}
	}
	return out
}

// usage is the CPU time, in seconds, of this process and of all that it has waited for,
// with those that they had waited for.
func usage() float64 {
	var sum int64
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err == nil {
			sum += u.Utime.Nano() + u.Stime.Nano()
		}
	}
	return float64(sum) / 1e9
}

func peakMemory(pid int) int64 {
	return kilobytes("/proc/"+strconv.Itoa(pid)+"/status", "VmHWM")
}

func memTotal() int64 { return kilobytes("/proc/meminfo", "MemTotal") }

// kilobytes reads a "Name:   123 kB" line.
func kilobytes(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && k == name {
			n, _ := strconv.ParseInt(strings.Fields(v)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
