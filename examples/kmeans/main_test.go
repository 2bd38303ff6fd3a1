package main

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

// lloyd moves given centres in the plainest way.
func lloyd(points, centres [][]float64, iterations int) [][]float64 {
	for range iterations {
		sums, counts := make([][]float64, len(centres)), make([]float64, len(centres))
		for _, p := range points {
			best, least := 0, math.Inf(1)
			for i, c := range centres {
				d := 0.0
				for k := range p {
					d += (p[k] - c[k]) * (p[k] - c[k])
				}
				if d < least {
					best, least = i, d
				}
			}
			if sums[best] == nil {
				sums[best] = make([]float64, len(p))
			}
			counts[best]++
			for k := range p {
				sums[best][k] += p[k]
			}
		}
		for i := range centres {
			if counts[i] > 0 {
				centres[i] = sums[i]
				for k := range centres[i] {
					centres[i][k] /= counts[i]
				}
			}
		}
	}
	return centres
}

func coordinates(t *testing.T, lines []string) (points [][]float64) {
	for _, line := range lines {
		var p []float64
		for f := range strings.FieldsSeq(strings.ReplaceAll(line, ",", " ")) {
			x, err := strconv.ParseFloat(f, 64)
			if err != nil {
				t.Fatal(err)
			}
			p = append(p, x)
		}
		if p != nil {
			points = append(points, p)
		}
	}
	return points
}

// centresOf are those of a run, by number.
func centresOf(t *testing.T, in string, k, iterations int) [][]float64 {
	lines := divisitest.RunArgs(t, kmeans, func(in []string, out string) []string {
		return []string{"--k", strconv.Itoa(k), "--iterations", strconv.Itoa(iterations), in[0], out}
	}, in)
	out := make([][]float64, len(lines))
	for _, line := range lines {
		number, rest, _ := strings.Cut(line, "\t")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 || n >= len(lines) || out[n] != nil {
			t.Fatalf("%q: no number of a centre, or one that was there before", line)
		}
		out[n] = coordinates(t, []string{rest})[0]
	}
	return out
}

func TestKmeans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	var clouds, skewed strings.Builder
	for i := range 600 {
		c := float64(i % 3 * 10)
		fmt.Fprintf(&clouds, "%g, %g\n", c+rnd.NormFloat64(), -c+rnd.NormFloat64())
		if i%10 == 0 {
			fmt.Fprintf(&skewed, "%g %g %g\n", rnd.Float64(), rnd.Float64(), rnd.Float64())
		} else {
			skewed.WriteString("0.1 0.2 0.3\n")
		}
	}
	for name, in := range map[string]string{
		"ordinary":  clouds.String(),
		"empty":     "",
		"one point": "1.5,2",
		"few":       "1\n\n2\n1\n",
		"skewed":    skewed.String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			points := coordinates(t, strings.Split(in, "\n"))
			begin := centresOf(t, in, 3, 0)
			different := map[string]bool{}
			for _, p := range points {
				different[fmt.Sprint(p)] = true
			}
			for _, c := range begin {
				if !different[fmt.Sprint(c)] {
					t.Errorf("the first centre %v is no point, or one of another centre", c)
				}
				delete(different, fmt.Sprint(c))
			}
			if len(begin) < 3 && len(different) > 0 {
				t.Errorf("%d centres though there are %d points more", len(begin), len(different))
			}
			got, want := centresOf(t, in, 3, 6), lloyd(points, begin, 6)
			if len(got) != len(want) {
				t.Fatalf("got %d centres, want %d", len(got), len(want))
			}
			for i := range want {
				if !slices.EqualFunc(got[i], want[i], func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
					t.Errorf("centre %d: got %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

// TestExactSum compares with sums of unlimited precision, in any order.
func TestExactSum(t *testing.T) {
	rnd := rand.New(rand.NewPCG(15, 16))
	for range 300 {
		var terms []float64
		for range rnd.IntN(30) {
			x := math.Ldexp(rnd.Float64()-0.5, rnd.IntN(240)-120)
			terms = append(terms, x, x, -x*float64(rnd.IntN(2)), 1+math.Ldexp(1, -53))
		}
		exactly := new(big.Float).SetPrec(2000)
		for _, x := range terms {
			exactly.Add(exactly, new(big.Float).SetFloat64(x))
		}
		want, _ := exactly.Float64()
		for range 3 {
			rnd.Shuffle(len(terms), func(i, j int) { terms[i], terms[j] = terms[j], terms[i] })
			var e exact
			for _, x := range terms {
				e.add(x)
			}
			if got := e.value(); got != want {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	}
}
