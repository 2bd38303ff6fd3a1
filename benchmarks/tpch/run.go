package tpch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work  string // folder for data and outputs
	Scale int    // factor of the specification: 1 is about 1 GB of text
	Runs  int
	Log   io.Writer
}

// Run runs all queries. Each contender is one process that has started and knows where
// the tables are; what is timed is from asking it for a query until its result is a file.
// It is the same for both: of the first round, which does not count, each keeps what it
// will. Contenders take turns query by query, and every result is compared whole.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "tpch", Machine: harness.ThisMachine()}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return res, err
	}
	t := newTools(filepath.Join(o.Work, "venv-tpch"), o.Log)
	if err := t.Install(ctx); err != nil {
		return res, err
	}
	data := filepath.Join(o.Work, fmt.Sprintf("tpch-%d", o.Scale))
	size, err := t.tables(ctx, data, o.Scale)
	if err != nil {
		return res, err
	}
	query, err := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}.Build(ctx, "./benchmarks/tpch/query")
	if err != nil {
		return res, err
	}
	ours, err := harness.StartServer(ctx, query, "serve", data)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, ours.Stop()) }()
	duck, err := harness.StartServer(ctx, t.Program("python"), "benchmarks/tpch/testdata/serve.py", data, "benchmarks/tpch/testdata/sql", strconv.Itoa(harness.Threads), strconv.Itoa(o.Scale))
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, duck.Stop()) }()
	b := bench{o: o, out: filepath.Join(o.Work, "out-tpch"), servers: []*harness.Server{ours, duck}}
	defer os.RemoveAll(b.out)
	row := harness.Row{
		Work: fmt.Sprintf("TPC-H, scale factor %d, all queries over Parquet, %d threads", o.Scale, harness.Threads), Bytes: size, Size: fmt.Sprintf("%.2f GB", float64(size)/1e9),
	}
	res.Rows = append(res.Rows, b.all(ctx, row, t.Version("duckdb")))
	return res, nil
}

type bench struct {
	o       Options
	out     string
	servers []*harness.Server // this engine's, and DuckDB's
}

// all runs the queries and makes one row of them.
func (b *bench) all(ctx context.Context, row harness.Row, version string) harness.Row {
	var each []harness.Row
	for q := 1; q <= len(queries); q++ {
		fmt.Fprintf(b.o.Log, "query %d\n", q)
		each = append(each, harness.Compare(ctx, harness.Row{}, b.o.Runs, b.o.Log, b.entry(q, 1, "DuckDB", version), b.entry(q, 0, "divisi, in process", "this")))
	}
	return sum(row, each, b.servers)
}

// entry is a contender for one query. DuckDB comes first in each round, and its result
// is what the other's is compared with.
func (b *bench) entry(q, who int, name, version string) harness.Entry {
	dir := filepath.Join(b.out, strconv.Itoa(who))
	e := harness.Entry{
		Name: name, Version: version, Command: "one process for all queries",
		Run: func(context.Context) error { return b.servers[who].Run(q, dir) },
	}
	if who == 0 {
		e.Check = func() error {
			want, err := result(q, filepath.Join(b.out, "1", "part-*"))
			if err != nil {
				return err
			}
			got, err := result(q, filepath.Join(dir, "part-*"))
			if err != nil {
				return err
			}
			if problem := compare(got, want, false); problem != "" {
				return fmt.Errorf("query %d is not DuckDB's: %s", q, problem)
			}
			return nil
		}
	}
	return e
}

// sum adds up the rows of single queries, whose ratios become figures. The first
// contender is this engine, as on the rest of the page.
func sum(row harness.Row, each []harness.Row, servers []*harness.Server) harness.Row {
	row.Contenders = make([]harness.Contender, 2)
	logs, right, over := 0.0, 0.0, 0.0
	for q, r := range each {
		duck, ours := r.Contenders[0], r.Contenders[1]
		for i, c := range []harness.Contender{ours, duck} {
			to := &row.Contenders[i]
			to.Name, to.Version, to.Command = c.Name, c.Version, c.Command
			to.Checked = c.Checked && (q == 0 || to.Checked)
			to.Error = strings.TrimSpace(to.Error + " " + c.Error)
			to.Seconds, to.CPU = add(to.Seconds, c.Seconds), add(to.CPU, c.CPU)
			to.Peak = servers[i].Peak()
			if to.Figures == nil {
				to.Figures = map[string]float64{}
			}
			to.Figures[fmt.Sprintf("q%02d, ms", q+1)] = 1000 * c.Median()
		}
		if ours.Error != "" || duck.Error != "" {
			continue
		}
		row.Contenders[0].Figures[fmt.Sprintf("q%02d, times DuckDB", q+1)] = ours.Ratio
		logs += math.Log(ours.Ratio)
		right++
		if ours.Ratio > 2 {
			over++
		}
	}
	row.Contenders[0].Figures["geometric mean of times DuckDB"] = math.Exp(logs / max(right, 1))
	row.Contenders[0].Figures["queries over twice DuckDB"] = over
	row.SetRatios()
	return row
}

func add(a, b []float64) []float64 {
	if len(a) == 0 {
		return append(a, b...)
	}
	for i := range min(len(a), len(b)) {
		a[i] += b[i]
	}
	return a
}
