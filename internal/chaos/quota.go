package chaos

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a slow worker keeps of the processor: a fifth of one core, in slices of period.
const (
	periodMicros = 100_000
	quotaMicros  = periodMicros / 5
)

// quota is a control group of Linux with little of the processor in it.
type quota struct{ dir, home string }

// newQuota makes one beside the group that this process is in. It needs root.
func newQuota() (*quota, error) {
	name := fmt.Sprintf("divisi-chaos-%d-%d", os.Getpid(), time.Now().UnixNano())
	for _, g := range []struct{ root, controller, file, text string }{
		{"/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", strconv.Itoa(quotaMicros)},       // version 1
		{"/sys/fs/cgroup", "", "cpu.max", fmt.Sprintf("%d %d", quotaMicros, periodMicros)}, // version 2
	} {
		home, err := ownGroup(g.root, g.controller)
		if err != nil {
			continue
		}
		q := &quota{dir: filepath.Join(home, name), home: home}
		if err := os.Mkdir(q.dir, 0o755); err != nil {
			return nil, err
		}
		// A file that is not there cannot be created here: the controller is not in this group.
		f, err := os.OpenFile(filepath.Join(q.dir, g.file), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(g.text)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			os.Remove(q.dir)
			return nil, err
		}
		return q, nil
	}
	return nil, errors.New("there is no control group for processors below /sys/fs/cgroup")
}

// CanSlow says why no worker can be made slow here, or nil.
func CanSlow() error {
	q, err := newQuota()
	if err != nil {
		return fmt.Errorf("chaos: a fault of kind %s needs root and a control group: %w", Slow, err)
	}
	q.end()
	return nil
}

// ownGroup is the folder of the group that this process is in.
func ownGroup(root, controller string) (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // number:controllers:path
		if len(part) == 3 && slices.Contains(strings.Split(part[1], ","), controller) {
			dir := filepath.Join(root, part[2])
			_, err := os.Stat(filepath.Join(dir, "cgroup.procs"))
			return dir, err
		}
	}
	return "", errors.ErrUnsupported
}

// add puts a process into the group; its children begin there.
func (q *quota) add(pid int) error {
	return os.WriteFile(filepath.Join(q.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// end lets all that is in the group go.
func (q *quota) end() {
	for range 100 { // processes may begin meanwhile
		pids, err := os.ReadFile(filepath.Join(q.dir, "cgroup.procs"))
		if err != nil {
			return
		}
		for pid := range strings.FieldsSeq(string(pids)) {
			os.WriteFile(filepath.Join(q.home, "cgroup.procs"), []byte(pid), 0) // it may have ended
		}
		if os.Remove(q.dir) == nil {
			return
		}
	}
}

// slow leaves a worker and its task hosts little of the processor.
func (c *Cluster) slow(s *Strike) error {
	workers := slices.DeleteFunc(c.Processes(), func(p Process) bool { return p.Role != Worker })
	if len(workers) == 0 {
		return nil
	}
	v := workers[pick(s.Fault.Pick, len(workers))]
	q, err := newQuota()
	if err != nil {
		return fmt.Errorf("chaos: a fault of kind %s needs root and a control group: %w", Slow, err)
	}
	if q.add(v.PID) != nil {
		q.end()
		return nil // it has ended just now
	}
	hosts, err := Hosts(c.Dir)
	if err != nil {
		q.end()
		return err
	}
	for _, h := range hosts {
		if h.ID == hostOf+v.ID {
			q.add(h.PID) // or it has ended
		}
	}
	s.Victim, s.Undo = v.ID, q.end
	return nil
}
