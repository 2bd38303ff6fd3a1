// Invertedindex lists for each word the documents it occurs in:
//
//	invertedindex IN OUT
//
// A line of the input is a document: its name, a tab, its text. Words are what
// strings.Fields says. A line of the output is a word, a tab, and the names in
// order, each once, with commas between them.
package main

import (
	"iter"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(invertedindex) }

func invertedindex(j *df.Job) {
	docs := df.Read(j, df.Lines(j.Arg(0)))
	postings := df.FlatMap(docs, func(line string, emit df.Emit[df.Pair[string, string]]) {
		doc, text, _ := strings.Cut(line, "\t")
		for word := range strings.FieldsSeq(text) {
			emit(df.KV(word, doc))
		}
	})
	byWord := df.GroupByKeySorted(df.Distinct(postings), func(doc string) string { return doc })
	index := df.ReduceGroups(byWord, func(_ string, docs iter.Seq[string]) string {
		var list strings.Builder
		for doc := range docs {
			if list.Len() > 0 {
				list.WriteByte(',')
			}
			list.WriteString(doc)
		}
		return list.String()
	})
	df.Write(index, df.TSV[df.Pair[string, string]](j.Arg(1)))
}
