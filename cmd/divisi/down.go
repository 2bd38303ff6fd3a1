package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
)

type downOptions struct {
	app     *app
	timeout time.Duration
}

func downCommand(a *app) *cobra.Command {
	o := downOptions{app: a}
	cmd := &cobra.Command{
		Use: "down", Short: "End a local cluster and every process it started", Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return down(cmd.Context(), o) },
	}
	a.dirFlag(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Second, "give up after this time")
	return cmd
}

// down ends the process that holds the folder's lock. A process id alone is not
// trusted: a lock that is free says that the cluster has ended.
func down(ctx context.Context, o downOptions) error {
	dir := o.app.localDir()
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(o.app.err, "no cluster runs in %s\n", dir)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if free, err := tryLock(f); err != nil || free {
		fmt.Fprintf(o.app.err, "no cluster runs in %s\n", dir)
		return err
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Signal(syscall.SIGTERM)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	for {
		if free, err := tryLock(f); err != nil || free {
			return err
		}
		select {
		case <-ctx.Done():
			return console.Exitf(console.Timeout, "the cluster in %s (process %d) has not ended within %v", dir, pid, o.timeout)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
