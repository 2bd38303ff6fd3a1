package shuffle

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// A cluster is a coordinator and workers, each a process, the workers on a core each.
type cluster struct {
	divisi, dir string
	machines    []string // of the workers

	address string
	parts   []*exec.Cmd // in the order in which they were started
}

// start returns when the coordinator listens; a job waits for the workers.
func (c *cluster) start() error {
	if err := os.RemoveAll(c.dir); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.address, c.parts = l.Addr().String(), nil
	if err := l.Close(); err != nil {
		return err
	}
	if err := c.begin(c.divisi, "coordinator", "--listen", c.address, "--http", "", "--state", filepath.Join(c.dir, "state")); err != nil {
		return err
	}
	for i, m := range c.machines {
		err := c.begin("taskset", "-c", strconv.Itoa(i), c.divisi, "worker", "--coordinator", c.address, "--slots", "1", "--machine", m,
			"--dir", filepath.Join(c.dir, "worker"+strconv.Itoa(i)), "--drain-grace", "0")
		if err != nil {
			return errors.Join(err, c.stop())
		}
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", c.address)
		if err == nil {
			return conn.Close()
		}
	}
	return errors.Join(fmt.Errorf("the coordinator does not listen at %s within 30 s", c.address), c.stop())
}

func (c *cluster) begin(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	c.parts = append(c.parts, cmd)
	return nil
}

// stop ends all its processes, the coordinator last.
func (c *cluster) stop() error {
	var errs []error
	for i := len(c.parts) - 1; i >= 0; i-- {
		p := c.parts[i]
		errs = append(errs, p.Process.Signal(syscall.SIGTERM))
		var exit *exec.ExitError
		if err := p.Wait(); err != nil && !errors.As(err, &exit) { // however it ends when asked to
			errs = append(errs, err)
		}
	}
	c.parts = nil
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}
