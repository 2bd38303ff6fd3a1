package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Hosts are the task hosts of the cluster in a folder, by process id: those whose
// working folder lies in it, whoever their parent is by now. Needs /proc.
func Hosts(dir string) ([]Process, error) {
	all, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("chaos: processes cannot be listed here: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	var hosts []Process
	for _, e := range all {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		cwd, err := os.Readlink(filepath.Join("/proc", e.Name(), "cwd"))
		if err != nil || !strings.HasPrefix(cwd, dir+string(filepath.Separator)) {
			continue
		}
		worker, _, _ := strings.Cut(cwd[len(dir)+1:], string(filepath.Separator))
		hosts = append(hosts, Process{Role: Host, ID: fmt.Sprintf("a host of %s", worker), PID: pid})
	}
	slices.SortFunc(hosts, func(a, b Process) int { return a.PID - b.PID })
	return hosts, nil
}

// Left lists what a job has left behind though it has ended: task hosts, files of it
// on workers, and what stands beside or within its output but does not belong there.
func (c *Cluster) Left(output string) ([]string, error) {
	var left []string
	hosts, err := Hosts(c.Dir)
	if err != nil {
		return nil, err
	}
	for _, h := range hosts {
		left = append(left, fmt.Sprintf("process %d, %s", h.PID, h.ID))
	}
	jobs, err := filepath.Glob(filepath.Join(c.Dir, "*", "jobs", "*"))
	if err != nil {
		return nil, err
	}
	left = append(left, jobs...)
	for _, p := range []struct {
		dir     string
		belongs func(name string) bool
	}{
		{output, func(n string) bool { return n == "_SUCCESS" || strings.HasPrefix(n, "part-") }},
		{filepath.Dir(output), func(n string) bool { return !strings.HasPrefix(n, ".") }},
	} {
		entries, err := os.ReadDir(p.dir)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for _, e := range entries {
			if !p.belongs(e.Name()) {
				left = append(left, filepath.Join(p.dir, e.Name()))
			}
		}
	}
	return left, nil
}

// Lines are all lines of an output, sorted.
func Lines(output string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(output, "_SUCCESS")); err != nil {
		return nil, err
	}
	parts, err := filepath.Glob(filepath.Join(output, "part-*"))
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		lines = slices.AppendSeq(lines, strings.Lines(string(b)))
	}
	slices.Sort(lines)
	return lines, nil
}

// Compare says where two sorted outputs differ first, "" if they do not.
func Compare(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Sprintf("%d lines are missing at the end, the first is %q", len(want)-i, want[i])
		case i >= len(want):
			return fmt.Sprintf("%d lines too many at the end, the first is %q", len(got)-i, got[i])
		case got[i] != want[i]:
			return fmt.Sprintf("line %d of %d is %q and should be %q", i+1, len(want), got[i], want[i])
		}
	}
	return ""
}
