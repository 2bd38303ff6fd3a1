package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Binaries are the programs a benchmark needs, built once into a folder.
type Binaries struct{ Dir string }

// Build builds a package of this module and returns the program's path.
func (b Binaries) Build(ctx context.Context, pkg string) (string, error) {
	return b.build(ctx, pkg, filepath.Base(pkg), "")
}

// BuildWithout builds a package so that what makes its results durable and checked can
// be left out, see internal/bare.
func (b Binaries) BuildWithout(ctx context.Context, pkg string) (string, error) {
	return b.build(ctx, pkg, filepath.Base(pkg)+"-bench", "divisibench")
}

// BuildModule builds the program of a module of its own in a folder: a peer that needs
// what this module does not.
func (b Binaries) BuildModule(ctx context.Context, dir string) (string, error) {
	out, err := filepath.Abs(filepath.Join(b.Dir, filepath.Base(dir)))
	if err != nil {
		return "", err
	}
	return out, goBuild(ctx, dir, out, ".")
}

func (b Binaries) build(ctx context.Context, pkg, name, tags string) (string, error) {
	out := filepath.Join(b.Dir, name)
	return out, goBuild(ctx, "", out, "-tags", tags, pkg)
}

// goBuild builds programs as those are that are sent to a cluster: without the tables that
// only debuggers read, a third of them.
func goBuild(ctx context.Context, dir, out string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", out}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s %s: %w: %s", dir, strings.Join(args, " "), err, text)
	}
	return nil
}

// A Cluster is a local one: a coordinator and workers, each a process.
type Cluster struct {
	Divisi  string // the binary
	Workers int
	Slots   int    // of each worker
	Memory  string // of each task host
	Dir     string

	Coordinator string // its address, once started
	cmd         *exec.Cmd
}

// Start returns when the cluster is ready.
func (c *Cluster) Start() error {
	if err := os.RemoveAll(c.Dir); err != nil {
		return err
	}
	args := []string{"up", "--workers", strconv.Itoa(c.Workers), "--slots", strconv.Itoa(c.Slots), "--dir", c.Dir}
	if c.Memory != "" {
		args = append(args, "--memory", c.Memory)
	}
	c.cmd = exec.Command(c.Divisi, args...)
	c.cmd.Stderr = os.Stderr
	if err := c.cmd.Start(); err != nil {
		return err
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		b, err := os.ReadFile(filepath.Join(c.Dir, "cluster.json"))
		if err == nil {
			var info struct{ Coordinator string }
			if err := json.Unmarshal(b, &info); err != nil {
				return errors.Join(err, c.Stop())
			}
			c.Coordinator = info.Coordinator
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.Join(errors.New("the cluster was not ready within 30 s"), c.Stop())
}

// Stop ends it and all its processes.
func (c *Cluster) Stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := c.cmd.Wait()
	return errors.Join(err, os.RemoveAll(c.Dir))
}
