// Pagerank ranks the nodes of a graph by the links between them:
//
//	pagerank [--iterations N] EDGES OUT
//
// A line of EDGES is a link: from, a tab, to. A link that is there twice counts
// twice, a link of a node to itself like any other. A line of the output is a node,
// a tab, and its rank after N iterations (10) with damping 0.85; all ranks sum to 1.
// The rank of a node without links goes evenly to all nodes.
//
// All iterations are one job.
package main

import (
	"math"
	"slices"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(pagerank) }

// Ranks are whole numbers while they are computed, shares of one. A sum of whole
// numbers does not depend on the order in which they arrive, so every run, in any
// number of partitions, gives the same bytes.
const one = 1 << 60

const damping = 0.85

type (
	amounts = df.Dataset[df.Pair[string, int64]]
	links   = df.Dataset[df.Pair[string, []string]]
	sum     = df.Side[df.Pair[bool, int64]]
)

func pagerank(j *df.Job) {
	iterations := j.Int("iterations", 10, "how many")
	edges := df.Read(j, df.FromTSV[df.Pair[string, string]](j.Arg(0)))
	out := j.Arg(1)
	if iterations < 0 {
		j.Errorf("--iterations %d: want 0 or more", iterations)
		return
	}
	// Kept by key, the links stay where they are in all iterations, and only what
	// flows along them moves.
	nodes := df.PartitionByKey(adjacency(edges))
	count := total(df.MapValues(nodes, func([]string) int64 { return 1 }))
	received := df.MapValues(nodes, func([]string) int64 { return 0 })
	for range iterations {
		received = iterate(nodes, received, count)
	}
	all := total(received)
	ranks := df.MapTask(received, func(t *df.Task) func(df.Pair[string, int64]) df.Pair[string, float64] {
		rank := ranking(t, count, all)
		return func(p df.Pair[string, int64]) df.Pair[string, float64] {
			return df.KV(p.Key, float64(rank(p.Value))/one)
		}
	}, count, all)
	df.Write(ranks, df.TSV[df.Pair[string, float64]](out))
}

// adjacency is each node, also one without links, and where its links lead.
func adjacency(edges df.Dataset[df.Pair[string, string]]) links {
	both := df.FlatMap(edges, func(e df.Pair[string, string], emit df.Emit[df.Pair[string, []string]]) {
		emit(df.KV(e.Key, []string{e.Value}))
		emit(df.KV(e.Value, []string(nil)))
	})
	lists := df.Combine(both, func(a, b []string) []string { return append(a, b...) })
	return df.MapValues(lists, func(to []string) []string {
		slices.Sort(to) // one order, however they were gathered
		return to
	})
}

// iterate is what each node receives by its links, given what it received before.
func iterate(nodes links, received amounts, count sum) amounts {
	all := total(received)
	shares := df.FlatMapTask(df.Join(nodes, received), func(t *df.Task) func(df.Pair[string, df.Joined[[]string, int64]], df.Emit[df.Pair[string, int64]]) {
		rank := ranking(t, count, all)
		return func(p df.Pair[string, df.Joined[[]string, int64]], emit df.Emit[df.Pair[string, int64]]) {
			emit(df.KV(p.Key, int64(0))) // so that a node nobody links to stays
			to, r := p.Value.Left, rank(p.Value.Right)
			for i, node := range to {
				// The remainder goes to the first ones: nothing is lost.
				n := int64(len(to))
				share := r / n
				if int64(i) < r%n {
					share++
				}
				emit(df.KV(node, share))
			}
		}
	}, count, all)
	return df.Sum(shares)
}

// ranking is the rank of a node by what it has received. What nobody received, of
// all the rank there is, belongs to nodes without links and goes to everyone; before
// the first iteration that is all of it.
func ranking(t *df.Task, count, all sum) func(received int64) int64 {
	n := value(count.Get(t))
	everyone := float64(one-value(all.Get(t))) / float64(n)
	return func(received int64) int64 {
		return int64(math.Round((1-damping)*one/float64(n) + damping*(float64(received)+everyone)))
	}
}

// total is the sum of all values, in one row.
func total(d amounts) sum {
	all := df.Map(d, func(p df.Pair[string, int64]) df.Pair[bool, int64] { return df.KV(true, p.Value) })
	return df.SideInput(df.Sum(all))
}

// value is what total found; there is no row where there are no nodes.
func value(rows []df.Pair[bool, int64]) int64 {
	if len(rows) == 0 {
		return 0
	}
	return rows[0].Value
}
