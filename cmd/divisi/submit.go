package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
)

// submitOptions are what submit and run share.
type submitOptions struct {
	app        *app
	target     string   // binary or Go package
	args       []string // the job's
	partitions int
	memory     console.Size
	mode       string
	key        string
	queue      string
	priority   int32
	disk       console.Size
	redact     bool
	analyze    bool // the plan is to have estimates
}

func (o *submitOptions) flags(cmd *cobra.Command) {
	o.app.clusterFlags(cmd)
	cmd.Flags().IntVar(&o.partitions, "partitions", 0, "partitions of every shuffle that the job does not fix itself (0: chosen)")
	cmd.Flags().Var(&o.memory, "memory", "budget of each task host, such as 512MiB")
	o.mode = "fail"
	cmd.Flags().Var(choice{&o.mode, []string{"fail", "append", "replace"}}, "mode", "what to do when the output exists")
	cmd.Flags().StringVar(&o.key, "key", "", "idempotency key: a second submission with it is the same job")
	cmd.Flags().StringVar(&o.queue, "queue", "", "the queue that it shares the cluster from, such as etl/nightly")
	cmd.Flags().Int32Var(&o.priority, "priority", 0, "jobs of a higher priority go first in their queue")
	cmd.Flags().Var(&o.disk, "disk-quota", "how much it may have on the disks of each worker, such as 10GiB")
	cmd.Flags().BoolVar(&o.redact, "redact-records", false, "keep what records hold out of errors and logs")
	cmd.Flags().SetInterspersed(false)
}

