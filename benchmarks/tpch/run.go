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
	Slow  bool // also Spark
	Log   io.Writer
}

// Run runs all queries. Each contender is one process that has started and knows where
// the tables are; what is timed is from asking it for a query until its result is a file.
// It is the same for all: of the first round, which does not count, each keeps what it
// will. Contenders take turns query by query, and every result is compared whole.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "tpch", Machine: harness.ThisMachine()}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return res, err
	}
	t := newTools(filepath.Join(o.Work, "venv-tpch"), o.Slow, o.Log)
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
	b := bench{o: o, out: filepath.Join(o.Work, "out-tpch")}
	defer os.RemoveAll(b.out)
	defer func() {
		for _, c := range b.contenders {
			err = errors.Join(err, c.Stop())
		}
	}()
	for _, c := range t.contenders(query, data, o) {
		server, err := harness.StartServer(ctx, c.program, c.args...)
		if err != nil {
			return res, err
		}
		b.contenders = append(b.contenders, contender{c.name, c.version, c.slack, server})
	}
	row := harness.Row{
		Work: fmt.Sprintf("TPC-H, scale factor %d, all queries over Parquet, %d threads", o.Scale, harness.Threads), Bytes: size, Size: fmt.Sprintf("%.2f GB", float64(size)/1e9),
	}
	if row, err = b.all(ctx, row); err != nil {
		return res, err
	}
	res.Rows = append(res.Rows, row)
	return res, nil
}

type bench struct {
	o          Options
	out        string
	contenders []contender
}

// A contender is a process that runs queries. DuckDB is the first one, whose results the
// others' are compared with, and this engine the second.
type contender struct {
	name, version string
	slack         float64 // by how much numbers may differ
	*harness.Server
}

const first, ours, polars = 0, 1, 2

// all runs the queries and makes one row of them.
func (b *bench) all(ctx context.Context, row harness.Row) (harness.Row, error) {
	var each []harness.Row
	for q := 1; q <= len(queries); q++ {
		fmt.Fprintf(b.o.Log, "query %d\n", q)
		var entries []harness.Entry
		for i := range b.contenders {
			entries = append(entries, b.entry(q, i))
		}
		each = append(each, harness.Compare(ctx, harness.Row{}, b.o.Runs, b.o.Log, entries...))
	}
	row = sum(row, each)
	for i, c := range b.contenders {
		row.Contenders[i].Peak = c.Peak()
	}
	gc, err := b.contenders[ours].GC()
	if err != nil {
		return row, err
	}
	row.Contenders[ours].Figures["garbage collection, % of CPU time"] = 100 * gc
	// On the page this engine is the first, as in other benchmarks.
	row.Contenders[first], row.Contenders[ours] = row.Contenders[ours], row.Contenders[first]
	row.SetRatios()
	return row, nil
}

// entry is a contender for one query.
func (b *bench) entry(q, who int) harness.Entry {
	c := b.contenders[who]
	dir := func(i int) string { return filepath.Join(b.out, strconv.Itoa(i)) }
	e := harness.Entry{
		Name: c.name, Version: c.version, Command: "one process for all queries",
		Run: func(context.Context) error { return c.Run(q, dir(who)) },
	}
	if who != first {
		e.Check = func() error {
			want, err := result(q, filepath.Join(dir(first), "part-*"))
			if err != nil {
				return err
			}
			got, err := result(q, filepath.Join(dir(who), "part-*"))
			if err != nil {
				return err
			}
			if problem := compare(got, want, false, c.slack); problem != "" {
				return fmt.Errorf("query %d is not DuckDB's: %s", q, problem)
			}
			return nil
		}
	}
	return e
}

// sum adds up the rows of single queries, whose ratios become figures.
func sum(row harness.Row, each []harness.Row) harness.Row {
	row.Contenders = make([]harness.Contender, len(each[0].Contenders))
	var duck, faster ratios
	for q, r := range each {
		for i, c := range r.Contenders {
			to := &row.Contenders[i]
			to.Name, to.Version, to.Command = c.Name, c.Version, c.Command
			to.Checked = c.Checked && (q == 0 || to.Checked)
			to.Error = strings.TrimSpace(to.Error + " " + c.Error)
			to.Seconds, to.CPU = add(to.Seconds, c.Seconds), add(to.CPU, c.CPU)
			if to.Figures == nil {
				to.Figures = map[string]float64{}
			}
			if c.Error == "" {
				to.Figures[fmt.Sprintf("q%02d, ms", q+1)] = 1000 * c.Median()
			}
		}
		one, us := r.Contenders[first], r.Contenders[ours]
		if us.Error != "" || one.Error != "" {
			continue
		}
		row.Contenders[ours].Figures[fmt.Sprintf("q%02d, times DuckDB", q+1)] = us.Ratio
		duck.add(us.Ratio)
		best := one.Median()
		if len(r.Contenders) > polars && r.Contenders[polars].Error == "" {
			best = min(best, r.Contenders[polars].Median())
		}
		faster.add(us.Median() / best)
	}
	f := row.Contenders[ours].Figures
	f["geometric mean of times DuckDB"], f["queries over twice DuckDB"] = duck.mean(), duck.over
	if len(row.Contenders) > polars {
		f["geometric mean of times the faster of DuckDB and Polars"], f["queries over twice the faster"] = faster.mean(), faster.over
	}
	return row
}

// ratios are of this engine's times and a peer's.
type ratios struct{ logs, n, over float64 }

func (r *ratios) add(x float64) {
	r.logs += math.Log(x)
	r.n++
	if x > 2 {
		r.over++
	}
}

// mean is the geometric one.
func (r *ratios) mean() float64 { return math.Exp(r.logs / max(r.n, 1)) }

func add(a, b []float64) []float64 {
	if len(a) == 0 {
		return append(a, b...)
	}
	for i := range min(len(a), len(b)) {
		a[i] += b[i]
	}
	return a
}
