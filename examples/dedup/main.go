// Dedup leaves out documents that are nearly the same as another one:
//
//	dedup [--threshold 0.8] IN OUT
//
// A line is a document: its id, a tab, its text. Two documents are alike if the
// Jaccard similarity of their sets of three words in a row is at least the
// threshold; a document is left out if one with a smaller id is like it. A line of
// the output is a document as it was, in any order.
//
// Documents are compared only where MinHash with locality-sensitive hashing finds
// them to be candidates; how many of those that are just as alike as the threshold it
// overlooks is said at bandsFor. It finds those more alike with greater certainty,
// and never one that is not.
package main

import (
	"iter"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(dedup) }

type docs = df.Dataset[df.Pair[string, string]] // text by id

// A bucket is where documents meet that have a band of their signatures in common.
type bucket struct {
	Band int32
	Hash uint64
}

// A pair is two documents to be compared, the smaller id first.
type pair struct{ First, Second string }

func dedup(j *df.Job) {
	threshold := j.Float("threshold", 0.8, "how alike, from 0 to 1, is too much")
	lines, out := df.Read(j, df.Lines(j.Arg(0))), j.Arg(1)
	if !(threshold > 0 && threshold <= 1) {
		j.Errorf("--threshold %v: want more than 0 and at most 1", threshold)
		return
	}
	different := df.Cached(exact(lines))
	alike := compare(different, candidates(different, bandsFor(threshold)), threshold)
	df.Write(df.AntiJoin(different, alike), df.TSV[df.Pair[string, string]](out))
}

// exact leaves one document of each text, the one with the smallest id; thousands of
// equal ones would be millions of pairs.
func exact(lines df.Dataset[string]) docs {
	byText := df.Map(lines, func(line string) df.Pair[string, string] {
		id, text, _ := strings.Cut(line, "\t")
		return df.KV(text, id)
	})
	// An id that occurs twice stands for one document: the text that sorts first.
	return df.Min(df.Swap(df.Min(byText)))
}

// candidates are the pairs that meet in some bucket.
func candidates(d docs, bands bands) df.Dataset[pair] {
	members := df.FlatMap(d, func(doc df.Pair[string, string], emit df.Emit[df.Pair[bucket, string]]) {
		for b, hash := range bands.signature(doc.Value) {
			emit(df.KV(bucket{int32(b), hash}, doc.Key))
		}
	})
	inOrder := df.GroupByKeySorted(members, func(id string) string { return id })
	pairs := df.MapGroups(inOrder, func(_ bucket, ids iter.Seq[string], emit df.Emit[pair]) {
		var before []string
		for id := range ids {
			for _, first := range before {
				emit(pair{first, id})
			}
			before = append(before, id)
		}
	})
	return df.Distinct(pairs)
}

// compare is the second of each pair whose texts are alike.
func compare(d docs, pairs df.Dataset[pair], threshold float64) docs {
	byFirst := df.Map(pairs, func(p pair) df.Pair[string, string] { return df.KV(p.First, p.Second) })
	bySecond := df.Map(df.Join(byFirst, d), func(p df.Pair[string, df.Joined[string, string]]) df.Pair[string, string] {
		return df.KV(p.Value.Left, p.Value.Right) // with the text of the first
	})
	return df.FlatMap(df.Join(bySecond, d), func(p df.Pair[string, df.Joined[string, string]], emit df.Emit[df.Pair[string, string]]) {
		if similarity(shingles(p.Value.Left), shingles(p.Value.Right)) >= threshold {
			emit(df.KV(p.Key, ""))
		}
	})
}