// isProgram says whether the target is a program, not the id of a job.
func (o *submitOptions) isProgram() bool {
	_, err := os.Stat(o.target)
	return err == nil || strings.ContainsAny(o.target, `./\`)
}

// clusterOnly are flags of the commands that job binaries do not have or, as --cluster,
// would not heed when they only describe their job.
var clusterOnly = []string{"cluster", "dir", "key", "queue", "priority", "disk-quota", "dry-run"}

// take keeps "--" where it stands: what comes before it is for the engine, that is, flags
// of job binaries. A flag of the command among them would be lost, so it is an error.
func (o *submitOptions) take(cmd *cobra.Command, args []string) error {
	o.target, o.args = args[0], args[1:]
	if !o.isProgram() {
		return nil
	}
	for rest := o.args; len(rest) > 0 && strings.HasPrefix(rest[0], "--") && rest[0] != "--"; rest = rest[1:] {
		name, _, given := strings.Cut(rest[0][2:], "=")
		f := cmd.Flags().Lookup(name)
		if f != nil && slices.Contains(clusterOnly, name) {
			return console.Exitf(console.Usage, "--%s stands behind the program, where the job's own arguments are: usage: %s", name, cmd.UseLine())
		}
		if f != nil && f.NoOptDefVal == "" && !given && len(rest) > 1 { // its value
			rest = rest[1:]
		}
	}
	return nil
}

func submitCommand(a *app) *cobra.Command {
	o := submitOptions{app: a}
	cmd := &cobra.Command{
		Use: "submit [flags] BINARY|GO-PACKAGE [-- ARGS...]", Short: "Submit a job; prints its id", Args: between(1, -1),
		Long: "Submit a job to a cluster and print its id, alone, on standard output.\nA Go package is built first (CGO_ENABLED=0 -trimpath), for the platform of the workers.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.take(cmd, args); err != nil {
				return err
			}
			c, err := a.dialPatiently(cmd.Context())
			if err != nil {
				return err
			}
			defer c.Close()
			id, err := submit(cmd.Context(), c, o)
			if err != nil {
				return err
			}
			if url := c.Cluster().Http; url != "" {
				fmt.Fprintf(a.err, "submitted; follow it by \"divisi wait %s\" or at %s/jobs/%s\n", id, pageURL(url), id)
			}
			_, err = fmt.Fprintln(a.out, id)
			return err
		},
	}
	o.flags(cmd)
	return cmd
}

func pageURL(http string) string {
	if http == "" || strings.Contains(http, "://") {
		return strings.TrimSuffix(http, "/")
	}
	return "http://" + http
}

// submit describes, uploads and submits a job.
func submit(ctx context.Context, c *client.Client, o submitOptions) (string, error) {
	b, err := findBinary(ctx, o.app.err, o.target, c.Cluster().Platforms)
	if err != nil {
		return "", err
	}
	defer b.remove()
	return b.submit(ctx, c, o)
}

// submit asks the program for its job and submits both.
func (b binary) submit(ctx context.Context, c *client.Client, o submitOptions) (string, error) {
	slots := max(1, int(c.Cluster().Slots))
	text, err := b.call(ctx, o.app.err, slices.Concat([]string{"--describe", "--slots", strconv.Itoa(slots)}, o.jobFlags(), o.args))
	if err != nil {
		return "", err
	}
	sub, err := client.ParseDescription(text)
	if err != nil {
		return "", fmt.Errorf("%s: %w (does its main function call divisi.Main?)", b.here, err)
	}
	sub.Binary, sub.Key, sub.Queue, sub.Priority = b.forCluster, o.key, o.queue, o.priority
	sub.Job.DiskBytes = int64(o.disk)
	return c.Submit(ctx, sub)
}

// jobFlags are the engine's flags for the job binary.
func (o *submitOptions) jobFlags() []string {
	var flags []string
	if o.mode != "" {
		flags = append(flags, "--mode", o.mode)
	}
	if o.partitions > 0 {
		flags = append(flags, "--partitions", strconv.Itoa(o.partitions))
	}
	if o.memory > 0 {
		flags = append(flags, "--memory", strconv.FormatInt(int64(o.memory), 10))
	}
	if o.redact {
		flags = append(flags, "--redact-records")
	}
	if o.analyze {
		flags = append(flags, "--analyze")
	}
	return flags
}

// A binary is a job's program: one that runs here, and one that runs there.
type binary struct {
	here, forCluster string
	tmp              string
}

func (b binary) remove() {
	if b.tmp != "" {
		os.RemoveAll(b.tmp)
	}
}

// findBinary finds a job's program, or builds it when target is a Go package.
func findBinary(ctx context.Context, log io.Writer, target string, platforms []string) (b binary, err error) {
	own := runtime.GOOS + "/" + runtime.GOARCH
	if st, err := os.Stat(target); err == nil && st.Mode().IsRegular() {
		if st.Mode()&0o111 == 0 {
			return b, console.Exitf(console.Usage, "%s is no program (not executable); a Go package is named by its folder", target)
		}
		if len(platforms) > 0 && !slices.Contains(platforms, own) {
			return b, console.Exitf(console.Usage, "%s runs on %s, the cluster's workers are %s: submit the Go package, it is built for them", target, own, strings.Join(platforms, ", "))
		}
		abs, err := filepath.Abs(target)
		return binary{here: abs, forCluster: abs}, err
	}
	if b.tmp, err = os.MkdirTemp("", "divisi-build-"); err != nil {
		return b, err
	}
	defer func() {
		if err != nil {
			b.remove()
		}
	}()
	if b.here, err = goBuild(ctx, log, target, filepath.Join(b.tmp, "here"), own); err != nil {
		return b, err
	}
	b.forCluster = b.here
	if len(platforms) > 0 && !slices.Contains(platforms, own) {
		b.forCluster, err = goBuild(ctx, log, target, filepath.Join(b.tmp, "there"), platforms[0])
	}
	return b, err
}

func goBuild(ctx context.Context, log io.Writer, pkg, dir, platform string) (string, error) {
	name := filepath.Base(pkg)
	if abs, err := filepath.Abs(pkg); err == nil {
		name = filepath.Base(abs)
	}
	out := filepath.Join(dir, name)
	goos, goarch, _ := strings.Cut(platform, "/")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+goos, "GOARCH="+goarch)
	if st, err := os.Stat(pkg); err == nil && st.IsDir() {
		cmd.Dir = pkg // its module may be another than that of this folder
		cmd.Args[len(cmd.Args)-1] = "."
	}
	text, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "", console.Exitf(console.Usage, "%s is no program, and to build it as a Go package the go command is needed: install Go, or build it elsewhere", pkg)
	}
	if err != nil {
		return "", console.Exitf(console.Usage, "%s is no program, and does not build as a Go package: %w\n%s", pkg, err, bytes.TrimSpace(text))
	}
	fmt.Fprintf(log, "built %s for %s\n", pkg, platform)
	return out, nil
}

// call runs the program here and returns its standard output. What it says on
// standard error is the user's to read, and its exit code is ours.
func (b binary) call(ctx context.Context, stderr io.Writer, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, b.here, args...)
	cmd.Stderr = stderr
	text, err := cmd.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		code := ended.ExitCode()
		if code < 0 || code > console.CheckFailed {
			code = console.JobFailed
		}
		return text, console.Exitf(code, "%s %s: %w", filepath.Base(b.here), strings.Join(args, " "), err)
	}
	return text, err
}
