package chaos

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostOf begins a host's ID, the worker's follows.
const hostOf = "a host of "

// Hosts are the task hosts of the cluster in a folder, by process id: those whose
// working folder lies in a job's, whoever their parent is by now. A program that waits
// for a job is none. Needs /proc.
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
		worker, below, _ := strings.Cut(cwd[len(dir)+1:], string(filepath.Separator))
		if !strings.HasPrefix(below, "jobs"+string(filepath.Separator)) {
			continue
		}
		hosts = append(hosts, Process{Role: Host, ID: hostOf + worker, PID: pid})
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
	strange, err := strangers(output)
	if err != nil {
		return nil, err
	}
	left = append(left, strange...)
	beside, err := os.ReadDir(filepath.Dir(output))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for _, e := range beside {
		if strings.HasPrefix(e.Name(), ".") {
			left = append(left, filepath.Join(filepath.Dir(output), e.Name()))
		}
	}
	return left, nil
}

// strangers are what stands in an output and is neither a part nor _SUCCESS nor a folder
// column=value, in which there may be parts.
func strangers(output string) (names []string, err error) {
	err = filepath.WalkDir(output, func(name string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // not there, or just removed
		case err != nil || name == output:
			return err
		case e.IsDir() && strings.Contains(e.Name(), "="), strings.HasPrefix(e.Name(), "part-"), e.Name() == "_SUCCESS" && filepath.Dir(name) == output:
			return nil
		}
		names = append(names, name)
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return names, err
}

// Lines are all lines of an output, sorted; those of a folder column=value have its name
// and a slash before them.
func Lines(output string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(output, "_SUCCESS")); err != nil {
		return nil, err
	}
	var lines []string
	err := filepath.WalkDir(output, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasPrefix(e.Name(), "part-") {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(output, name)
		lines = AppendLines(lines, filepath.ToSlash(rel), b)
		return err
	})
	slices.Sort(lines)
	return lines, err
}

// AppendLines appends the lines of a file of an output, as Lines has them. name is the
// file's in the output.
func AppendLines(lines []string, name string, content []byte) []string {
	folder := name[:strings.LastIndexByte(name, '/')+1]
	for l := range strings.Lines(string(content)) {
		lines = append(lines, folder+l)
	}
	return lines
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
