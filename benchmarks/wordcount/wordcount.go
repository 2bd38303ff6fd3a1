// Package wordcount counts the words of a Zipf text with this engine and its peers,
// side by side. Every output is compared whole with a plain program's.
package wordcount

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/divisi-data/divisi/benchmarks/harness"
	"github.com/divisi-data/divisi/benchmarks/zipf"
)

// Options of the benchmark.
type Options struct {
	Work       string // folder for data and outputs
	Bytes      int64
	Vocabulary int
	Runs       int
	Slow       bool // also peers that need minutes
	Log        io.Writer
}

type bench struct {
	o       Options
	machine harness.Machine
	in      string
	truth   string // the digest of the right output
	outs    []string

	divisi, job, closure, plain string // programs
}

// beamBytes is the size of the text that Beam gets, which counts less than one MB a second.
const beamBytes = 30_000_000

// Run runs it.
func Run(ctx context.Context, o Options) (harness.Result, error) {
	res := harness.Result{Name: "wordcount", Machine: harness.ThisMachine()}
	row, err := compare(ctx, o, res.Machine, func(b *bench) ([]harness.Entry, error) {
		peers, err := b.peers(ctx)
		return append(b.ours(), peers...), err
	})
	if err != nil {
		return res, err
	}
	res.Rows = append(res.Rows, row)
	if !o.Slow {
		return res, nil
	}
	o.Bytes = min(o.Bytes, beamBytes)
	row, err = compare(ctx, o, res.Machine, func(b *bench) ([]harness.Entry, error) {
		beam, err := b.beam(ctx)
		return []harness.Entry{b.inProcess(), b.plainGo(), beam}, err
	})
	if err != nil {
		return res, err
	}
	res.Rows = append(res.Rows, row)
	return res, nil
}

// compare makes the row of one text.
func compare(ctx context.Context, o Options, m harness.Machine, contenders func(*bench) ([]harness.Entry, error)) (harness.Row, error) {
	b := &bench{o: o, machine: m}
	if err := b.prepare(ctx); err != nil {
		return harness.Row{}, err
	}
	defer b.clean()
	entries, err := contenders(b)
	if err != nil {
		return harness.Row{}, err
	}
	row := harness.Row{
		Work:  fmt.Sprintf("word count, Zipf text, %d distinct words", o.Vocabulary),
		Bytes: o.Bytes, Size: fmt.Sprintf("%.2f GB", float64(o.Bytes)/1e9),
	}
	return harness.Compare(ctx, row, o.Runs, o.Log, entries...), nil
}

// prepare makes the input, the programs and the truth.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.in, err = Text(b.o); err != nil {
		return err
	}
	bin := harness.Binaries{Dir: filepath.Join(b.o.Work, "bin")}
	for pkg, to := range map[string]*string{
		"./cmd/divisi": &b.divisi, "./examples/wordcount": &b.job, "./benchmarks/wordcount/closure": &b.closure, "./benchmarks/wordcount/plain": &b.plain,
	} {
		if *to, err = bin.Build(ctx, pkg); err != nil {
			return err
		}
	}
	if err := harness.Command(ctx, b.out("truth"), b.plain, b.in); err != nil {
		return err
	}
	b.truth, err = harness.Digest(b.out("truth"))
	return err
}

// out is where a contender's output is, until clean.
func (b *bench) out(name string) string {
	path := filepath.Join(b.o.Work, "out-"+name)
	if !slices.Contains(b.outs, path) {
		b.outs = append(b.outs, path)
	}
	return path
}

func (b *bench) clean() {
	for _, path := range b.outs {
		if err := os.RemoveAll(path); err != nil {
			fmt.Fprintln(b.o.Log, err)
		}
	}
}

// same compares a contender's whole output, whose files are what its name and glob give,
// with the truth.
func (b *bench) same(name, glob string) func() error {
	return func() error { return harness.SameLines(b.truth, b.out(name)+glob) }
}

// ours are this engine's contenders.
func (b *bench) ours() []harness.Entry {
	cluster := &harness.Cluster{Divisi: b.divisi, Workers: 3, Slots: 1, Memory: "256MiB", Dir: filepath.Join(b.o.Work, "cluster")}
	return []harness.Entry{
		{
			Name: "divisi, cluster of 3 workers", Version: "this", Command: "wordcount --cluster … IN OUT",
			Before: cluster.Start, After: cluster.Stop,
			Run:   func(ctx context.Context) error { return b.run(ctx, b.job, "cluster", "--cluster", cluster.Coordinator) },
			Check: b.same("cluster", "/part-*"),
		},
		b.inProcess(),
		{
			Name: "divisi, a user's closure", Version: "this", Command: "FlatMap with strings.Fields, in process",
			Run:   func(ctx context.Context) error { return b.run(ctx, b.closure, "closure", "--memory", "512MiB") },
			Check: b.same("closure", "/part-*"),
		},
	}
}

func (b *bench) inProcess() harness.Entry {
	return harness.Entry{
		Name: "divisi, in process", Version: "this", Command: "wordcount IN OUT",
		Run:   func(ctx context.Context) error { return b.run(ctx, b.job, "process", "--memory", "512MiB") },
		Check: b.same("process", "/part-*"),
	}
}

func (b *bench) run(ctx context.Context, program, name string, args ...string) error {
	args = append(args, "--mode", "replace", "--progress", "none", b.in, b.out(name))
	return harness.Command(ctx, "", program, args...)
}

// Text writes the input once and keeps it: its name. Of the options it needs Work, Bytes,
// Vocabulary and Log.
func Text(o Options) (string, error) {
	name := filepath.Join(o.Work, fmt.Sprintf("zipf-%d-%d.txt", o.Bytes, o.Vocabulary))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(o.Work, 0o755); err != nil {
		return "", err
	}
	fmt.Fprintf(o.Log, "writing %s\n", strings.TrimPrefix(name, o.Work+"/"))
	f, err := os.Create(name + ".part")
	if err != nil {
		return "", err
	}
	if _, _, err := (zipf.Text{Bytes: o.Bytes, Vocabulary: o.Vocabulary, Exponent: 1, Seed: 1}).Write(f); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return name, os.Rename(name+".part", name)
}
