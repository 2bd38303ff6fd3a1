package dataflow

import (
	"context"
	"io"
	"strings"
	"testing"
)

// BenchmarkWords counts Zipf words: with a Go map, and as the map side of a job,
// by the author's function and by the built-in tokeniser.
func BenchmarkWords(b *testing.B) {
	lines := zipfLines(7, 20_000, 500_000)
	bytes := 0
	for _, l := range lines {
		bytes += len(l)
	}
	b.Run("map", func(b *testing.B) {
		b.SetBytes(int64(bytes))
		for b.Loop() {
			m := map[string]int64{}
			for _, l := range lines {
				for _, w := range strings.Fields(l) {
					m[w]++
				}
			}
		}
	})
	for _, c := range []struct {
		name string
		f    func(Dataset[string]) Dataset[string]
	}{
		{"FlatMap", func(d Dataset[string]) Dataset[string] { return FlatMap(d, splitWords) }},
		{"Words", Words},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(bytes))
			j := NewJob("bench", nil)
			in := Read(j, FromSlice(lines[:1]))
			words := c.f(in)
			counts := Count(words)
			part := counts.node.In[0].In[0]
			op, ok := part.Op.(Fuser).FuseAfter(words.node.Op)
			if !ok {
				b.Fatal("not fused")
			}
			env := NewEnv(context.Background())
			w := in.codec.writer(env)
			var batches []Batch
			for _, l := range lines {
				if w.append(l) {
					batches = append(batches, w.batch())
				}
			}
			batches = append(batches, w.batch())
			for b.Loop() {
				for _, x := range batches {
					x.Retain()
				}
				s, err := op.Open(env, &batchStream{bs: batches})
				if err != nil {
					b.Fatal(err)
				}
				for {
					x, err := s.Next(env.Context)
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					x.Release()
				}
				s.Close()
			}
		})
	}
}
