// Command closure counts words as examples/wordcount does, but splits lines by a function
// of its own: what an author's code costs inside the engine.
package main

import (
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() {
	divisi.Main(func(j *df.Job) {
		args := j.Args()
		if len(args) != 2 {
			j.Errorf("usage: closure IN OUT")
			return
		}
		words := df.FlatMap(df.Read(j, df.Lines(args[0])), func(line string, emit df.Emit[string]) {
			for _, w := range strings.Fields(line) {
				emit(w)
			}
		})
		df.Write(df.Count(words), df.TSV[df.Pair[string, int64]](args[1]))
	})
}
