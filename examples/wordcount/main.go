// Wordcount counts the words of text files: wordcount IN... OUT. Words are what
// strings.Fields says, bytes kept as they are; lines are word, tab, count.
package main

import (
	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(wordcount) }

func wordcount(j *df.Job) {
	args := j.Args()
	if len(args) < 2 {
		j.Errorf("usage: wordcount IN... OUT")
		return
	}
	in, out := args[:len(args)-1], args[len(args)-1]
	counts := df.Count(df.Words(df.Read(j, df.Lines(in...))))
	df.Write(counts, df.TSV[df.Pair[string, int64]](out))
}
