package harness

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// An Entry is a contender before it has run.
type Entry struct {
	Name    string
	Version string
	Command string // for people; what Run does

	// Run does the work once; its time is taken, and the CPU time and memory of all
	// processes below this one meanwhile: what only one entry needs (a cluster) is
	// started in Before and ended in After.
	Run func(ctx context.Context) error
	// Check compares the whole output of the last Run with the truth.
	Check func() error
	// Before and After a run, not timed.
	Before, After func() error
}

// Compare runs all entries runs times, in turn, after one round that does not count,
// and fills a row. Who begins changes from round to round, see turns. An entry that
// fails or is wrong stays in the row and says so.
func Compare(ctx context.Context, row Row, runs int, log io.Writer, entries ...Entry) Row {
	row.Contenders = make([]Contender, len(entries))
	for i, e := range entries {
		row.Contenders[i] = Contender{Name: e.Name, Version: e.Version, Command: e.Command, Checked: true}
	}
	for round := range runs + 1 {
		for _, i := range turns(len(entries), round) {
			e, c := entries[i], &row.Contenders[i]
			if c.Error != "" {
				continue
			}
			m, err := once(ctx, e)
			if err != nil {
				c.Error, c.Checked = err.Error(), false
				fmt.Fprintf(log, "%-28s failed: %v\n", e.Name, err)
				continue
			}
			c.Peak = max(c.Peak, m.peak)
			if round == 0 {
				continue
			}
			c.Seconds = append(c.Seconds, m.wall)
			c.CPU = append(c.CPU, m.cpu)
			fmt.Fprintf(log, "%-28s %8.2f s %8.2f CPU s %6d MiB\n", e.Name, m.wall, m.cpu, m.peak>>20)
		}
	}
	row.SetRatios()
	return row
}

// turns is the order of n entries in a round: each begins equally often, and in every
// other n rounds they go backwards, so that each comes as often before as after any
// other, and what one leaves to the next (caches, dirty pages) is spread over all.
func turns(n, round int) []int {
	order := make([]int, n)
	for k := range n {
		order[k] = (round + k) % n
	}
	if round/n%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

type measure struct {
	wall, cpu float64
	peak      int64
}

func once(ctx context.Context, e Entry) (measure, error) {
	if e.Before != nil {
		if err := e.Before(); err != nil {
			return measure{}, err
		}
	}
	root := os.Getpid()
	before := cpuOf(root)
	peaks := watchPeak(root)
	start := time.Now()
	err := e.Run(ctx)
	m := measure{wall: time.Since(start).Seconds(), peak: peaks()}
	m.cpu = cpuOf(root) - before
	if err == nil && e.Check != nil {
		err = e.Check()
	}
	if e.After != nil {
		if aerr := e.After(); err == nil {
			err = aerr
		}
	}
	return m, err
}

// cpuOf is what this process, whose number is root, and all below it have used so far:
// itself and those that have ended and were waited for to the microsecond, the others to
// a tick of the clock.
func cpuOf(root int) float64 {
	sum := usage()
	for _, p := range family(root) {
		if p.pid != root {
			sum += p.cpu
		}
	}
	return sum
}

// CPU is what a process has used so far, in seconds of user and system time, with
// children that it has waited for; 0 if there is no such process.
func CPU(pid int) float64 {
	for _, p := range family(pid) {
		if p.pid == pid {
			return p.cpu
		}
	}
	return 0
}

// sampling is how often peaks are looked at, after a moment. They are the kernel's own, so that only what
// grows in a process's last moments is missed.
const sampling = 100 * time.Millisecond

// Peak is the most memory that a process has had, in bytes; 0 if there is no such process.
func Peak(pid int) int64 { return peakMemory(pid) }

// beginning says that a process is this one's memory still, of which it makes a program's
// in a moment.
func beginning(p process) bool {
	mine, err := os.Readlink("/proc/self/exe")
	if err != nil || p.parent != os.Getpid() {
		return false
	}
	its, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid))
	return err != nil || its == mine
}

// watchPeak samples the family's peaks until the returned function is called; that
// gives the largest of any process but this one.
func watchPeak(root int) func() int64 {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		var peak int64
		look := func() {
			for _, p := range family(root) {
				if p.pid != os.Getpid() && !beginning(p) {
					peak = max(peak, peakMemory(p.pid))
				}
			}
		}
		// Looking at all processes is work too: seldom, but what is over soon is seen.
		wait := sampling / 16
		timer := time.NewTimer(wait)
		defer timer.Stop()
		for {
			look()
			select {
			case <-stop:
				look() // those that go on
				done <- peak
				return
			case <-timer.C:
				wait = min(2*wait, sampling)
				timer.Reset(wait)
			}
		}
	}()
	return func() int64 { close(stop); return <-done }
}

// Command runs a program with its standard output to a file ("" throws it away).
func Command(ctx context.Context, stdout string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if stdout != "" {
		f, err := os.Create(stdout)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd.Stdout = f
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(errs.String()))
	}
	return nil
}

// VersionOf is the first line a program prints when asked for its version.
func VersionOf(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil && len(out) == 0 {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// ModuleVersion is the version of a module that a Go program was built with.
func ModuleVersion(program, module string) string {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}
