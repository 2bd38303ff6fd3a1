// Package terasort sorts the records of TeraSort with this engine, beside GNU sort and
// beside a program that only moves the same bytes: read, write, read, write, which is
// what a sort of more than fits the memory cannot do without.
package terasort

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
)

// Options of the benchmark.
type Options struct {
	Work   string // folder for data and outputs
	Bytes  int64
	Memory int64 // of each contender, in MiB
	Runs   int
	Log    io.Writer
}

const recordBytes = 100

// Run runs it.
func Run(ctx context.Context, o Options) (harness.Result, error) {
	res := harness.Result{Name: "terasort", Machine: harness.ThisMachine()}
	bin := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}
	job, err := bin.Build(ctx, "./examples/terasort")
	if err != nil {
		return res, err
	}
	plain, err := bin.Build(ctx, "./benchmarks/terasort/plain")
	if err != nil {
		return res, err
	}
	b := bench{o: o, job: job, plain: plain, rows: o.Bytes / recordBytes}
	if err := b.inputs(ctx); err != nil {
		return res, err
	}
	defer os.RemoveAll(b.path("tmp-terasort"))
	if err := os.MkdirAll(b.path("tmp-terasort"), 0o755); err != nil {
		return res, err
	}
	records, err := b.print(ctx, job, "checksum", b.in)
	if err != nil {
		return res, err
	}
	text, err := b.print(ctx, plain, "checksum", b.text)
	if err != nil {
		return res, err
	}
	out, sorted, moved := b.path("out-terasort"), b.path("out-terasort.txt"), b.path("out-terasort.moved")
	memory := strconv.FormatInt(o.Memory, 10)
	tmp := b.path("tmp-terasort")
	entries := []harness.Entry{
		{
			Name: "divisi, in process", Version: "this", Command: "terasort --memory " + memory + "MiB sort IN OUT",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", job, "--memory", memory+"MiB", "--tmp", tmp, "--mode", "replace", "--progress", "none", "sort", b.in, out)
			},
			Check: func() error { return b.same(ctx, records, job, "validate", out) },
		},
		{
			Name: "the disk's limit", Version: "this", Command: "read, write, read, write, fsync",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", plain, "move", b.text, filepath.Join(tmp, "moved"), moved)
			},
			Check: func() error { return b.same(ctx, text, plain, "checksum", moved) },
		},
		{
			Name: "GNU sort", Version: harness.VersionOf("sort", "--version"), Command: "LC_ALL=C sort -S " + memory + "M --parallel=2 -k1.1,1.10",
			Run: func(ctx context.Context) error {
				return harness.Command(ctx, "", "env", "LC_ALL=C", "sort", "-S", memory+"M", "--parallel=2", "-T", tmp, "-k1.1,1.10", "-o", sorted, b.text)
			},
			Check: func() error { return b.same(ctx, text, plain, "validate", sorted) },
		},
	}
	row := harness.Row{
		Work:  fmt.Sprintf("TeraSort in %d MiB of memory (GNU sort: lines of the same length)", o.Memory),
		Bytes: b.rows * recordBytes, Size: fmt.Sprintf("%.2f GB", float64(b.rows)*recordBytes/1e9),
	}
	res.Rows = append(res.Rows, harness.Compare(ctx, row, o.Runs, o.Log, entries...))
	for _, name := range []string{out, sorted, moved} {
		if err := os.RemoveAll(name); err != nil {
			return res, err
		}
	}
	return res, nil
}

type bench struct {
	o          Options
	job, plain string // programs
	rows       int64
	in, text   string // the same number of records, and of lines made of them
}

func (b *bench) path(name string) string { return filepath.Join(b.o.Work, name) }

// inputs makes the records and the lines once and keeps them.
func (b *bench) inputs(ctx context.Context) error {
	b.in = b.path(fmt.Sprintf("tera-%d", b.rows))
	if _, err := os.Stat(filepath.Join(b.in, "_SUCCESS")); err != nil {
		if err := harness.Command(ctx, "", b.job, "--mode", "replace", "--progress", "none", "gen", strconv.FormatInt(b.rows, 10), b.in); err != nil {
			return err
		}
	}
	b.text = b.in + ".txt"
	if _, err := os.Stat(b.text); err == nil {
		return nil
	}
	parts, err := filepath.Glob(filepath.Join(b.in, "part-*"))
	if err != nil {
		return err
	}
	if err := harness.Command(ctx, b.text+".part", b.plain, append([]string{"lines"}, parts...)...); err != nil {
		return err
	}
	return os.Rename(b.text+".part", b.text)
}

// print is what a program writes about some data.
func (b *bench) print(ctx context.Context, program, command, data string) ([]byte, error) {
	name := b.path("out-terasort-sum")
	defer os.Remove(name)
	if err := harness.Command(ctx, name, program, command, data); err != nil {
		return nil, err
	}
	return os.ReadFile(name)
}

// same fails unless the program says want about an output.
func (b *bench) same(ctx context.Context, want []byte, program, command, output string) error {
	got, err := b.print(ctx, program, command, output)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("the output is wrong: %q, want %q", got, want)
	}
	return err
}
