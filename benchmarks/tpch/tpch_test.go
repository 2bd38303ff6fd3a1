package tpch

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/internal/race"
)

// Every query gives the checked answers, whatever the number of partitions.
func TestAnswers(t *testing.T) {
	data, err := filepath.Abs("testdata/sf0.01")
	if err != nil {
		t.Fatal(err)
	}
	for q := 1; q <= len(queries); q++ {
		want, err := result(q, fmt.Sprintf("testdata/answers/q%02d.csv", q))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{7, 2, 1}[:race.Tries(3, 3, 1)] {
			t.Run(fmt.Sprintf("q%d/partitions=%d", q, n), func(t *testing.T) {
				dir := t.TempDir()
				out := filepath.Join(dir, "out")
				_, err := divisi.Run(t.Context(), Query, []string{"--data", data, "--query", strconv.Itoa(q), "--out", out},
					divisi.Partitions(n), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check())
				if err != nil {
					t.Fatal(err)
				}
				got, err := result(q, filepath.Join(out, "part-*"))
				if err != nil {
					t.Fatal(err)
				}
				if problem := compare(got, want, true, 0); problem != "" {
					t.Error(problem)
				}
			})
		}
	}
}

func TestCompareCanFail(t *testing.T) {
	a := [][]string{{"x"}, {"1.0"}}
	for _, b := range [][][]string{{{"x"}, {"1.1"}}, {{"y"}, {"1.0"}}, {{"x"}}, {{"x"}, {"a"}}} {
		if compare(a, b, true, 0) == "" {
			t.Errorf("%v and %v are alike", a, b)
		}
	}
	if problem := compare(a, [][]string{{"x"}, {"1.00"}}, true, 0); problem != "" {
		t.Error(problem)
	}
}
