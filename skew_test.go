package divisi_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/internal/race"
)

type keyed = df.Pair[string, int64]

// skewJobs join the rows of Arg(0) with those of Arg(1), each in another way.
var skewJobs = map[string]func(j *df.Job){
	"inner": func(j *df.Job) {
		writeJoined(j, df.Map(df.Join(skewSides(j)), func(p df.Pair[string, df.Joined[int64, int64]]) string {
			return fmt.Sprintf("%s %d %d", p.Key, p.Value.Left, p.Value.Right)
		}))
	},
	"left": func(j *df.Job) {
		writeJoined(j, df.Map(df.LeftJoin(skewSides(j)), func(p df.Pair[string, df.Joined[int64, *int64]]) string {
			if p.Value.Right == nil {
				return fmt.Sprintf("%s %d", p.Key, p.Value.Left)
			}
			return fmt.Sprintf("%s %d %d", p.Key, p.Value.Left, *p.Value.Right)
		}))
	},
	"semi": func(j *df.Job) { writeJoined(j, df.Map(df.SemiJoin(skewSides(j)), keyedText)) },
	"anti": func(j *df.Job) { writeJoined(j, df.Map(df.AntiJoin(skewSides(j)), keyedText)) },
	"columns": func(j *df.Job) {
		left, right := skewSides(j)
		others := df.ToTable(right).Select(df.Column{Name: "id", Expr: expr.Col("key")}, df.Column{Name: "other", Expr: expr.Col("value")})
		both := df.ToTable(left).Join(others, df.Equal("key", "id")).Where(expr.Col("value").Ge(0))
		if j.Arg(3) == "groups" {
			both = both.GroupBy("other").Agg(df.SumOf("all", expr.Col("value")), df.CountRows("n"))
		}
		df.WriteTable(both, df.CSV[df.Table](j.Arg(2)).Option("header", false))
	},
}

func keyedText(p keyed) string { return fmt.Sprintf("%s %d", p.Key, p.Value) }

// skewSides are the two sides, the left one from as many producers as Arg(4) says.
func skewSides(j *df.Job) (left, right df.Dataset[keyed]) {
	n, _ := strconv.Atoi(j.Arg(4))
	read := func(name string) df.Dataset[keyed] {
		return df.Read(j, df.FromCSV[keyed](name).Option("header", false))
	}
	return df.Repartition(read(j.Arg(0)), n), read(j.Arg(1))
}

// writeJoined writes rows as they are, or how often each occurs.
func writeJoined(j *df.Job, rows df.Dataset[string]) {
	if j.Arg(3) == "groups" {
		df.Write(df.Count(rows), df.TSV[df.Pair[string, int64]](j.Arg(2)))
		return
	}
	df.Write(rows, df.Text(j.Arg(2)))
}

// skewRows are nine of ten under one key.
func skewRows(n int) []keyed {
	r := rand.New(rand.NewPCG(8, 9))
	var all []keyed
	for i := range n {
		key := "hot"
		if i%10 == 0 {
			key = fmt.Sprintf("k%d", r.IntN(50))
		}
		all = append(all, keyed{Key: key, Value: r.Int64N(1 << 40)})
	}
	return all
}

// skewWant is what a job gives, by loops.
func skewWant(job, form string, left, right []keyed) []string {
	var rows []string
	sums, times := map[string]int64{}, map[string]int{}
	for _, l := range left {
		partners := 0
		for _, r := range right {
			if l.Key != r.Key {
				continue
			}
			partners++
			switch job {
			case "columns":
				rows = append(rows, fmt.Sprintf("%s,%d,%s,%d", l.Key, l.Value, r.Key, r.Value))
			case "inner", "left":
				rows = append(rows, fmt.Sprintf("%s %d %d", l.Key, l.Value, r.Value))
			}
			by := fmt.Sprint(r.Value)
			sums[by] += l.Value
			times[by]++
		}
		if job == "left" && partners == 0 || job == "semi" && partners > 0 || job == "anti" && partners == 0 {
			rows = append(rows, keyedText(l))
		}
	}
	if form == "groups" && job == "columns" {
		rows = nil
		for k, n := range times {
			rows = append(rows, fmt.Sprintf("%s,%d,%d", k, sums[k], n))
		}
	} else if form == "groups" {
		clear(times)
		for _, r := range rows {
			times[r]++
		}
		rows = nil
		for r, n := range times {
			rows = append(rows, fmt.Sprintf("%s\t%d", r, n))
		}
	}
	slices.Sort(rows)
	return rows
}

// skewFile writes rows as lines.
func skewFile(t *testing.T, rows []keyed) string {
	t.Helper()
	var text strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&text, "%s,%d\n", r.Key, r.Value)
	}
	return write(t, text.String())
}

// A join whose hot partition is read by several tasks gives what loops give, whatever is
// behind it, and so does one whose left rows were made by one task, where nothing can be
// shared out.
func TestSkewedJoin(t *testing.T) {
	const producers = 6
	left := skewRows(3000)
	right := []keyed{{Key: "hot", Value: 1}, {Key: "hot", Value: 2}, {Key: "nobody", Value: 3}}
	for i := range 25 {
		right = append(right, keyed{Key: fmt.Sprintf("k%d", i), Value: int64(i)})
	}
	many, few, empty := skewFile(t, left), skewFile(t, right), skewFile(t, nil)
	for name, build := range skewJobs {
		for _, c := range []struct {
			form       string
			partitions int
			shared     bool // more tasks than there are partitions read
		}{{"rows", 0, true}, {"rows", 7, false}, {"groups", 1, false}, {"groups", 2, true}, {"groups", 7, true}} {
			if race.Short() && c.partitions != 2 {
				continue
			}
			t.Run(fmt.Sprintf("%s %s %d", name, c.form, c.partitions), func(t *testing.T) {
				run := func(what, l, r string, producers int, want []string) int64 {
					out := filepath.Join(t.TempDir(), "out")
					sum, err := divisi.Run(t.Context(), build, []string{l, r, out, c.form, strconv.Itoa(producers)}, divisi.Partitions(c.partitions),
						divisi.Parallelism(4), divisi.TaskBytes(1<<10), divisi.Check(), divisi.TempDir(t.TempDir()))
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					got := slices.DeleteFunc(parts(t, out), func(line string) bool { return line == "" }) // a part without rows
					if !slices.Equal(got, want) {
						t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
					}
					return sum.Tasks
				}
				want := skewWant(name, c.form, left, right)
				tasks := run("shared", many, few, producers, want)
				alone := run("one producer", many, few, 1, want) + producers - 1
				if tasks > alone != c.shared {
					t.Errorf("%d tasks with %d producers, %d with one", tasks, producers, alone)
				}
				run("no left rows", empty, few, producers, nil)
				run("no right rows", many, empty, producers, skewWant(name, c.form, left, nil))
			})
		}
	}
}
