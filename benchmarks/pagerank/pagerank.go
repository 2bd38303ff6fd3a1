// Package pagerank ranks the nodes of a graph whose links follow a power law with this
// engine, beside a plain program that keeps all in arrays and beside DuckDB, asked in a loop.
package pagerank

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work       string // folder for data and outputs
	Links      int64
	Iterations int
	Runs       int
	Log        io.Writer
}

// linksPerNode is how many links there are for each node, on average.
const linksPerNode = 10

type bench struct {
	o          Options
	job, plain string // programs
	in         string
	truth      map[string]float64 // what DuckDB says, once it has
}

// Run runs it. The ranks of each contender are compared with those of DuckDB.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "pagerank", Machine: harness.ThisMachine()}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return res, err
	}
	b := &bench{o: o}
	bin := harness.Binaries{Dir: b.path("bin-pagerank")}
	if b.job, err = bin.Build(ctx, "./examples/pagerank"); err != nil {
		return res, err
	}
	if b.plain, err = bin.Build(ctx, "./benchmarks/pagerank/plain"); err != nil {
		return res, err
	}
	py := harness.Python{Dir: b.path("venv-pagerank"), Packages: []string{"duckdb==2.0.1"}, Log: o.Log}
	if err := py.Install(ctx); err != nil {
		return res, err
	}
	if err := b.graph(ctx); err != nil {
		return res, err
	}
	if err := b.ask(ctx, py); err != nil {
		return res, err
	}
	defer func() {
		for _, name := range []string{"divisi", "plain", "duckdb"} {
			os.RemoveAll(b.out(name))
		}
	}()
	row := harness.Row{
		Work:  fmt.Sprintf("PageRank, %d iterations, links by a power law", o.Iterations),
		Items: o.Links * int64(o.Iterations), Item: "link", Size: fmt.Sprintf("%.1f M links", float64(o.Links)/1e6),
	}
	res.Rows = append(res.Rows, harness.Compare(ctx, row, o.Runs, o.Log, b.entries(py)...))
	return res, nil
}

func (b *bench) path(name string) string { return filepath.Join(b.o.Work, name) }
func (b *bench) out(name string) string  { return b.path("out-pagerank-" + name) }

// graph makes the links once and keeps them.
func (b *bench) graph(ctx context.Context) error {
	b.in = b.path(fmt.Sprintf("links-%d.tsv", b.o.Links))
	if _, err := os.Stat(b.in); err == nil {
		return nil
	}
	nodes := max(b.o.Links/linksPerNode, 2)
	if err := harness.Command(ctx, b.in+".part", b.plain, "graph", strconv.FormatInt(nodes, 10), strconv.FormatInt(b.o.Links, 10)); err != nil {
		return err
	}
	return os.Rename(b.in+".part", b.in)
}

// entries are the contenders.
func (b *bench) entries(py harness.Python) []harness.Entry {
	n := strconv.Itoa(b.o.Iterations)
	return []harness.Entry{
		{
			Name: "divisi, in process", Version: "this", Command: "pagerank --iterations " + n + " EDGES OUT",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", b.job, "--mode", "replace", "--progress", "none", "--iterations", n, b.in, b.out("divisi"))
			},
			Check: func() error { return b.same(b.out("divisi") + "/part-*") },
		},
		{
			Name: "plain Go", Version: harness.ThisMachine().Go, Command: "maps and arrays, one thread",
			Run:   func(ctx context.Context) error { return harness.Command(ctx, b.out("plain"), b.plain, n, b.in) },
			Check: func() error { return b.same(b.out("plain")) },
		},
		{
			Name: "DuckDB", Version: py.Version("duckdb"), Command: "joins and groups in a loop; " + strconv.Itoa(harness.Threads) + " threads",
			Run:   func(ctx context.Context) error { return b.duckdb(ctx, py) },
			Check: func() error { return b.same(b.out("duckdb")) },
		},
	}
}

func (b *bench) duckdb(ctx context.Context, py harness.Python) error {
	return harness.Command(ctx, "", py.Program("python"), "benchmarks/pagerank/testdata/duckdb_pagerank.py", b.in, b.out("duckdb"),
		strconv.Itoa(b.o.Iterations), strconv.Itoa(harness.Threads))
}

// ask makes the truth.
func (b *bench) ask(ctx context.Context, py harness.Python) (err error) {
	if err := b.duckdb(ctx, py); err != nil {
		return err
	}
	b.truth, err = ranks(b.out("duckdb"))
	return err
}

// same compares the rank of every node. Floats that are added in another order are
// another sum, by less than a part in a million.
func (b *bench) same(pattern string) error {
	got, err := ranks(pattern)
	if err != nil {
		return err
	}
	if len(got) != len(b.truth) {
		return fmt.Errorf("the output is wrong: %d nodes, want %d", len(got), len(b.truth))
	}
	for node, want := range b.truth {
		if r, ok := got[node]; !ok || math.Abs(r-want) > want*1e-6 {
			return fmt.Errorf("the output is wrong: node %s has rank %v, want %v", node, r, want)
		}
	}
	return nil
}

// ranks reads lines of a node, a tab and its rank.
func ranks(pattern string) (map[string]float64, error) {
	lines, err := harness.Lines(pattern)
	if err != nil {
		return nil, err
	}
	all := make(map[string]float64, len(lines))
	for _, l := range lines {
		node, text, _ := bytes.Cut(bytes.TrimSpace(l), []byte{'\t'})
		r, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return nil, err
		}
		if _, twice := all[string(node)]; twice {
			return nil, fmt.Errorf("the output is wrong: node %s is there twice", node)
		}
		all[string(node)] = r
	}
	return all, nil
}
