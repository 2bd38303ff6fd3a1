package dataflow

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

func arrayBatch[T any](c *codec[T], cols ...arrow.Array) Batch {
	return array.NewRecordBatch(c.schema, cols, int64(cols[0].Len()))
}

type tokenize struct{}

func (tokenize) Map(line string, emit func(string, int64)) {
	for w := range strings.FieldsSeq(line) {
		emit(w, 1)
	}
}

type sumUp struct{}

func (sumUp) Reduce(k string, vs iter.Seq[int64], emit Emit[Pair[string, int64]]) {
	var n int64
	for v := range vs {
		n += v
	}
	emit(KV(k, n))
}

func (sumUp) Combine(a, b int64) int64 { return a + b }

type byLength struct{}

func (byLength) Partition(k string) int { return len(k) }

func TestMapReduceWordCount(t *testing.T) {
	lines := zipfLines(3, 300, 100)
	want := map[string]int64{}
	for _, l := range lines {
		for _, w := range strings.Fields(l) {
			want[w]++
		}
	}
	for _, s := range []Shuffle[string, int64]{
		{}, {Combiner: sumUp{}}, {Partitioner: byLength{}, Partitions: 3}, {Descending: true, Combiner: sumUp{}},
	} {
		each(t, func(j *Job) Dataset[Pair[string, int64]] {
			return MapReduceWith(Read(j, FromSlice(lines).Splits(3)), tokenize{}, sumUp{}, s)
		}, pairsOf(want))
	}
	each(t, func(j *Job) Dataset[Pair[string, int64]] {
		return MapReduce(Read(j, FromSlice(lines)), tokenize{}, sumUp{})
	}, pairsOf(want))
}

// A secondary sort as Hadoop's authors write it: the key is what rows are ordered
// by, the partitioner and the grouping look at its first field.
type stamp struct {
	User string
	At   int64
}

type visits struct{ seen *Counter }

func (v visits) Map(p Pair[string, int64], emit func(stamp, string)) {
	v.seen.Inc()
	emit(stamp{p.Key, p.Value}, fmt.Sprint(p.Value))
}

func (visits) ForTask(t *Task) Mapper[Pair[string, int64], stamp, string] {
	return visits{t.Counter("visits")}
}

type byUser struct{}

func (byUser) Partition(k stamp) int { return int(hashString(k.User, 0) >> 1) }

type history struct{}

func (history) Reduce(k stamp, vs iter.Seq[string], emit Emit[string]) {
	emit(k.User + strings.Join(slices.Collect(vs), " "))
}

func TestSecondarySort(t *testing.T) {
	rows := sales(300, 20)
	var want []string
	for k, vs := range grouped(rows) {
		slices.Sort(vs)
		want = append(want, k+strings.Trim(fmt.Sprint(vs), "[]"))
	}
	g := build(t, func(j *Job) {
		d := Read(j, FromSlice(rows).Splits(2))
		Write(MapReduceWith(d, visits{}, history{}, Shuffle[stamp, string]{
			Partitioner: byUser{},
			Group:       func(a, b stamp) bool { return a.User == b.User },
		}), Text("out"))
	})
	settings(t, func(t *testing.T, in *interpreter) {
		wantRows(t, flat(collect[string](in, g, 0)), want)
		if n := in.counters.Get("visits").Value(); n != int64(len(rows)) {
			t.Errorf("counted %d", n)
		}
	})
}
