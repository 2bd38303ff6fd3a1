package main

import (
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/streaming"
)

// streamingMark as the first argument makes the binary's job a streaming job; the
// second is its spec.
const streamingMark = "@streaming"

// builtin is the job of this binary when it is a job binary: streaming, the chain or
// the copy of the chaos tests, or else the demo's word count.
func builtin(j *df.Job) {
	switch a := j.Args(); {
	case len(a) == 2 && a[0] == streamingMark:
		s, err := streaming.Decode(a[1])
		if err != nil {
			j.Errorf("streaming: %v", err)
			return
		}
		streaming.Build(j, s)
	case len(a) > 4 && a[0] == chainMark:
		chain(j)
	case len(a) > 3 && a[0] == copyMark:
		copying(j)
	default:
		wordcount(j)
	}
}
