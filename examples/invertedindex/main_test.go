package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

func TestInvertedindex(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var skewed strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&skewed, "d%d\tthe the", i)
		if rnd.IntN(10) == 0 {
			fmt.Fprintf(&skewed, " w%d", rnd.IntN(50))
		}
		skewed.WriteByte('\n')
	}
	for name, in := range map[string]string{
		"ordinary": "b.txt\tto be or not to be\na.txt\tto  do\tmore\nno text\nc.txt\t\n\n",
		"again":    "d\tx\nd\tx y\nd\tx\n",
		"empty":    "",
		"one line": "doc\tword",
		"skewed":   skewed.String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			index := map[string]map[string]bool{}
			for line := range strings.Lines(in) {
				doc, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
				for _, w := range strings.Fields(text) {
					if index[w] == nil {
						index[w] = map[string]bool{}
					}
					index[w][doc] = true
				}
			}
			want := []string{}
			for w, docs := range index {
				want = append(want, w+"\t"+strings.Join(slices.Sorted(maps.Keys(docs)), ","))
			}
			slices.Sort(want)
			if got := divisitest.Run(t, invertedindex, in); !slices.Equal(got, want) {
				t.Errorf("got %d lines %.200q, want %d %.200q", len(got), got, len(want), want)
			}
		})
	}
}
