// Package wordcount counts the words of a Zipf text with this engine and its peers,
// side by side. Every output is compared whole with a plain program's.
package wordcount

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/zipf"
)

// Options of the benchmark.
type Options struct {
	Work       string // folder for data and outputs
	Bytes      int64
	Vocabulary int
	Runs       int
	Log        io.Writer
}

// Run runs it.
func Run(ctx context.Context, o Options) (harness.Result, error) {
	res := harness.Result{Name: "wordcount", Machine: harness.ThisMachine()}
	in, err := Text(o)
	if err != nil {
		return res, err
	}
	bin := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}
	divisi, err := bin.Build(ctx, "./cmd/divisi")
	if err != nil {
		return res, err
	}
	job, err := bin.Build(ctx, "./examples/wordcount")
	if err != nil {
		return res, err
	}
	plain, err := bin.Build(ctx, "./benchmarks/wordcount/plain")
	if err != nil {
		return res, err
	}
	closure, err := bin.Build(ctx, "./benchmarks/wordcount/closure")
	if err != nil {
		return res, err
	}
	out := func(name string) string { return filepath.Join(o.Work, "out-"+name) }
	if err := harness.Command(ctx, out("truth"), plain, in); err != nil {
		return res, err
	}
	truth, err := harness.Digest(out("truth"))
	if err != nil {
		return res, err
	}
	defer os.Remove(out("truth"))

	cluster := &harness.Cluster{Divisi: divisi, Workers: 3, Slots: 1, Memory: "256MiB", Dir: filepath.Join(o.Work, "cluster")}
	entries := []harness.Entry{
		{
			Name: "divisi, cluster of 3 workers", Version: "this", Command: "wordcount --cluster … IN OUT",
			Before: cluster.Start, After: cluster.Stop,
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", job, "--cluster", cluster.Coordinator, "--mode", "replace", "--progress", "none", in, out("cluster"))
			},
			Check: func() error { return harness.SameLines(truth, out("cluster")+"/part-*") },
		},
		{
			Name: "divisi, in process", Version: "this", Command: "wordcount IN OUT",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", job, "--memory", "512MiB", "--mode", "replace", "--progress", "none", in, out("process"))
			},
			Check: func() error { return harness.SameLines(truth, out("process")+"/part-*") },
		},
		{
			Name: "divisi, a user's closure", Version: "this", Command: "FlatMap with strings.Fields, in process",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", closure, "--memory", "512MiB", "--mode", "replace", "--progress", "none", in, out("closure"))
			},
			Check: func() error { return harness.SameLines(truth, out("closure")+"/part-*") },
		},
		{
			Name: "plain Go", Version: res.Machine.Go, Command: "Scanner, strings.Fields, map",
			Run:   func(ctx context.Context) error { return harness.Command(ctx, out("plain"), plain, in) },
			Check: func() error { return harness.SameLines(truth, out("plain")) },
		},
		{
			Name: "mawk", Version: harness.VersionOf("mawk", "-W", "version"), Command: mawk,
			Run:   func(ctx context.Context) error { return harness.Command(ctx, out("mawk"), "mawk", mawk, in) },
			Check: func() error { return harness.SameLines(truth, out("mawk")) },
		},
	}
	row := harness.Row{
		Work:  fmt.Sprintf("word count, Zipf text, %d distinct words", o.Vocabulary),
		Bytes: o.Bytes, Size: fmt.Sprintf("%.2f GB", float64(o.Bytes)/1e9),
	}
	res.Rows = append(res.Rows, harness.Compare(ctx, row, o.Runs, o.Log, entries...))
	for _, name := range []string{"cluster", "process", "closure", "plain", "mawk"} {
		if err := os.RemoveAll(out(name)); err != nil {
			return res, err
		}
	}
	return res, nil
}

const mawk = `{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) printf "%s\t%d\n", w, n[w] }`

// Text writes the input once and keeps it: its name. Of the options it needs Work, Bytes,
// Vocabulary and Log.
func Text(o Options) (string, error) {
	name := filepath.Join(o.Work, fmt.Sprintf("zipf-%d-%d.txt", o.Bytes, o.Vocabulary))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(o.Work, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintf(o.Log, "writing %s\n", strings.TrimPrefix(name, o.Work+"/"))
	f, err := os.Create(name + ".part")
	if err != nil {
		return "", err
	}
	if _, _, err := (zipf.Text{Bytes: o.Bytes, Vocabulary: o.Vocabulary, Exponent: 1, Seed: 1}).Write(f); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return name, os.Rename(name+".part", name)
}
