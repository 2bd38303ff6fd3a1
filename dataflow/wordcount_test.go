package dataflow

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

func zipfLines(seed uint64, lines, words int) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	z := rand.NewZipf(r, 1.1, 2, uint64(words))
	out := make([]string, lines)
	for i := range out {
		var b strings.Builder
		for range r.IntN(12) {
			n := z.Uint64()
			b.WriteString("w" + strings.Repeat("x", int(n%23)) + fmt.Sprint(n) + []string{" ", "\t", "  ", "\u00a0", "\u2003"}[r.IntN(5)])
		}
		out[i] = b.String()
	}
	return out
}

func splitWords(line string, emit Emit[string]) {
	for w := range strings.FieldsSeq(line) {
		emit(w)
	}
}

func TestWordCount(t *testing.T) {
	for _, lines := range [][]string{nil, {""}, {"a"}, {"a a a", "\xff\xfe a\x00b"}, zipfLines(1, 3000, 5000)} {
		want := map[string]int64{}
		for _, l := range lines {
			for _, w := range strings.Fields(l) {
				want[w]++
			}
		}
		g := build(t, func(j *Job) {
			in := Read(j, FromSlice(lines).Splits(3))
			counts := Count(FlatMap(in, splitWords))
			Write(counts, TSV[Pair[string, int64]]("out"))
			Write(Count(Words(in), Partitions(5)), TSV[Pair[string, int64]]("out2"))
		})
		settings(t, func(t *testing.T, in *interpreter) {
			for sink := range 2 {
				got := map[string]int64{}
				for _, p := range flat(collect[Pair[string, int64]](in, g, sink)) {
					if _, twice := got[p.Key]; twice {
						t.Errorf("%q comes twice", p.Key)
					}
					got[p.Key] = p.Value
				}
				if !maps.Equal(got, want) {
					t.Errorf("got %d words, want %d", len(got), len(want))
				}
			}
		})
	}
}
