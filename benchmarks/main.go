// Command benchmarks runs this engine beside its peers and writes what it saw to
// benchmarks/results and docs/benchmarks. make bench runs all of it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/benchmarks/columnar"
	"github.com/divisi-data/divisi/benchmarks/durability"
	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/pagerank"
	"github.com/divisi-data/divisi/benchmarks/s3"
	"github.com/divisi-data/divisi/benchmarks/scheduling"
	"github.com/divisi-data/divisi/benchmarks/shuffle"
	"github.com/divisi-data/divisi/benchmarks/startup"
	"github.com/divisi-data/divisi/benchmarks/terasort"
	"github.com/divisi-data/divisi/benchmarks/tpch"
	"github.com/divisi-data/divisi/benchmarks/wordcount"
)

// options that all benchmarks share.
type options struct {
	work  string
	bytes int64
	runs  int
	prof  string
	slow  bool
	log   io.Writer
}

// benchmarks by name, in the order in which they run.
var benchmarks = []struct {
	name string
	run  func(ctx context.Context, o options) (harness.Result, error)
}{
	{"wordcount", func(ctx context.Context, o options) (harness.Result, error) {
		return wordcount.Run(ctx, wordcount.Options{Work: o.work, Bytes: o.bytes, Vocabulary: 1_000_000, Runs: o.runs, Slow: o.slow, Log: o.log})
	}},
	{"terasort", func(ctx context.Context, o options) (harness.Result, error) {
		return terasort.Run(ctx, terasort.Options{Work: o.work, Bytes: 2 * o.bytes, Memory: 512, Runs: o.runs, Log: o.log})
	}},
	{"shuffle", func(ctx context.Context, o options) (harness.Result, error) {
		return shuffle.Run(ctx, shuffle.Options{Work: o.work, Bytes: o.bytes, Many: 1000, Runs: o.runs, Log: o.log})
	}},
	{"durability", func(ctx context.Context, o options) (harness.Result, error) {
		return durability.Run(ctx, durability.Options{Work: o.work, Bytes: o.bytes / 4, Tasks: 500, Runs: o.runs, Log: o.log})
	}},
	{"scheduling", func(ctx context.Context, o options) (harness.Result, error) {
		return scheduling.Run(ctx, scheduling.Options{Work: o.work, Tasks: 100_000, Workers: 200, Slots: 8, Runs: o.runs, Profiles: o.prof, Log: o.log})
	}},
	{"s3", func(ctx context.Context, o options) (harness.Result, error) {
		return s3.Run(ctx, s3.Options{Work: o.work, Small: 10_000, Bytes: []int64{o.bytes / 10, o.bytes, o.bytes * 5 / 2}, Large: 64, Rows: int(o.bytes / 125), Runs: o.runs, Log: o.log})
	}},
	{"tpch", func(ctx context.Context, o options) (harness.Result, error) {
		return tpch.Run(ctx, tpch.Options{Work: o.work, Scale: int(max(1, o.bytes/1_000_000_000)), Runs: o.runs, Slow: o.slow, Log: o.log})
	}},
	{"columnar", func(ctx context.Context, o options) (harness.Result, error) {
		return columnar.Run(ctx, columnar.Options{Work: o.work, Rows: o.bytes / 50, Runs: o.runs, Log: o.log})
	}},
	{"pagerank", func(ctx context.Context, o options) (harness.Result, error) {
		return pagerank.Run(ctx, pagerank.Options{Work: o.work, Links: o.bytes / 500, Iterations: 10, Runs: o.runs, Log: o.log})
	}},
	{"startup", func(ctx context.Context, o options) (harness.Result, error) {
		return startup.Run(ctx, startup.Options{Work: o.work, Runs: o.runs, Slow: o.slow, Log: o.log})
	}},
	{"kafka", func(ctx context.Context, o options) (harness.Result, error) { return tested(ctx, o, "kafka") }},
}

// tested runs the benchmark of a package that needs a real server, which only tests have.
func tested(ctx context.Context, o options, name string) (r harness.Result, err error) {
	dir, err := os.MkdirTemp("", "divisi-bench-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchtime", "1x", "-v", "./benchmarks/"+name)
	cmd.Env = append(os.Environ(), "DIVISI_BENCH_RESULTS="+dir, fmt.Sprintf("DIVISI_BENCH_RUNS=%d", o.runs))
	cmd.Stdout, cmd.Stderr = o.log, o.log
	if err := cmd.Run(); err != nil {
		return r, err
	}
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		return r, fmt.Errorf("%w (was it skipped?)", err)
	}
	return r, json.Unmarshal(text, &r)
}

func main() {
	o := options{log: os.Stderr}
	only := flag.String("only", "", "run this benchmark alone: "+names())
	results := flag.String("results", "benchmarks/results", "folder for the results")
	docs := flag.String("docs", "docs/benchmarks", "folder for the page")
	flag.StringVar(&o.work, "work", "benchmarks/data", "folder for data and outputs")
	flag.Int64Var(&o.bytes, "bytes", 1_000_000_000, "size of the input")
	flag.IntVar(&o.runs, "runs", 5, "counted runs of each contender; for the prices of durability to within a percent, 30")
	flag.StringVar(&o.prof, "profiles", "", "folder for profiles, of the benchmarks that make some")
	flag.BoolVar(&o.slow, "slow", false, "also peers that need minutes: Spark, Hadoop MapReduce, Beam")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, *only, *results, *docs); err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, only, results, docs string) error {
	if only != "" && !slices.Contains(strings.Split(names(), ", "), only) {
		return fmt.Errorf("no benchmark is called %q: have %s", only, names())
	}
	for _, b := range benchmarks {
		if only != "" && b.name != only {
			continue
		}
		r, err := b.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if err := r.Save(results); err != nil {
			return err
		}
	}
	return harness.WritePage(results, docs)
}

func names() string {
	var n []string
	for _, b := range benchmarks {
		n = append(n, b.name)
	}
	return strings.Join(n, ", ")
}
