package divisi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/internal/race"
)

// A stay is a row of what is grouped: shops are few and may be null, nine of ten rows are
// of one kind, and keys are many.
type stay struct {
	Shop   *string
	Kind   string
	Key    int64
	Amount int64
}

func stayOf(i int) stay {
	v := stay{Kind: "usual", Key: int64(i) * 7919 % 70_001, Amount: int64(i % 1000)}
	if i%10 == 3 {
		v.Kind = fmt.Sprint("kind ", i%30)
	}
	if i%7 != 2 {
		shop := fmt.Sprintf("the shop with the number %d", i%11)
		v.Shop = &shop
	}
	return v
}

// TestGroupsOfParquet groups rows of Parquet by text of a dictionary and by many numbers,
// in 1, 2 and 7 partitions, with enough memory and with little, beside plain loops.
func TestGroupsOfParquet(t *testing.T) {
	rows, each := race.Tries(150_000, 150_000, 3_000), 1000
	var in strings.Builder
	for i := 0; i < rows; i += each {
		fmt.Fprintln(&in, i)
	}
	table := t.TempDir() + "/visits"
	makes := func(j *df.Job) {
		df.Write(df.FlatMap(df.Read(j, df.Lines(j.Arg(0))), func(line string, emit df.Emit[stay]) {
			var from int
			fmt.Sscan(line, &from)
			for i := range each {
				emit(stayOf(from + i))
			}
		}), df.Parquet[stay](j.Arg(1)))
	}
	if _, err := divisi.Run(t.Context(), makes, []string{write(t, in.String()), table}, divisi.Parallelism(2), divisi.TempDir(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	type sums struct{ n, amount int64 }
	words, numbers := map[string]sums{}, map[string]sums{}
	for i := range rows {
		v := stayOf(i)
		shop := ""
		if v.Shop != nil {
			shop = *v.Shop
		}
		for m, k := range map[*map[string]sums]string{&words: shop + "," + v.Kind, &numbers: fmt.Sprint(v.Key)} {
			(*m)[k] = sums{(*m)[k].n + 1, (*m)[k].amount + v.Amount}
		}
	}
	for _, c := range []struct {
		keys []any
		want map[string]sums
	}{{[]any{"Shop", "Kind"}, words}, {[]any{"Key"}, numbers}} {
		var want []string
		for k, s := range c.want {
			want = append(want, fmt.Sprintf("%s,%d,%d", k, s.n, s.amount))
		}
		slices.Sort(want)
		for _, parts := range []int{1, 2, 7} {
			for _, memory := range []int64{0, failBudget} {
				out := filepath.Join(t.TempDir(), "out")
				job := func(j *df.Job) {
					visits := df.ReadTable(j, df.FromParquet[df.Table](j.Arg(0)+"/*"), nil)
					df.WriteTable(visits.GroupBy(c.keys...).Agg(df.CountRows("n"), df.SumOf("amount", expr.Col("Amount"))), df.CSV[df.Table](j.Arg(1)).Option("header", false))
				}
				opts := []divisi.Option{divisi.Parallelism(2), divisi.Partitions(parts), divisi.TempDir(t.TempDir())}
				if memory > 0 {
					opts = append(opts, divisi.Memory(memory))
				}
				if _, err := divisi.Run(t.Context(), job, []string{table, out}, opts...); err != nil {
					t.Fatal(err)
				}
				names, err := filepath.Glob(out + "/part-*")
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, name := range names {
					text, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, slices.Collect(strings.Lines(string(text)))...)
				}
				for i := range got {
					got[i] = strings.TrimSpace(got[i])
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("by %v in %d partitions within %d bytes: %d groups, want %d", c.keys, parts, memory, len(got), len(want))
				}
			}
		}
	}
}
