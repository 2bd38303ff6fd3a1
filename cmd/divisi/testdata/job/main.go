// Job is the job of the tests of processes: a word count, or a copy of the lines, that can
// be made to wait, to be slow, to fail, and to die.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(count) }

func count(j *df.Job) {
	gate := j.String("gate", "", "make FILE.waiting, and wait at each line until this FILE is there")
	fail := j.String("fail", "", "fail at this word")
	die := j.String("die", "", "end the process at this word")
	slow := j.String("slow", "", "wait for 40 ms at this word")
	whole := j.Bool("copy", false, "write the lines, not a count of their words")
	out := j.Arg(1)
	rows := df.FlatMap(df.Read(j, df.Lines(j.Arg(0))), func(line string, emit df.Emit[string]) {
		for gate != "" {
			if _, err := os.Stat(gate); err == nil {
				break
			}
			os.WriteFile(gate+".waiting", nil, 0o644)
			time.Sleep(5 * time.Millisecond)
		}
		for w := range strings.FieldsSeq(line) {
			if fail != "" && w == fail {
				panic(fmt.Sprintf("the word %q", w))
			}
			if die != "" && w == die {
				os.Exit(3)
			}
			if slow != "" && w == slow {
				time.Sleep(40 * time.Millisecond)
			}
			if !whole {
				emit(w)
			}
		}
		if whole {
			emit(line)
		}
	})
	if whole {
		df.Write(rows, df.Text(out))
		return
	}
	df.Write(df.Count(rows), df.TSV[df.Pair[string, int64]](out))
}
