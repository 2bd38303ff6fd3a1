package main

import (
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
		want := readCSV(t, fmt.Sprintf("testdata/answers/q%02d.csv", q))
		for _, n := range []int{7, 2, 1}[:race.Tries(3, 3, 1)] {
			t.Run(fmt.Sprintf("q%d/partitions=%d", q, n), func(t *testing.T) {
				dir := t.TempDir()
				out := filepath.Join(dir, "out")
				_, err := divisi.Run(t.Context(), tpch, []string{"--data", data, "--query", strconv.Itoa(q), "--out", out},
					divisi.Partitions(n), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check())
				if err != nil {
					t.Fatal(err)
				}
				parts, err := filepath.Glob(filepath.Join(out, "part-*"))
				if err != nil {
					t.Fatal(err)
				}
				var got [][]string
				for _, p := range parts {
					rows := readCSV(t, p)
					if len(got) > 0 && len(rows) > 0 {
						rows = rows[1:] // the header
					}
					got = append(got, rows...)
				}
				if q == 11 { // ties in its order
					for _, rows := range [][][]string{got[1:], want[1:]} {
						slices.SortStableFunc(rows, func(a, b []string) int { return strings.Compare(a[1]+a[0], b[1]+b[0]) })
					}
				}
				if problem := compare(got, want); problem != "" {
					t.Error(problem)
				}
			})
		}
	}
}

func readCSV(t *testing.T, name string) [][]string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// A null alone in its row is an empty line, which encoding/csv passes over.
	whole := strings.ReplaceAll(string(text), "\n\n", "\n\"\"\n")
	rows, err := csv.NewReader(strings.NewReader(whole)).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return rows
}

// compare says where results differ, beyond the last digits of a double.
func compare(got, want [][]string) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d rows, want %d", len(got)-1, len(want)-1)
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			return fmt.Sprintf("row %d is %q, want %q", i, got[i], want[i])
		}
		for c, w := range want[i] {
			g := got[i][c]
			x, errX := strconv.ParseFloat(g, 64)
			y, errY := strconv.ParseFloat(w, 64)
			if g != w && (errX != nil || errY != nil || math.Abs(x-y) > 1e-9*math.Max(math.Abs(x), math.Abs(y))) {
				return fmt.Sprintf("row %d, %s is %q, want %q\n%q\n%q", i, want[0][c], g, w, got[i], want[i])
			}
		}
	}
	return ""
}

func TestCompareCanFail(t *testing.T) {
	a := [][]string{{"x"}, {"1.0"}}
	for _, b := range [][][]string{{{"x"}, {"1.1"}}, {{"y"}, {"1.0"}}, {{"x"}}, {{"x"}, {"a"}}} {
		if compare(a, b) == "" {
			t.Errorf("%v and %v are alike", a, b)
		}
	}
	if problem := compare(a, [][]string{{"x"}, {"1.00"}}); problem != "" {
		t.Error(problem)
	}
}
