package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/console"
)

// lockFile is held while a cluster runs in a folder; it holds the supervisor's
// process id.
const lockFile = "up.lock"

type upOptions struct {
	app       *app
	workers   int
	slots     int
	memory    console.Size
	noRestart bool
	detach    bool
	security  string
	tether    tether
}

func upCommand(a *app) *cobra.Command {
	o := upOptions{app: a}
	cmd := &cobra.Command{
		Use: "up", Short: "Run a local cluster of real processes", Args: between(0, 0),
		Long: "Run a coordinator and workers as processes on this machine, and start those again that end.\n" +
			"When all are ready, DIR/cluster.json names them. SIGTERM, Ctrl-C or \"divisi down\" ends all.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.workers < 1 || o.slots < 1 {
				return console.Exitf(console.Usage, "up: --workers and --slots are 1 or more")
			}
			if o.detach {
				return detach(cmd.Context(), o)
			}
			return up(cmd.Context(), o)
		},
	}
	a.dirFlag(cmd)
	cmd.Flags().IntVar(&o.workers, "workers", 3, "number of workers")
	cmd.Flags().IntVar(&o.slots, "slots", max(1, runtime.NumCPU()/3), "tasks at a time on each worker")
	cmd.Flags().Var(&o.memory, "memory", "budget of each task host, such as 512MiB (default: the machine's, shared out)")
	cmd.Flags().BoolVar(&o.noRestart, "no-restart", false, "do not start again what ends")
	cmd.Flags().BoolVar(&o.detach, "detach", false, "return when the cluster is ready; it stays")
	cmd.Flags().StringVar(&o.security, "security", "", "a folder of \"divisi security init\": TLS between all processes")
	o.tether.flags(cmd)
	return cmd
}

func up(ctx context.Context, o upOptions) error {
	ctx = o.tether.hold(ctx)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := filepath.Abs(o.app.localDir())
	if err != nil {
		return err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	file := filepath.Join(dir, clusterFile)
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // of a cluster that was killed
	}
	s := &supervisor{dir: dir, workers: o.workers, slots: o.slots, memory: int64(o.memory), restart: !o.noRestart, log: o.app.err}
	if o.security != "" {
		if s.security, err = filepath.Abs(o.security); err != nil {
			return err
		}
	}
	s.changed = func(info clusterInfo) {
		if err := writeCluster(dir, info); err != nil {
			fmt.Fprintf(o.app.err, "%s is out of date: %v\n", file, err)
		}
	}
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer s.end()
	s.announce()
	defer os.Remove(file)
	info := s.info()
	fmt.Fprintf(o.app.err, "cluster %s is ready: %d workers with %d slots each\n", info.Coordinator, o.workers, o.slots)
	if info.HTTP != "" {
		fmt.Fprintf(o.app.err, "pages   %s\n", info.HTTP)
	}
	fmt.Fprintf(o.app.err, "files   %s\n", file)
	if err := o.tether.tell(readyLine{Address: info.Coordinator, HTTP: info.HTTP}); err != nil {
		return err
	}
	<-ctx.Done()
	fmt.Fprintln(o.app.err, "ending the cluster")
	return nil
}

// lockDir makes the folder and keeps other clusters out of it until the file is
// closed, or this process has ended.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	ok, err := tryLock(f)
	if err == nil && !ok {
		err = console.Exitf(console.JobFailed, "a cluster runs in %s already: use another --dir, or end it by \"divisi down --dir %s\"", dir, dir)
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// detach starts the same command again, without this terminal, and waits until the
// cluster is ready.
func detach(ctx context.Context, o upOptions) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	dir := o.app.localDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, "up.log")
	log, err := os.Create(name)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	args := []string{"up", "--dir", dir, "--workers", strconv.Itoa(o.workers), "--slots", strconv.Itoa(o.slots), "--ready", "3"}
	if o.memory > 0 {
		args = append(args, "--memory", strconv.FormatInt(int64(o.memory), 10))
	}
	if o.security != "" {
		args = append(args, "--security", o.security)
	}
	if o.noRestart {
		args = append(args, "--no-restart")
	}
	cmd := exec.Command(exe, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = ownSession()
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	if _, err := readLine(ctx, r); err != nil {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		text := strings.TrimPrefix(string(tail(name)), "error: ")
		return fmt.Errorf("the cluster did not start: %w\n%s", err, text)
	}
	fmt.Fprintf(o.app.err, "%s\n", tail(name))
	return cmd.Process.Release()
}
