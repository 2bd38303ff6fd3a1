package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

// powers is the same in floats and maps.
func powers(in string, iterations int) map[string]float64 {
	to, nodes := map[string][]string{}, map[string]float64{}
	for line := range strings.Lines(in) {
		a, b, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		to[a] = append(to[a], b)
		nodes[a], nodes[b] = 0, 0
	}
	n := float64(len(nodes))
	for v := range nodes {
		nodes[v] = 1 / n
	}
	for range iterations {
		next, dangling := map[string]float64{}, 0.0
		for v, r := range nodes {
			if len(to[v]) == 0 {
				dangling += r
			}
			for _, w := range to[v] {
				next[w] += r / float64(len(to[v]))
			}
		}
		for v := range nodes {
			nodes[v] = 0.15/n + 0.85*(next[v]+dangling/n)
		}
	}
	return nodes
}

func TestPagerank(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	var skewed strings.Builder
	for range 3000 {
		to := 0
		if rnd.IntN(10) == 0 {
			to = rnd.IntN(500)
		}
		fmt.Fprintf(&skewed, "n%d\tn%d\n", rnd.IntN(300), to)
	}
	for name, in := range map[string]string{
		"ordinary":      "a\tb\na\tc\nb\tc\nc\ta\nd\tc\nd\tc\nd\ta\ne\te\n",
		"dangling":      "a\tb\nc\tb\n",
		"empty":         "",
		"one link":      "a\tb",
		"one to itself": "a\ta",
		"skewed":        skewed.String(),
	} {
		for _, iterations := range []int{0, 1, 6} {
			if iterations == 1 && name != "ordinary" || iterations == 0 && len(in) > 1000 {
				continue
			}
			t.Run(fmt.Sprintf("%s, %d iterations", name, iterations), func(t *testing.T) {
				t.Parallel()
				lines := divisitest.RunArgs(t, pagerank, func(in []string, out string) []string {
					return []string{"--iterations", strconv.Itoa(iterations), in[0], out}
				}, in)
				want := powers(in, iterations)
				if len(lines) != len(want) {
					t.Fatalf("%d nodes, want %d", len(lines), len(want))
				}
				var sum float64
				for _, line := range lines {
					node, text, _ := strings.Cut(line, "\t")
					got, err := strconv.ParseFloat(text, 64)
					if r, ok := want[node]; err != nil || !ok || math.Abs(got-r) > 1e-12 {
						t.Errorf("%q: %v, want %v", line, err, r)
					}
					sum += got
				}
				if len(want) > 0 && math.Abs(sum-1) > 1e-12 {
					t.Errorf("ranks sum to %v", sum)
				}
			})
		}
	}
}
