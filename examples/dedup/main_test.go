package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

// allPairs compares every document with every other.
func allPairs(in string, threshold float64) []string {
	type doc struct {
		id, line string
		set      map[string]bool
	}
	var docs []doc
	for line := range strings.Lines(in) {
		line = strings.TrimSuffix(line, "\n")
		id, text, _ := strings.Cut(line, "\t")
		words, set := strings.Fields(text), map[string]bool{}
		for i := 0; i+3 <= len(words); i++ {
			set[strings.Join(words[i:i+3], " ")] = true
		}
		if len(words) < 3 {
			set[strings.Join(words, " ")] = true
		}
		docs = append(docs, doc{id, id + "\t" + text, set})
	}
	kept := []string{}
	for _, d := range docs {
		if !slices.ContainsFunc(docs, func(o doc) bool {
			common := 0
			for s := range o.set {
				if d.set[s] {
					common++
				}
			}
			return o.id < d.id && float64(common) >= threshold*float64(len(d.set)+len(o.set)-common)
		}) {
			kept = append(kept, d.line)
		}
	}
	slices.Sort(kept)
	return kept
}

func TestDedup(t *testing.T) {
	rnd := rand.New(rand.NewPCG(17, 18))
	sentence := func(n int) []string {
		words := make([]string, n)
		for i := range words {
			words[i] = fmt.Sprint("w", rnd.IntN(1000))
		}
		return words
	}
	// Of each text, some are changed in one word: three shingles in a hundred.
	var near, skewed strings.Builder
	for i := range 60 {
		words := sentence(100)
		for k := range rnd.IntN(4) {
			fmt.Fprintf(&near, "d%03d\t%s\n", (i*37+k*101)%1000, strings.Join(words, " "))
			words[rnd.IntN(100)] = "changed"
		}
	}
	same := sentence(60)
	for i := range 400 {
		words := slices.Clone(same)
		switch {
		case i%10 == 0:
			words = sentence(60)
		case i%10 < 3:
			words[i%60] = "other"
		}
		fmt.Fprintf(&skewed, "%d\t%s\n", i, strings.Join(words, " "))
	}
	for name, in := range map[string]string{
		"ordinary": near.String(),
		"short":    "1\ta b\n2\ta  b\n3\ta\n4\t\n5\n6\ta b c\n7\ta b c\n",
		"empty":    "",
		"one line": "1\tsome text that is alone",
		"skewed":   skewed.String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := allPairs(in, 0.8)
			if got := divisitest.Run(t, dedup, in); !slices.Equal(got, want) {
				t.Errorf("got %d lines %.300q, want %d %.300q", len(got), got, len(want), want)
			}
		})
	}
}

func TestBands(t *testing.T) {
	for threshold, want := range map[float64]bands{0.8: {25, 5}, 0.5: {64, 2}, 1: {1, 128}, 0.01: {128, 1}} {
		if got := bandsFor(threshold); got != want {
			t.Errorf("bandsFor(%v) = %v, want %v", threshold, got, want)
		}
	}
}
