package divisi_test

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
)

// A word count, run in this process.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte("to be or\nnot to be\n"), 0o644); err != nil {
		fmt.Println(err)
		return
	}

	wordcount := func(j *df.Job) {
		counts := df.Count(df.Words(df.Read(j, df.Lines(j.Arg(0)))))
		df.Write(df.SortByKey(counts), df.TSV[df.Pair[string, int64]](j.Arg(1)))
	}
	sum, err := divisi.Run(context.Background(), wordcount, []string{in, out})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sum.State, sum.RecordsIn, "lines,", sum.RecordsOut, "words")
	show(out)
	// Output:
	// succeeded 2 lines, 4 words
	// be	2
	// not	1
	// or	1
	// to	2
}

func ExampleRun_counters() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	sum, err := divisi.Run(context.Background(), func(j *df.Job) {
		words := df.Read(j, df.FromSlice([]string{"one", "", "two", ""}))
		full := df.FilterTask(words, func(t *df.Task) func(string) bool {
			empty := t.Counter("empty words")
			return func(w string) bool {
				if w == "" {
					empty.Inc()
				}
				return w != ""
			}
		})
		df.Write(full, df.Text(j.Arg(0)))
	}, []string{filepath.Join(dir, "out")})
	fmt.Println(sum.Counters, err)
	// Output: map[empty words:2] <nil>
}

func ExampleMode() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out")
	hello := func(j *df.Job) { df.Write(df.Read(j, df.FromSlice([]string{"hello"})), df.Text(j.Arg(0))) }
	for _, mode := range []df.Mode{df.Fail, df.Fail, df.Append, df.Append} {
		_, err := divisi.Run(context.Background(), hello, []string{out}, divisi.Mode(mode))
		fmt.Println(mode, "failed:", err != nil)
	}
	show(out)
	// Output:
	// fail failed: false
	// fail failed: true
	// append failed: false
	// append failed: false
	// hello
	// hello
	// hello
}

type purchase struct {
	Shop   string
	Amount int64
}

var purchases = []purchase{{"north", 5}, {"south", 7}, {"north", 1}, {"east", 9}, {"south", 2}}

func Example_join() {
	run(func(j *df.Job, out string) {
		cities := df.Read(j, df.FromSlice([]df.Pair[string, string]{df.KV("north", "Oslo"), df.KV("south", "Rome")}))
		amounts := df.Map(df.Read(j, df.FromSlice(purchases)), func(s purchase) df.Pair[string, int64] { return df.KV(s.Shop, s.Amount) })
		joined := df.LeftJoin(df.Sum(amounts), cities, df.BroadcastRight())
		df.Write(df.Map(joined, func(p df.Pair[string, df.Joined[int64, *string]]) string {
			city := "?"
			if p.Value.Right != nil {
				city = *p.Value.Right
			}
			return fmt.Sprint(p.Key, " in ", city, ": ", p.Value.Left)
		}), df.Text(out))
	})
	// Unordered output:
	// north in Oslo: 6
	// south in Rome: 9
	// east in ?: 9
}

func Example_topN() {
	run(func(j *df.Job, out string) {
		top := df.TopN(df.Read(j, df.FromSlice(purchases)), 2, func(s purchase) int64 { return s.Amount })
		df.Write(top, df.TSV[purchase](out))
	})
	// Output:
	// east	9
	// south	7
}

func Example_groups() {
	run(func(j *df.Job, out string) {
		byShop := df.KeyBy(df.Read(j, df.FromSlice(purchases)), func(s purchase) string { return s.Shop })
		groups := df.GroupByKeySorted(byShop, func(s purchase) int64 { return s.Amount })
		lines := df.MapGroups(groups, func(shop string, ss iter.Seq[purchase], emit df.Emit[string]) {
			var line strings.Builder
			line.WriteString(shop)
			for s := range ss {
				fmt.Fprintf(&line, " %d", s.Amount)
			}
			emit(line.String())
		})
		df.Write(lines, df.Text(out))
	})
	// Unordered output:
	// east 9
	// north 1 5
	// south 2 7
}

// run runs a job that writes to a folder, and shows what it wrote.
func run(build func(j *df.Job, out string)) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out")
	if _, err := divisi.Run(context.Background(), func(j *df.Job) { build(j, out) }, nil); err != nil {
		fmt.Println(err)
		return
	}
	show(out)
}

// show prints the parts of an output in order.
func show(out string) {
	parts, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range parts { // Glob sorts
		text, err := os.ReadFile(p)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(string(text))
	}
}
