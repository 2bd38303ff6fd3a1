// Package shuffle sends the same records through an exchange in different ways: into few
// and into many partitions, in one process of two cores and between two workers of one core
// each. Nobody is beside it: the first way is what the others are compared with.
package shuffle

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work  string // folder for data and outputs
	Bytes int64
	Many  int // partitions, beside 16
	Runs  int
	Log   io.Writer
}

const recordBytes = 100

type bench struct {
	o                 Options
	divisi, job, tera string // programs
	in, want          string // the records, and the right output
}

// Run runs it.
func Run(ctx context.Context, o Options) (res harness.Result, err error) {
	res = harness.Result{Name: "shuffle", Machine: harness.ThisMachine()}
	if o.Work, err = filepath.Abs(o.Work); err != nil {
		return res, err
	}
	b := &bench{o: o}
	if err := b.prepare(ctx); err != nil {
		return res, err
	}
	defer os.RemoveAll(b.path("out-shuffle"))
	rows := o.Bytes / recordBytes
	row := func(work string, entries ...harness.Entry) {
		r := harness.Row{Work: work, Bytes: rows * recordBytes, Size: fmt.Sprintf("%.2f GB", float64(rows)*recordBytes/1e9)}
		res.Rows = append(res.Rows, harness.Compare(ctx, r, o.Runs, o.Log, entries...))
	}
	row("an exchange into few and many partitions, in process", b.process("16 ways", 16), b.process(fmt.Sprintf("%d ways", o.Many), o.Many))
	row("an exchange in one process and between workers, 16 ways", b.pinned(), b.workers("two workers of one core, on one machine", "one", "one"),
		b.workers("two workers of one core, as if on two", "one", "other"))
	return res, nil
}

func (b *bench) path(name string) string { return filepath.Join(b.o.Work, name) }

// prepare makes the programs, the records, once, and what the right output is.
func (b *bench) prepare(ctx context.Context) (err error) {
	bin := harness.Binaries{Dir: b.path("bin-shuffle")}
	for pkg, to := range map[string]*string{"./cmd/divisi": &b.divisi, "./benchmarks/shuffle/exchange": &b.job, "./examples/terasort": &b.tera} {
		if *to, err = bin.Build(ctx, pkg); err != nil {
			return err
		}
	}
	rows := strconv.FormatInt(b.o.Bytes/recordBytes, 10)
	b.in = b.path("tera-" + rows)
	if _, err := os.Stat(filepath.Join(b.in, "_SUCCESS")); err != nil {
		if err := harness.Command(ctx, "", b.tera, "--mode", "replace", "--progress", "none", "gen", rows, b.in); err != nil {
			return err
		}
	}
	b.want, err = sums(b.in)
	return err
}

// sums is what the output has to be: the number of records and the sum of their checksums,
// by a loop over the files.
func sums(in string) (string, error) {
	parts, err := filepath.Glob(filepath.Join(in, "part-*"))
	if err != nil {
		return "", err
	}
	var rows, sum int64
	for _, p := range parts {
		text, err := os.ReadFile(p)
		if err != nil {
			return "", err
		}
		for ; len(text) >= recordBytes; text = text[recordBytes:] {
			rows++
			sum += int64(crc32.ChecksumIEEE(text[:recordBytes]))
		}
	}
	return fmt.Sprintf("%d\t%d\n", rows, sum), nil
}

// check compares the one line of an output.
func (b *bench) check() error {
	lines, err := harness.Lines(b.path("out-shuffle") + "/part-*")
	if err != nil {
		return err
	}
	if len(lines) != 1 || string(lines[0]) != b.want {
		return fmt.Errorf("the output is wrong: %d lines, %q, want %q", len(lines), lines, b.want)
	}
	return nil
}

// run is the job, with a program and its arguments before it.
func (b *bench) run(ctx context.Context, ways int, before []string, flags ...string) error {
	args := append(append(before, b.job, "--mode", "replace", "--progress", "none"), flags...)
	args = append(args, "--ways", strconv.Itoa(ways), b.in, b.path("out-shuffle"))
	return harness.Command(ctx, "", args[0], args[1:]...)
}

// process is a contender without a cluster.
func (b *bench) process(name string, ways int) harness.Entry {
	return harness.Entry{
		Name: "divisi, " + name, Version: "this", Command: fmt.Sprintf("exchange --ways %d IN OUT", ways), Check: b.check,
		Run: func(ctx context.Context) error { return b.run(ctx, ways, nil) },
	}
}

// pinned is one process that has the two cores of the workers.
func (b *bench) pinned() harness.Entry {
	return harness.Entry{
		Name: "divisi, one process of two cores", Version: "this", Command: "taskset -c 0,1 exchange --ways 16 IN OUT", Check: b.check,
		Run: func(ctx context.Context) error { return b.run(ctx, 16, []string{"taskset", "-c", "0,1"}) },
	}
}

// workers are one on each core. Whoever is on the same machine reads the other's files, all
// others ask for them.
func (b *bench) workers(name string, machines ...string) harness.Entry {
	c := &cluster{divisi: b.divisi, dir: b.path("cluster-shuffle"), machines: machines}
	return harness.Entry{
		Name: "divisi, " + name, Version: "this", Command: "taskset -c N divisi worker --slots 1 --machine M; exchange --cluster … --ways 16 IN OUT", Check: b.check,
		Before: c.start, After: c.stop,
		Run: func(ctx context.Context) error { return b.run(ctx, 16, nil, "--cluster", c.address) },
	}
}
