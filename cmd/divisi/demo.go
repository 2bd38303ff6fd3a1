package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/client"
	"github.com/divisi-data/divisi/internal/console"
	pb "github.com/divisi-data/divisi/proto/divisipb"
)

type demoOptions struct {
	app        *app
	workers    int
	killWorker bool
	text       string
	progress   string
}

func demoCommand(a *app) *cobra.Command {
	o := demoOptions{app: a, progress: console.ProgressAuto}
	cmd := &cobra.Command{
		Use: "demo", Short: "Count words on a cluster on this machine, and check the result", Args: between(0, 0),
		Long: "Start a coordinator and workers as processes on this machine, count the words of Go's own\n" +
			"source tree on them, and compare with a count in a single process. Nothing stays behind.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.workers < 1 || o.killWorker && o.workers < 2 {
				return console.Exitf(console.Usage, "demo: --workers is 1 or more, with --kill-worker 2 or more")
			}
			return demo(cmd.Context(), o)
		},
	}
	cmd.Flags().IntVar(&o.workers, "workers", 3, "number of workers")
	cmd.Flags().BoolVar(&o.killWorker, "kill-worker", false, "kill a worker (SIGKILL) in the middle")
	cmd.Flags().StringVar(&o.text, "text", "", "folder whose *.go files are counted (default: Go's source tree)")
	cmd.Flags().Var(choice{&o.progress, []string{"auto", "bar", "plain", "none"}}, "progress", "progress on standard error")
	return cmd
}

// wordcount is the demo's job: IN... OUT.
func wordcount(j *df.Job) {
	args := j.Args()
	if len(args) < 2 {
		j.Errorf("usage: IN... OUT")
		return
	}
	in, out := args[:len(args)-1], args[len(args)-1]
	counts := df.Count(df.Words(df.Read(j, df.Lines(in...))))
	df.Write(counts, df.TSV[df.Pair[string, int64]](out))
}

func demo(ctx context.Context, o demoOptions) (err error) {
	ctx, stop := console.Signals(ctx, func(os.Signal) { fmt.Fprintln(o.app.err, "\nending the demo") }, func() { os.Exit(console.Canceled) })
	defer stop()
	in, err := findText(ctx, o.text)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "divisi-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Fprintf(o.app.out, "text     %s: %s files, %s\n", in.root, console.Count(int64(len(in.files))), console.Bytes(in.bytes))
	s := &supervisor{dir: dir, workers: o.workers, slots: max(1, runtime.NumCPU()/o.workers), restart: true, log: o.app.err}
	began := time.Now()
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.end()
	info := s.info()
	fmt.Fprintf(o.app.out, "cluster  1 coordinator, %d workers: processes on this machine, ready in %s\n", o.workers, console.Duration(time.Since(began)))
	if info.HTTP != "" {
		fmt.Fprintf(o.app.out, "pages    %s (while the demo runs)\n", info.HTTP)
	}
	st, got, err := demoJob(ctx, o, s, in, filepath.Join(dir, "out"))
	if err != nil {
		return err
	}
	return report(o, in, st, got)
}

// demoJob runs the word count on the cluster and reads its output.
func demoJob(ctx context.Context, o demoOptions, s *supervisor, in text, out string) (*pb.JobStatus, map[string]int64, error) {
	c, err := client.Dial(ctx, s.info().Coordinator)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	p, err := console.NewProgress(o.app.err, o.progress)
	if err != nil {
		return nil, nil, err
	}
	b := binary{here: s.exe, forCluster: s.exe}
	id, err := b.submit(ctx, c, submitOptions{app: o.app, args: append(slices.Clone(in.patterns), out)})
	if err != nil {
		return nil, nil, err
	}
	killed := make(chan error, 1)
	if o.killWorker {
		go func() { killed <- killOne(ctx, o, s, id, p) }()
	} else {
		killed <- nil
	}
	st, err := console.Follow(ctx, c, id, p)
	if err == nil {
		err = console.Outcome(st)
	}
	if err = errors.Join(err, <-killed); err != nil {
		return nil, nil, err
	}
	got, err := readCounts(out)
	return st, got, err
}

