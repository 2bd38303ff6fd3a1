package divisi_test

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

// TestHotKey groups several times the memory there is, nine of ten rows of it under one
// key: it spills, every row is there once, and the heap stays in bounds.
func TestHotKey(t *testing.T) {
	if race.Short() {
		t.Skip("sorts 200 MB")
	}
	const lines, each, size = 400, 1000, 500 // 200 MB in values
	var in strings.Builder
	for i := range lines {
		fmt.Fprintln(&in, i)
	}
	job := func(j *df.Job) {
		pairs := df.FlatMap(df.Read(j, df.Lines(j.Arg(0))), func(line string, emit df.Emit[df.Pair[string, string]]) {
			pad := strings.Repeat(".", size-len(line))
			for n := range each {
				key := "hot"
				if n%10 == 0 {
					key = fmt.Sprintf("cold-%d", n)
				}
				emit(df.Pair[string, string]{Key: key, Value: line + pad})
			}
		})
		type sums struct{ rows, bytes, lines int64 }
		df.Write(df.ReduceGroups(df.GroupByKey(pairs), func(_ string, values iter.Seq[string]) string {
			var s sums
			for v := range values {
				var line int64
				fmt.Sscan(strings.TrimRight(v, "."), &line)
				s.rows, s.bytes, s.lines = s.rows+1, s.bytes+int64(len(v)), s.lines+line
			}
			return fmt.Sprintf("%d rows, %d bytes, lines %d", s.rows, s.bytes, s.lines)
		}), df.TSV[df.Pair[string, string]](j.Arg(1)))
	}
	group := func(key string, times int64) string { // of each line so often
		return fmt.Sprintf("%s\t%d rows, %d bytes, lines %d", key, times*lines, times*lines*size, times*lines*(lines-1)/2)
	}
	want := []string{group("hot", each-each/10)}
	for n := 0; n < each; n += 10 {
		want = append(want, group(fmt.Sprintf("cold-%d", n), 1))
	}
	slices.Sort(want)
	out := filepath.Join(t.TempDir(), "out")
	taken := watchHeap()
	sum, err := divisi.Run(t.Context(), job, []string{write(t, in.String()), out}, divisi.Parallelism(2), divisi.Partitions(4), divisi.Memory(failBudget), divisi.TempDir(t.TempDir()))
	most := taken()
	if err != nil {
		t.Fatal(err)
	}
	if got := parts(t, out); !slices.Equal(got, want) {
		t.Errorf("%d groups, want %d; the first is %q, want %q", len(got), len(want), got[0], want[0])
	}
	t.Logf("%d MiB in groups, %d MiB spilled, %d MiB reserved at most, %d MiB of heap at most, of a budget of %d MiB",
		lines*each*size>>20, sum.BytesSpilled>>20, sum.PeakMemoryBytes>>20, most>>20, failBudget>>20)
	if sum.BytesSpilled == 0 {
		t.Error("nothing was spilled: the test shows nothing")
	}
	if sum.PeakMemoryBytes > failBudget || most > heapMost {
		t.Errorf("%d MiB were reserved and %d MiB of heap taken, the budget is %d MiB", sum.PeakMemoryBytes>>20, most>>20, failBudget>>20)
	}
}
