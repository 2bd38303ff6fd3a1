//go:build unix

package streaming_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/streaming"
)

// A bench is a folder with inputs, in which jobs run and the shell that checks them.
type bench struct {
	t   *testing.T
	dir string
	n   int
}

func newBench(t *testing.T, inputs ...string) *bench {
	t.Helper()
	t.Parallel()
	b := &bench{t: t, dir: t.TempDir()}
	for i, text := range inputs {
		b.write(fmt.Sprintf("in-%d.txt", i), text)
	}
	for _, name := range []string{"mapper.py", "reducer.py", "stopwords.py", "visits.awk"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		b.write(name, string(text))
	}
	return b
}

// python leaves the test out where there is none, but in CI.
func (b *bench) python() {
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") != "" {
			b.t.Fatal("python3 is needed: ", err)
		}
		b.t.Skip("NOT TESTED: python3 is not installed: ", err)
	}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// shell is the lines that a command of the shell prints in the folder.
func (b *bench) shell(command string) []string {
	b.t.Helper()
	cmd := exec.Command("sh", "-ec", command)
	cmd.Dir, cmd.Stderr = b.dir, os.Stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("%s: %v", command, err)
	}
	return lines(string(out))
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// run runs a job with these flags over the inputs, and returns the lines of each part of
// its output, by the number of the part.
func (b *bench) run(flags ...string) (parts [][]string, sum divisi.Summary) {
	b.t.Helper()
	parts, sum, err := b.try(flags...)
	if err != nil {
		b.t.Fatal(err)
	}
	return parts, sum
}

func (b *bench) try(flags ...string) (parts [][]string, sum divisi.Summary, err error) {
	b.t.Helper()
	b.n++
	out := b.path(fmt.Sprintf("out-%d", b.n))
	if !slices.Contains(flags, "-input") {
		flags = append(flags, "-input", b.path("in-*.txt"))
	}
	spec, warnings, err := streaming.Parse(append(flags, "-output", out))
	if err != nil || len(warnings) > 0 {
		b.t.Fatal(err, warnings)
	}
	for i, f := range spec.Files {
		spec.Files[i].Path = b.path(filepath.Base(f.Path))
	}
	text, err := spec.Encode()
	if err != nil {
		b.t.Fatal(err)
	}
	build := func(j *df.Job) {
		s, err := streaming.Decode(j.Arg(0))
		if err != nil {
			b.t.Error(err)
		}
		streaming.Build(j, s)
	}
	sum, err = divisi.Run(b.t.Context(), build, []string{text}, divisi.TempDir(b.dir), divisi.Parallelism(2), divisi.Check())
	if err != nil {
		return nil, sum, err
	}
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		b.t.Error(err)
	}
	names, _ := filepath.Glob(filepath.Join(out, "part-*"))
	for _, name := range names { // a task that writes nothing makes no part
		digits, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(name), "part-"), ".")
		n, err := strconv.Atoi(digits)
		if err != nil {
			b.t.Fatal(err)
		}
		for len(parts) < n {
			parts = append(parts, nil)
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		if strings.HasSuffix(name, ".gz") {
			z, err := gzip.NewReader(bytes.NewReader(raw))
			if err == nil {
				raw, err = io.ReadAll(z)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}
		parts = append(parts, lines(string(raw)))
	}
	return parts, sum, nil
}

func (b *bench) same(name string, got, want []string) {
	b.t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			b.t.Errorf("%s: %d lines, want %d; the first that lacks is %q", name, len(got), len(want), want[i])
		case i >= len(want):
			b.t.Errorf("%s: %d lines, want %d; the first too many is %q", name, len(got), len(want), got[i])
		case got[i] != want[i]:
			b.t.Errorf("%s: line %d is %q, want %q", name, i, got[i], want[i])
		default:
			continue
		}
		return
	}
}

func sortedLines(parts [][]string) []string {
	return slices.Sorted(slices.Values(slices.Concat(parts...)))
}

// prose is lines of words of which some are much more frequent than others.
func prose(seed uint64, lines int) string {
	rng := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	for range lines {
		for range rng.IntN(12) {
			n := int(rng.ExpFloat64() * 20)
			b.WriteString([]string{"the", "word", "größe", "a"}[n%4])
			if n > 8 {
				fmt.Fprint(&b, n)
			}
			b.WriteString([]string{" ", "  ", "\t"}[rng.IntN(3)])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
