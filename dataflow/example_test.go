package dataflow_test

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	df "github.com/divisi-data/divisi/dataflow"
)

// Word count: the function that divisi.Main is given.
func Example() {
	build := func(j *df.Job) {
		lines := df.Read(j, df.Lines(j.Arg(0)))
		counts := df.Count(df.FlatMap(lines, words))
		df.Write(counts, df.TSV[df.Pair[string, int64]](j.Arg(1)))
	}
	printSteps(build, "in", "out")
	// Output:
	// Read text
	// FlatMap
	// Count (partial)
	// Count (by key)
	// Count
	// Write tsv
}

// What is wrong with a graph is reported together, with file and line.
func ExampleJob_Graph() {
	j := df.NewJob("broken", []string{"in"})
	lines := df.Read(j, df.Lines(j.Arg(0)))
	df.Write(df.SortBy(lines, df.Asc("size")), df.Text(j.Arg(1)))
	_, err := j.Graph()
	fmt.Println(err)
	// Output:
	// job broken: dataflow/example_test.go:33: SortBy: there is no column "size" (the columns are line)
	// dataflow/example_test.go:33: argument 2 is missing (got 1: "in")
}

func ExampleJoin() {
	type user struct{ Name, Country string }
	type visit struct{ User, Page string }
	printSteps(func(j *df.Job) {
		users := df.KeyBy(df.Read(j, df.FromCSV[user](j.Arg(0))), func(u user) string { return u.Name })
		visits := df.KeyBy(df.Read(j, df.FromCSV[visit](j.Arg(1))), func(v visit) string { return v.User })
		byCountry := df.Map(df.Join(visits, users, df.BroadcastRight()),
			func(p df.Pair[string, df.Joined[visit, user]]) string { return p.Value.Right.Country })
		df.Write(df.Count(byCountry), df.CSV[df.Pair[string, int64]](j.Arg(2)))
	}, "users", "visits", "out")
	// Output:
	// Read csv
	// KeyBy
	// Read csv
	// KeyBy
	// Join (right, to all)
	// Join
	// Join (rows)
	// Map
	// Count (partial)
	// Count (by key)
	// Count
	// Write csv
}

func ExampleAggregate() {
	type mean struct {
		Sum float64
		N   int64
	}
	printSteps(func(j *df.Job) {
		temps := df.Read(j, df.FromTSV[df.Pair[string, float64]](j.Arg(0)))
		means := df.Aggregate(temps, df.Aggregator[float64, mean, float64]{
			Zero:   func() mean { return mean{} },
			Add:    func(m mean, v float64) mean { return mean{m.Sum + v, m.N + 1} },
			Merge:  func(a, b mean) mean { return mean{a.Sum + b.Sum, a.N + b.N} },
			Finish: func(m mean) float64 { return m.Sum / float64(m.N) },
		})
		df.Write(df.SortByKey(means), df.TSV[df.Pair[string, float64]](j.Arg(1)))
	}, "in", "out")
	// Output:
	// Read tsv
	// Aggregate (partial)
	// Aggregate (by key)
	// Aggregate
	// SortByKey (ranges)
	// SortByKey
	// Write tsv
}

func ExampleMapGroups() {
	printSteps(func(j *df.Job) {
		edges := df.Read(j, df.FromTSV[df.Pair[string, string]](j.Arg(0)))
		lists := df.MapGroups(df.GroupByKey(edges), func(from string, to iter.Seq[string], emit df.Emit[string]) {
			n := 0
			for range to {
				n++
			}
			emit(from + " has " + strconv.Itoa(n))
		})
		df.Write(lists, df.Text(j.Arg(1)))
	}, "in", "out")
	// Output:
	// Read tsv
	// GroupByKey (by key)
	// GroupByKey (sort)
	// MapGroups
	// Write text
}

type tokenizer struct{}

func (tokenizer) Map(line string, emit func(string, int64)) {
	for w := range strings.FieldsSeq(line) {
		emit(w, 1)
	}
}

type summer struct{}

func (summer) Combine(a, b int64) int64 { return a + b }

func (summer) Reduce(word string, ns iter.Seq[int64], emit df.Emit[df.Pair[string, int64]]) {
	var sum int64
	for n := range ns {
		sum += n
	}
	emit(df.KV(word, sum))
}

func ExampleMapReduceWith() {
	printSteps(func(j *df.Job) {
		lines := df.Read(j, df.Lines(j.Arg(0)))
		counts := df.MapReduceWith(lines, tokenizer{}, summer{}, df.Shuffle[string, int64]{Combiner: summer{}})
		df.Write(counts, df.TSV[df.Pair[string, int64]](j.Arg(1)))
	}, "in", "out")
	// Output:
	// Read text
	// Map
	// Combine
	// Shuffle
	// Sort
	// Reduce
	// Write tsv
}

func ExampleMapTask() {
	printSteps(func(j *df.Job) {
		rates := df.SideMap(df.Read(j, df.FromCSV[df.Pair[string, float64]](j.Arg(0))))
		sales := df.Read(j, df.FromCSV[df.Pair[string, float64]](j.Arg(1)))
		euros := df.MapTask(sales, func(t *df.Task) func(df.Pair[string, float64]) float64 {
			rate, unknown := rates.Get(t), t.Counter("unknown currencies")
			return func(p df.Pair[string, float64]) float64 {
				r, ok := rate[p.Key]
				if !ok {
					unknown.Inc()
				}
				return p.Value * r
			}
		}, rates)
		df.Write(euros, df.Parquet[float64](j.Arg(2)))
	}, "rates", "sales", "out")
	// Output:
	// Read csv
	// SideInput
	// Read csv
	// Map
	// Write parquet
}

func ExampleParseDecimal() {
	a, _ := df.ParseDecimal("19.90")
	b, _ := df.ParseDecimal("0.105")
	fmt.Println(a.Add(b), a.Sub(b), a.Mul(b), a.Cmp(b))
	// Output: 20.005 19.795 2.08950 1
}

// printSteps lists the steps of a job's graph.
func printSteps(build func(*df.Job), args ...string) {
	j := df.NewJob("example", args)
	build(j)
	g, err := j.Graph()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range g.Nodes {
		fmt.Println(n.Name)
	}
}
