// Package durability measures what it costs that results are durable and checked: the
// same jobs with the journal, the hashes of rows with the checksums of frames and files,
// and the manifests of outputs, and without each of them and without all. Only a program
// that is built for this can leave them out (see internal/bare).
package durability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/wordcount"
)

// Options of the benchmark.
type Options struct {
	Work  string // folder for data, outputs and the jobs' temporary files
	Bytes int64  // of each input
	Tasks int    // of the job that does nothing
	Runs  int    // of each job in each way; four times as many of the one that does nothing
	Log   io.Writer
}

// ways of running a job, by what is left out. The first is how it is meant to be.
var ways = []struct{ name, without string }{
	{"with all of it", ""},
	{"without the journal", "journal"},
	{"without hashes and checksums", "hashes"},
	{"without manifests", "manifests"},
	{"without any of them", "journal,hashes,manifests"},
}

// variable is what tells the programs, as internal/bare has it in their build.
const variable = "DIVISI_BENCH_WITHOUT"

// A work is a job that can be run in all ways.
type work struct {
	what  string
	bytes int64
	tasks int64 // where there are no bytes
	size  string
	runs  int      // of each way
	args  []string // the program first; the output's name is added
	check func(out string) error
}

// Run runs it.
func Run(ctx context.Context, o Options) (harness.Result, error) {
	res := harness.Result{Name: "durability", Machine: harness.ThisMachine()}
	bin := harness.Binaries{Dir: filepath.Join(o.Work, "bin")}
	for _, prepare := range []func(context.Context, Options, harness.Binaries) (work, error){words, records, nothing} {
		w, err := prepare(ctx, o, bin)
		if err != nil {
			return res, err
		}
		row, err := w.compare(ctx, o)
		if err != nil {
			return res, err
		}
		res.Rows = append(res.Rows, row)
	}
	return res, nil
}

func (w work) compare(ctx context.Context, o Options) (harness.Row, error) {
	out := filepath.Join(o.Work, "out-durability")
	tmp := filepath.Join(o.Work, "tmp-durability")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return harness.Row{}, err
	}
	command := slices.Insert(slices.Clone(w.args), 1, "--tmp", tmp, "--mode", "replace", "--progress", "none")
	command = append(command, out)
	var entries []harness.Entry
	for _, way := range ways {
		entries = append(entries, harness.Entry{
			Name: way.name, Version: "this", Command: variable + "=" + way.without,
			Before: func() error { return errors.Join(os.RemoveAll(out), os.Setenv(variable, way.without)) },
			Run:    func(ctx context.Context) error { return harness.Command(ctx, "", command[0], command[1:]...) },
			Check:  func() error { return w.check(out) },
			After:  func() error { return os.Unsetenv(variable) },
		})
	}
	row := harness.Compare(ctx, harness.Row{Work: w.what, Bytes: w.bytes, Items: w.tasks, Item: "task", Size: w.size}, w.runs, o.Log, entries...)
	costs(row.Contenders)
	return row, errors.Join(os.RemoveAll(out), os.RemoveAll(tmp))
}

// costs says of each way but the first what that which it leaves out costs.
func costs(all []harness.Contender) {
	for i := 1; i < len(all); i++ {
		if c := &all[i]; c.Error == "" && all[0].Error == "" {
			c.Cost = &harness.Cost{Wall: harness.Saved(all[0].Seconds, c.Seconds), CPU: harness.Saved(all[0].CPU, c.CPU)}
		}
	}
}

// words counts those of a text.
func words(ctx context.Context, o Options, bin harness.Binaries) (work, error) {
	in, err := wordcount.Text(wordcount.Options{Work: o.Work, Bytes: o.Bytes, Vocabulary: 100_000, Log: o.Log})
	if err != nil {
		return work{}, err
	}
	job, err := bin.BuildWithout(ctx, "./examples/wordcount")
	if err != nil {
		return work{}, err
	}
	plain, err := bin.Build(ctx, "./benchmarks/wordcount/plain")
	if err != nil {
		return work{}, err
	}
	counted := filepath.Join(o.Work, "out-durability-truth")
	defer os.Remove(counted)
	if err := harness.Command(ctx, counted, plain, in); err != nil {
		return work{}, err
	}
	truth, err := harness.Digest(counted)
	return work{
		what: "word count, Zipf text, 100,000 distinct words, in process", bytes: o.Bytes, runs: o.Runs, size: fmt.Sprintf("%.2f GB", float64(o.Bytes)/1e9),
		args: []string{job, in}, check: func(out string) error { return harness.SameLines(truth, out+"/part-*") },
	}, err
}

// records sorts those of TeraSort.
func records(ctx context.Context, o Options, bin harness.Binaries) (work, error) {
	job, err := bin.BuildWithout(ctx, "./examples/terasort")
	if err != nil {
		return work{}, err
	}
	rows := o.Bytes / 100
	in := filepath.Join(o.Work, fmt.Sprintf("tera-%d", rows))
	if _, err := os.Stat(filepath.Join(in, "_SUCCESS")); err != nil {
		if err := harness.Command(ctx, "", job, "--mode", "replace", "--progress", "none", "gen", strconv.FormatInt(rows, 10), in); err != nil {
			return work{}, err
		}
	}
	sum := func(command, dir string) ([]byte, error) {
		name := filepath.Join(o.Work, "out-durability-sum")
		defer os.Remove(name)
		if err := harness.Command(ctx, name, job, command, dir); err != nil {
			return nil, err
		}
		return os.ReadFile(name)
	}
	truth, err := sum("checksum", in)
	return work{
		what: "TeraSort, in process", runs: o.Runs, bytes: rows * 100, size: fmt.Sprintf("%.2f GB", float64(rows)/1e7), args: []string{job, "sort", in},
		check: func(out string) error {
			got, err := sum("validate", out)
			if err == nil && !bytes.Equal(got, truth) {
				err = fmt.Errorf("the output is wrong: %s, want %s", got, truth)
			}
			return err
		},
	}, err
}

// shorter is how many times as many runs the shortest job has: one alone says little.
const shorter = 4

// nothing is a job of tasks without work, of which the journal is the largest part that
// it can be.
func nothing(ctx context.Context, o Options, bin harness.Binaries) (work, error) {
	job, err := bin.BuildWithout(ctx, "./benchmarks/noop")
	return work{
		what: "tasks that do nothing, in process", runs: shorter * o.Runs, tasks: int64(o.Tasks), size: fmt.Sprintf("%d tasks", o.Tasks), args: []string{job, strconv.Itoa(o.Tasks)},
		check: func(out string) error {
			_, err := os.Stat(filepath.Join(out, "_SUCCESS"))
			return err
		},
	}, err
}
