// Package columnar groups and joins numbers in Parquet files with this engine, beside
// DuckDB on the same files: many groups, many probes, and little else.
package columnar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work string // folder for data and outputs
	Rows int64
	Runs int
	Log  io.Writer
}

// Run runs it. Contenders are processes that have started, see harness.Server; each
// result is compared with DuckDB's.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "columnar", Machine: harness.ThisMachine()}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return res, err
	}
	py := harness.Python{Dir: filepath.Join(o.Work, "venv-columnar"), Packages: []string{"duckdb==2.0.1"}, Log: o.Log}
	if err := py.Install(ctx); err != nil {
		return res, err
	}
	data, err := tables(ctx, o, py)
	if err != nil {
		return res, err
	}
	query, err := harness.Binaries{Dir: filepath.Join(o.Work, "bin-columnar")}.Build(ctx, "./benchmarks/columnar/query")
	if err != nil {
		return res, err
	}
	ours, err := harness.StartServer(ctx, query, "serve", data)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, ours.Stop()) }()
	duck, err := harness.StartServer(ctx, py.Program("python"), "benchmarks/tpch/testdata/serve.py", data, "benchmarks/columnar/testdata/sql", strconv.Itoa(harness.Threads), "1")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, duck.Stop()) }()
	out := filepath.Join(o.Work, "out-columnar")
	defer os.RemoveAll(out)
	for i, w := range works {
		row := harness.Row{Work: fmt.Sprintf("%s, %d threads", w.name, harness.Threads), Items: o.Rows, Item: "row", Size: fmt.Sprintf("%d M rows", o.Rows/1_000_000)}
		row = harness.Compare(ctx, row, o.Runs, o.Log, entry(i+1, "DuckDB", py.Version("duckdb"), duck, out, ""), entry(i+1, "divisi, in process", "this", ours, out, "DuckDB"))
		first, second := &row.Contenders[0], &row.Contenders[1]
		first.Peak, second.Peak = duck.Peak(), ours.Peak()
		*first, *second = *second, *first
		row.SetRatios()
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

// entry is a contender, whose result has to be that of another one, which came before it.
func entry(query int, name, version string, s *harness.Server, out, other string) harness.Entry {
	dir := func(name string) string { return filepath.Join(out, strconv.Itoa(query), name) }
	e := harness.Entry{
		Name: name, Version: version, Command: "one process for all jobs",
		Run: func(context.Context) error { return s.Run(query, dir(name)) },
	}
	if other != "" {
		e.Check = func() error {
			want, err := harness.Digest(dir(other) + "/part-*")
			if err != nil {
				return err
			}
			return harness.SameLines(want, dir(name)+"/part-*")
		}
	}
	return e
}

// tables makes them once and keeps them: the name of their folder.
func tables(ctx context.Context, o Options, py harness.Python) (string, error) {
	dir := filepath.Join(o.Work, fmt.Sprintf("columnar-%d", o.Rows))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return "", err
	}
	if err := harness.Command(ctx, "", py.Program("python"), "benchmarks/columnar/testdata/tables.py", part, strconv.FormatInt(o.Rows, 10)); err != nil {
		return "", err
	}
	return dir, os.Rename(part, dir)
}