// killOne kills a worker that has begun to work for the job.
func killOne(ctx context.Context, o demoOptions, s *supervisor, id string, p *console.Progress) error {
	c, err := client.Dial(ctx, s.info().Coordinator)
	if err != nil {
		return err
	}
	defer c.Close()
	for {
		st, err := c.Job(ctx, id)
		if err != nil {
			return err
		}
		if client.Ended(st.State) {
			return console.Exitf(console.JobFailed, "the job had ended before a worker could be killed: give it a larger --text")
		}
		workers, err := c.Workers(ctx)
		if err != nil {
			return err
		}
		for _, w := range workers {
			if w.Running == 0 || w.TasksDone == 0 || !midway(st) {
				continue
			}
			for _, proc := range s.info().Processes {
				if proc.Role != "worker" || proc.PID != int(w.Pid) {
					continue
				}
				if err := syscall.Kill(proc.PID, syscall.SIGKILL); err != nil {
					return err
				}
				fmt.Fprintf(o.app.out, "killed   %s (process %d, SIGKILL) after it had done %d of the job's tasks, and while it ran %d\n", proc.ID, proc.PID, w.TasksDone, w.Running)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil // Follow tells
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// midway says that a third of the first stage is done: what a worker has done by
// then is lost with it, and has to be done again.
func midway(st *pb.JobStatus) bool {
	return len(st.Stages) > 0 && (st.Stages[0].State == "done" || st.Stages[0].Fraction > 0.33)
}

// report checks the counts against a plain program's and prints what there was to see.
func report(o demoOptions, in text, st *pb.JobStatus, got map[string]int64) error {
	began := time.Now()
	want, err := countPlainly(in.files)
	if err != nil {
		return err
	}
	alone := time.Since(began)
	w := o.app.out
	took := time.Duration(console.Seconds(st) * float64(time.Second))
	stats := st.GetStats()
	fmt.Fprintf(w, "job      %s in %s, %s/s, %s tasks, %s retries\n", console.State(st.State), console.Duration(took),
		console.Bytes(int64(float64(in.bytes)/max(took.Seconds(), 1e-3))), console.Count(st.Tasks), console.Count(st.Retries))
	fmt.Fprintf(w, "shuffle  %s between the stages, %s spilled\n", console.Bytes(stats.GetBytesShuffled()), console.Bytes(stats.GetBytesSpilled()))
	if !maps.Equal(got, want) {
		for word, n := range want {
			if got[word] != n {
				return console.Exitf(console.CheckFailed, "the result is wrong: %q was counted %d times, a single process says %d", word, got[word], n)
			}
		}
		return console.Exitf(console.CheckFailed, "the result is wrong: %d words, a single process finds %d", len(got), len(want))
	}
	fmt.Fprintf(w, "check    %s distinct words, the same as a single process counts (in %s)\n", console.Count(int64(len(want))), console.Duration(alone))
	fmt.Fprintf(w, "\ntop words\n")
	for _, word := range topWords(got, 10) {
		fmt.Fprintf(w, "  %-12s %s\n", console.Plain(word), console.Count(got[word]))
	}
	fmt.Fprintf(w, "\ntry next\n")
	if !o.killWorker {
		fmt.Fprintf(w, "  divisi demo --kill-worker    kill a worker in the middle: the same result\n")
	}
	fmt.Fprintf(w, "  divisi up --workers 3        a cluster that stays, with pages\n"+
		"  divisi init wordcount        a job of your own, with a test\n")
	return nil
}

func topWords(counts map[string]int64, n int) []string {
	words := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		if c := counts[b] - counts[a]; c != 0 {
			return int(max(min(c, 1), -1))
		}
		return strings.Compare(a, b)
	})
	return words[:min(n, len(words))]
}

// A text is the files that the demo counts.
type text struct {
	root     string
	patterns []string // name exactly the files, a pattern for each depth
	files    []string
	bytes    int64
}

// findText finds the *.go files below root, or below Go's source tree.
func findText(ctx context.Context, root string) (text, error) {
	if root == "" {
		goroot := runtimeGOROOT(ctx)
		if goroot == "" {
			return text{}, console.Exitf(console.JobFailed, "Go's source tree was not found (\"go env GOROOT\" failed): install Go, or name a folder with *.go files by --text")
		}
		root = filepath.Join(goroot, "src")
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return text{}, err
	}
	t := text{root: root}
	found := map[string]int64{} // slashed names below root, and their sizes
	depths := map[int]bool{}    // at which *.go files lie
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_")
		switch {
		case d.IsDir() && hidden:
			return fs.SkipDir
		case hidden || !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		found[rel] = info.Size()
		if strings.HasSuffix(rel, ".go") {
			depths[strings.Count(rel, "/")] = true
		}
		return err
	})
	for _, rel := range slices.Sorted(maps.Keys(found)) {
		// A pattern that matches a folder (Go's tree has one called not_a_file.go) names
		// all that is in it: a file is counted once for each pattern that names it.
		for depth, part := range strings.Split(rel, "/") {
			if depths[depth] && strings.HasSuffix(part, ".go") {
				t.files = append(t.files, filepath.Join(root, filepath.FromSlash(rel)))
				t.bytes += found[rel]
			}
		}
	}
	if err == nil && len(t.files) == 0 {
		err = errors.New("no *.go files")
	}
	if err != nil {
		return text{}, console.Exitf(console.JobFailed, "the demo's text %s: %w (name another folder by --text)", root, err)
	}
	for _, d := range slices.Sorted(maps.Keys(depths)) {
		t.patterns = append(t.patterns, filepath.ToSlash(root)+"/"+strings.Repeat("*/", d)+"*.go")
	}
	return t, nil
}

func runtimeGOROOT(ctx context.Context) string {
	if out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output(); err == nil {
		return strings.TrimSpace(string(out))
	}
	return os.Getenv("GOROOT")
}

// countPlainly is the oracle: one goroutine, one map.
func countPlainly(files []string) (map[string]int64, error) {
	counts := map[string]*int64{}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for w := range bytes.FieldsSeq(b) {
			n, ok := counts[string(w)]
			if !ok {
				n = new(int64)
				counts[string(w)] = n
			}
			*n++
		}
	}
	out := make(map[string]int64, len(counts))
	for w, n := range counts {
		out[w] = *n
	}
	return out, nil
}

// readCounts reads a word count's output folder.
func readCounts(out string) (map[string]int64, error) {
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		return nil, err
	}
	parts, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			word, n, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			v, err := strconv.ParseInt(n, 10, 64)
			if _, twice := counts[word]; err != nil || twice {
				return nil, console.Exitf(console.CheckFailed, "%s: line %q is wrong, or comes twice", p, line)
			}
			counts[word] = v
		}
	}
	return counts, nil
}
