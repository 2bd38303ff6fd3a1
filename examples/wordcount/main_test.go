package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/divisitest"
)

func TestWordcount(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var skewed strings.Builder
	for i := range 20000 {
		word := "the"
		if rnd.IntN(10) == 0 {
			word = fmt.Sprint("w", rnd.IntN(3000))
		}
		fmt.Fprintf(&skewed, "%s%c", word, " \t\n"[i%3])
	}
	for name, in := range map[string][]string{
		"ordinary":  {"to be or not to be\n\nthat is the question", "to be\r\n"},
		"empty":     {""},
		"one word":  {"word"},
		"skewed":    {skewed.String()},
		"odd bytes": {"caf\xe9 \u00a0\u2003x\u0085y \x00\n caf\xe9 世界 \xff\xfe\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			counts := map[string]int{}
			for _, text := range in {
				for _, w := range strings.Fields(text) {
					counts[w]++
				}
			}
			want := []string{}
			for w, n := range counts {
				want = append(want, fmt.Sprintf("%s\t%d", w, n))
			}
			slices.Sort(want)
			if got := divisitest.Run(t, wordcount, in...); !slices.Equal(got, want) {
				t.Errorf("got %d lines %.200q, want %d %.200q", len(got), got, len(want), want)
			}
		})
	}
}
