package main

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The ranks of a generated graph are those of a loop over maps, and sum to one.
func TestRank(t *testing.T) {
	var edges strings.Builder
	if err := run([]string{"graph", "50", "400"}, &edges); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "edges")
	if err := os.WriteFile(name, []byte(edges.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run([]string{"7", name}, &out); err != nil {
		t.Fatal(err)
	}
	want := powers(edges.String(), 7)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d nodes, want %d", len(lines), len(want))
	}
	sum, most := 0.0, 0.0
	for _, l := range lines {
		node, text, _ := strings.Cut(l, "\t")
		r, err := strconv.ParseFloat(text, 64)
		if err != nil || math.Abs(r-want[node]) > 1e-12 {
			t.Errorf("%q: %v, want %v", l, err, want[node])
		}
		sum, most = sum+r, max(most, r)
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("the ranks sum to %v", sum)
	}
	if most < 3/float64(len(lines)) {
		t.Errorf("the highest rank of %d nodes is %v: no power law", len(lines), most)
	}
}

// powers is the same in maps of names.
func powers(edges string, iterations int) map[string]float64 {
	to, ranks := map[string][]string{}, map[string]float64{}
	for line := range strings.Lines(edges) {
		a, b, _ := strings.Cut(strings.TrimSpace(line), "\t")
		to[a] = append(to[a], b)
		ranks[a], ranks[b] = 0, 0
	}
	n := float64(len(ranks))
	for v := range ranks {
		ranks[v] = 1 / n
	}
	for range iterations {
		next, lost := map[string]float64{}, 0.0
		for v, r := range ranks {
			for _, w := range to[v] {
				next[w] += r / float64(len(to[v]))
			}
			if len(to[v]) == 0 {
				lost += r
			}
		}
		for v := range ranks {
			ranks[v] = 0.15/n + 0.85*(next[v]+lost/n)
		}
	}
	return ranks
}
