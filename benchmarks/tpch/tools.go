package tpch

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// tools are the peers and the maker of tables.
type tools struct{ harness.Python }

func newTools(dir string, slow bool, log io.Writer) tools {
	packages := []string{"duckdb==2.0.1", "polars==2.1.0", "tpchgen-cli==4.0.0"}
	if slow {
		packages = append(packages, "pyspark==4.3.0")
	}
	return tools{harness.Python{Dir: dir, Packages: packages, Log: log}}
}

// A start is how a contender's process begins.
type start struct {
	name, version string
	slack         float64
	program       string
	args          []string
}

// contenders are what runs the queries, in the order that bench wants; query is this
// engine's program.
func (t tools) contenders(query, data string, o Options) []start {
	const scripts = "benchmarks/tpch/testdata/"
	python, threads, scale := t.Program("python"), strconv.Itoa(harness.Threads), strconv.Itoa(o.Scale)
	all := []start{
		{"DuckDB", t.Version("duckdb"), 0, python, []string{scripts + "serve.py", data, scripts + "sql", threads, scale}},
		{"divisi, in process", "this", 0, query, []string{"serve", data}},
		{"Polars", t.Version("polars"), 0, "env", []string{"POLARS_MAX_THREADS=" + threads, python, scripts + "serve_polars.py", data, scale}},
	}
	if o.Slow {
		// Its averages of decimals are decimals of six digits.
		all = append(all, start{"Spark", t.Version("pyspark"), 1e-6, "env", []string{"PYSPARK_PYTHON=" + python, python, scripts + "serve_spark.py", data, scripts + "sql", threads, scale}})
	}
	return all
}

// tables makes the tables once and keeps them: how many bytes their files have. A file
// is one row group, and the large tables have several.
func (t tools) tables(ctx context.Context, dir string, scale int) (size int64, err error) {
	if _, err := os.Stat(dir); err != nil {
		fmt.Fprintf(t.Log, "making the tables of scale factor %d\n", scale)
		part := dir + ".part"
		if err := os.RemoveAll(part); err != nil {
			return 0, err
		}
		for _, table := range []struct {
			name  string
			files int
		}{{"region", 1}, {"nation", 1}, {"supplier", 1}, {"customer", 1}, {"part", 1}, {"partsupp", 2 * scale}, {"orders", 2 * scale}, {"lineitem", 8 * scale}} {
			if err := harness.Command(ctx, "", t.Program("tpchgen-cli"), "parquet", "-s", strconv.Itoa(scale), "--row-group-bytes=128MB",
				"-T", table.name, "-p", strconv.Itoa(table.files), "-o", part); err != nil {
				return 0, err
			}
		}
		if err := os.Rename(part, dir); err != nil {
			return 0, err
		}
	}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
