package tpch

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// result reads the rows of query q from files of CSV (a pattern), each with a header,
// which comes once. Rows whose order the query leaves free come sorted.
func result(q int, pattern string) ([][]string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no file matches %s", pattern)
	}
	var all [][]string
	for _, name := range names {
		rows, err := readCSV(name)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 && len(rows) > 0 {
			rows = rows[1:] // the header
		}
		all = append(all, rows...)
	}
	if q == 11 && len(all) > 0 { // ties in its order
		slices.SortStableFunc(all[1:], func(a, b []string) int {
			x, _ := strconv.ParseFloat(a[1], 64)
			y, _ := strconv.ParseFloat(b[1], 64)
			return cmp.Or(cmp.Compare(x, y), strings.Compare(a[0], b[0]))
		})
	}
	return all, nil
}

func readCSV(name string) ([][]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	// A null alone in its row is an empty line, which encoding/csv passes over.
	whole := strings.ReplaceAll(string(text), "\n\n", "\n\"\"\n")
	rows, err := csv.NewReader(strings.NewReader(whole)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return rows, nil
}

// compare says where results differ, by more than slack and beyond the last digits of a
// double; the names of columns count where names does.
func compare(got, want [][]string, names bool, slack float64) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d rows, want %d", len(got)-1, len(want)-1)
	}
	for i := range want {
		if len(got[i]) != len(want[i]) {
			return fmt.Sprintf("row %d is %q, want %q", i, got[i], want[i])
		}
		if i == 0 && !names {
			continue
		}
		for c, w := range want[i] {
			if g := got[i][c]; !alike(g, w, slack) {
				return fmt.Sprintf("row %d, %s is %q, want %q\n%q\n%q", i, want[0][c], g, w, got[i], want[i])
			}
		}
	}
	return ""
}

func alike(g, w string, slack float64) bool {
	if g == w {
		return true
	}
	x, errX := strconv.ParseFloat(g, 64)
	y, errY := strconv.ParseFloat(w, 64)
	return errX == nil && errY == nil && math.Abs(x-y) <= max(slack, 1e-9*max(math.Abs(x), math.Abs(y)))
}
