// Kmeans finds k centres of points by Lloyd's algorithm:
//
//	kmeans [--k K] [--iterations N] [--seed S] POINTS OUT
//
// A line of POINTS is a point: its coordinates, with commas or white space between
// them; all points have equally many. Iteration begins with K different points (3)
// that are drawn by the seed, the same ones however the data is divided, and takes N
// steps (10). A line of the output is the number of a centre, a tab, and its
// coordinates with commas between them. A centre that no point is nearest to stays
// where it is; of centres equally near, the one of the smaller number is meant.
//
// All iterations are one job.
package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(kmeans) }

// A point is its coordinates.
type point struct{ X []float64 }

// A centre is one of the K, in the order of Number.
type centre struct {
	Number int
	X      []float64
}

func kmeans(j *df.Job) {
	k := j.Int("k", 3, "how many centres")
	iterations := j.Int("iterations", 10, "how many")
	seed := j.Int("seed", 1, "draws the first centres")
	in, out := j.Arg(0), j.Arg(1)
	if k < 1 || iterations < 0 {
		j.Errorf("want --k of at least 1 and --iterations of at least 0")
		return
	}
	points := df.Cached(df.FlatMapErr(df.Read(j, df.Lines(in)), parse))
	centres := draw(points, k, uint64(seed))
	for range iterations {
		centres = step(points, centres)
	}
	df.Write(df.Map(centres, func(c centre) df.Pair[int, string] { return df.KV(c.Number, format(c.X)) }), df.TSV[df.Pair[int, string]](out))
}

func parse(line string, emit df.Emit[point]) error {
	var p point
	for f := range strings.FieldsFuncSeq(line, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\r' }) {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return err
		}
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("coordinate %q is no number to compute with", f)
		}
		p.X = append(p.X, x)
	}
	if p.X != nil {
		emit(p)
	}
	return nil
}

func format(x []float64) string {
	var b []byte
	for i, v := range x {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	return string(b)
}

// drawn orders points at random, the same ones always alike.
type drawn struct {
	Hash uint64
	Text string
}

// draw is k different points.
func draw(points df.Dataset[point], k int, seed uint64) df.Dataset[centre] {
	texts := df.Distinct(df.Map(points, func(p point) string { return format(p.X) }))
	lots := df.BottomN(texts, k, func(text string) drawn {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", seed, text)
		return drawn{h.Sum64(), text}
	})
	return df.MapTask(lots, func(*df.Task) func(string) centre {
		n := -1 // BottomN's rows are in one task
		return func(text string) (c centre) {
			n++
			c.Number = n
			_ = parse(text, func(p point) { c.X = p.X })
			return c
		}
	})
}

// step moves each centre to the mean of the points that are nearest to it.
func step(points df.Dataset[point], centres df.Dataset[centre]) df.Dataset[centre] {
	all := df.SideInput(centres)
	near := df.MapTask(points, func(t *df.Task) func(point) df.Pair[int, point] {
		cs := all.Get(t)
		return func(p point) df.Pair[int, point] {
			if len(p.X) != len(cs[0].X) {
				t.Fail(fmt.Errorf("a point of %d coordinates (%s), others have %d", len(p.X), format(p.X), len(cs[0].X)))
			}
			return df.KV(nearest(cs, p.X), p)
		}
	}, all)
	sums := df.Aggregate(near, df.Aggregator[point, mean, mean]{
		Zero:   func() mean { return mean{} },
		Add:    func(m mean, p point) mean { return m.add(p.X) },
		Merge:  func(a, b mean) mean { return a.merge(b) },
		Finish: func(m mean) mean { return m },
	})
	means := df.SideMap(sums)
	return df.MapTask(centres, func(t *df.Task) func(centre) centre {
		to := means.Get(t)
		return func(c centre) centre {
			if m, ok := to[c.Number]; ok {
				return centre{c.Number, m.value()}
			}
			return c
		}
	}, means)
}

func nearest(cs []centre, x []float64) int {
	best, least := 0, math.Inf(1)
	for _, c := range cs {
		var d float64
		for i, v := range x {
			d += (v - c.X[i]) * (v - c.X[i])
		}
		if d < least {
			best, least = c.Number, d
		}
	}
	return best
}
