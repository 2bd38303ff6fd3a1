// Command noop is a job whose tasks do nothing: noop TASKS OUT. It measures what the
// engine itself costs.
package main

import (
	"strconv"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

func main() { divisi.Main(noop) }

func noop(j *df.Job) {
	tasks, err := strconv.Atoi(j.Arg(0))
	if err != nil || tasks < 1 {
		j.Errorf("usage: noop TASKS OUT: %q is no number of tasks", j.Arg(0))
		return
	}
	rows := make([]int64, tasks)
	none := df.Filter(df.Read(j, df.FromSlice(rows).Splits(tasks)), func(int64) bool { return false })
	df.Write(none, df.TSV[int64](j.Arg(1)))
}
