// Package divisitest runs jobs in tests: in process, over the same code path as on
// a cluster, and several times, since how a job's data was divided must not show in
// its result.
package divisitest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/dataflow"
)

// partitions are the numbers that each job is run with.
var partitions = []int{1, 2, 7}

// Run runs a job with the arguments IN... OUT: each input is the text of a file.
// It does so at 1, 2 and 7 partitions, fails the test if a run fails or two runs
// differ, and returns the lines of the output, sorted.
func Run(t testing.TB, build func(*dataflow.Job), inputs ...string) []string {
	t.Helper()
	return RunArgs(t, build, func(in []string, out string) []string { return append(slices.Clone(in), out) }, inputs...)
}

// RunArgs is Run for a job with other arguments: args is given the names of the
// input files and of the output folder.
func RunArgs(t testing.TB, build func(*dataflow.Job), args func(in []string, out string) []string, inputs ...string) []string {
	t.Helper()
	dir := t.TempDir()
	var names []string
	for i, text := range inputs {
		name := filepath.Join(dir, fmt.Sprintf("in-%d.txt", i))
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	var first []string
	for i, n := range partitions {
		out := filepath.Join(dir, fmt.Sprintf("out-%d", n))
		_, err := divisi.Run(context.Background(), build, args(slices.Clone(names), out),
			divisi.Partitions(n), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check())
		if err != nil {
			t.Fatalf("with %d partitions: %v", n, err)
		}
		got := Lines(t, out)
		if i == 0 {
			first = got
			continue
		}
		if !slices.Equal(got, first) {
			t.Fatalf("the result depends on the number of partitions: %s", difference(first, got, partitions[0], n))
		}
	}
	return first
}

// Lines reads a job's output folder of local text files: the lines of all parts,
// sorted. It fails the test if the output is not complete.
func Lines(t testing.TB, out string) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		t.Fatalf("the output is not complete: %v", err)
	}
	parts, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, p := range parts {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(b)) {
			lines = append(lines, strings.TrimSuffix(l, "\n"))
		}
	}
	slices.Sort(lines)
	return lines
}

func difference(a, b []string, na, nb int) string {
	for i := range max(len(a), len(b)) {
		x, y := "nothing", "nothing"
		if i < len(a) {
			x = fmt.Sprintf("%q", a[i])
		}
		if i < len(b) {
			y = fmt.Sprintf("%q", b[i])
		}
		if x != y {
			return fmt.Sprintf("line %d of the sorted output is %s with %d, %s with %d", i+1, x, na, y, nb)
		}
	}
	return "same lines"
}
