package divisi_test

import (
	"maps"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// A range partitioning looks at some of the rows beforehand, by the same functions:
// they count once.
func TestSampledRowsCountOnce(t *testing.T) {
	numbers := make([]int64, 1000)
	for i := range numbers {
		numbers[i] = int64(i * 7919 % 1000)
	}
	sum, err := divisi.Run(t.Context(), func(j *df.Job) {
		rows := df.MapTask(df.Read(j, df.FromSlice(numbers).Splits(3)), func(t *df.Task) func(int64) int64 {
			seen := t.Counter("seen")
			return func(n int64) int64 {
				seen.Inc()
				return n
			}
		})
		counts := df.Count(rows)
		again := df.MapTask(counts, func(t *df.Task) func(df.Pair[int64, int64]) df.Pair[int64, int64] {
			grouped := t.Counter("grouped")
			return func(p df.Pair[int64, int64]) df.Pair[int64, int64] {
				grouped.Inc()
				return p
			}
		})
		sortedRows := df.Sort(rows, func(n int64) int64 { return n })
		df.Write(sortedRows, df.TSV[int64](j.Arg(0)))
		df.Write(df.SortByKey(again), df.TSV[df.Pair[int64, int64]](j.Arg(1)))
	}, []string{t.TempDir() + "/a", t.TempDir() + "/b"}, divisi.Partitions(4), divisi.TempDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	// The numbers are read by two branches.
	want := map[string]int64{"seen": 2000, "grouped": 1000}
	if !maps.Equal(sum.Counters, want) || sum.RecordsIn != 2000 || sum.RecordsOut != 2000 {
		t.Errorf("counters %v, %d records in, %d out; want %v, 2000 and 2000", sum.Counters, sum.RecordsIn, sum.RecordsOut, want)
	}
}
