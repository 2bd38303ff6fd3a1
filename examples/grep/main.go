// Grep finds the lines of text files that match a regular expression (RE2, as
// package regexp reads it), bytes kept as they are:
//
//	grep [--invert] PATTERN IN... OUT
//
// The lines come in any order. A pattern that begins with a dash comes after two
// "--", one for the engine's flags and one for the job's.
package main

import (
	"regexp"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(grep) }

func grep(j *df.Job) {
	invert := j.Bool("invert", false, "the lines that do not match")
	args := j.Args()
	if len(args) < 3 {
		j.Errorf("usage: grep [--invert] PATTERN IN... OUT")
		return
	}
	pattern, err := regexp.Compile(args[0])
	if err != nil {
		j.Errorf("the pattern is none: %v", err)
		return
	}
	in, out := args[1:len(args)-1], args[len(args)-1]
	found := df.Filter(df.Read(j, df.Lines(in...)), func(line string) bool {
		return pattern.MatchString(line) != invert
	})
	df.Write(found, df.Text(out))
}
