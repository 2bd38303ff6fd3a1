package main

import (
	"slices"
	"strings"

	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/streaming"
)

// builtin is the job of this binary as a job binary: a streaming job, the chain of the
// chaos runner, or the demo's word count, as its arguments say.
func builtin(j *df.Job) {
	args := j.Args()
	switch {
	case len(args) == 2 && args[0] == streamingWord && strings.HasPrefix(args[1], "{"):
		s, err := streaming.Decode(args[1])
		if err != nil {
			j.Errorf("streaming: %v", err)
			return
		}
		streaming.Build(j, s)
	case len(args) > 4 && args[0] == chainMark:
		chain(j)
	default:
		wordcount(j)
	}
}

// builtinName is what the job of some arguments is called.
func builtinName(args []string) string {
	if slices.Contains(args, chainMark) {
		return "chain"
	}
	return "wordcount"
}
