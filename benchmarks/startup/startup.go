// Package startup measures how long it takes until something small is done: a job of one
// task that does nothing, and a command that only says its version.
package startup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work string // folder for outputs
	Runs int    // of each contender, times four: they are short
	Slow bool   // also Spark
	Log  io.Writer
}

// Run runs it. The cluster is up and has run the job once before.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "startup", Machine: harness.ThisMachine()}
	bin := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}
	divisi, err := bin.Build(ctx, "./cmd/divisi")
	if err != nil {
		return res, err
	}
	noop, err := bin.Build(ctx, "./benchmarks/noop")
	if err != nil {
		return res, err
	}
	cluster := &harness.Cluster{Divisi: divisi, Workers: 3, Slots: 1, Dir: filepath.Join(o.Work, "cluster")}
	if err := cluster.Start(); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, cluster.Stop()) }()
	out := filepath.Join(o.Work, "out-startup")
	defer os.RemoveAll(out)
	job := func(args ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			return harness.Command(ctx, "", noop, append(args, "--mode", "replace", "--progress", "none", "1", out)...)
		}
	}
	// Of a program that was built within the last two seconds no sum is kept, and it is added
	// up at each submission: that is not what a warm cluster is.
	for begun := time.Now(); time.Since(begun) < 3*time.Second; {
		if err := job("--cluster", cluster.Coordinator)(ctx); err != nil {
			return res, err
		}
	}
	entries := []harness.Entry{
		{Name: "divisi, warm cluster", Version: "this", Command: "noop --cluster … 1 OUT: the job's program from its start to its end", Run: job("--cluster", cluster.Coordinator)},
		{Name: "divisi, in process", Version: "this", Command: "noop 1 OUT", Run: job()},
		{Name: "divisi version", Version: "this", Command: "no job: the start of the command line", Run: func(ctx context.Context) error { return harness.Command(ctx, "", divisi, "version") }},
		{Name: "true", Version: harness.VersionOf("true", "--version"), Command: "the start of any program", Run: func(ctx context.Context) error { return harness.Command(ctx, "", "true") }},
	}
	if o.Slow {
		spark, err := spark(ctx, o)
		if err != nil {
			return res, err
		}
		entries = append(entries, spark)
	}
	row := harness.Row{Work: "a job of one task that does nothing", Items: 1, Item: "job", Size: "1 task"}
	res.Rows = append(res.Rows, harness.Compare(ctx, row, 4*o.Runs, o.Log, entries...))
	return res, nil
}

// spark is Spark's job of one task that does nothing.
func spark(ctx context.Context, o Options) (harness.Entry, error) {
	py := harness.Python{Dir: filepath.Join(o.Work, "venv-startup"), Packages: []string{"pyspark==4.3.0"}, Log: o.Log}
	if err := py.Install(ctx); err != nil {
		return harness.Entry{}, err
	}
	python, err := filepath.Abs(py.Program("python"))
	if err != nil {
		return harness.Entry{}, fmt.Errorf("the folder of Python packages: %w", err)
	}
	return harness.Entry{
		Name: "Spark", Version: py.Version("pyspark"), Command: "spark-submit --master local[2]: an empty RDD of one partition",
		Run: func(ctx context.Context) error {
			return harness.Command(ctx, "", "env", "PYSPARK_PYTHON="+python, py.Program("spark-submit"), "--master", "local[2]",
				"--conf", "spark.ui.enabled=false", "benchmarks/startup/testdata/spark_noop.py")
		},
	}, nil
}
