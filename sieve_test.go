package divisi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// toParquet makes a Parquet table of one in CSV, in folders by lot.
func toParquet(j *df.Job) {
	cols, _ := df.Columns("key int64, value int64, lot int64")
	df.WriteTable(df.ReadTable(j, df.FromCSV[df.Table](j.Arg(0)), cols), df.Parquet[df.Table](j.Arg(1)).PartitionBy("lot"))
}

// chosen joins the rows of a Parquet table with some keys. The folders' values are not
// read, or are a key too.
func chosen(j *df.Job) {
	cols, _ := df.Columns("id int64, land int64")
	keys := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(1)), cols)
	table, on := df.FromParquet[df.Table](j.Arg(0)), df.Equal("key", "id")
	var schema *arrow.Schema
	if j.Arg(3) != "none" {
		table = table.Partitioned("lot")
	}
	if j.Arg(3) == "key" {
		schema, _ = df.Columns("key int64, value int64, lot int64")
		on = on.And("lot", "land")
	}
	sales := df.ReadTable(j, table, schema).Named("sales")
	both := sales.Join(keys, on, df.BroadcastRight())
	df.WriteTable(both.GroupBy("land").Agg(df.SumOf("all", expr.Col("value"))), df.CSV[df.Table](j.Arg(2)).Option("header", false))
}

// Rows that a join has no use for do not leave their source, whatever stands between.
func TestJoinSievesSource(t *testing.T) {
	const rows, keys = 6000, 3000
	for _, picked := range []int{0, 40} {
		for parts, folders := range map[int]string{1: "none", 2: "beside", 7: "none", 3: "key"} {
			t.Run(fmt.Sprintf("%d keys, %d partitions, folders %s", picked, parts, folders), func(t *testing.T) {
				dir := t.TempDir()
				l, r := "key,value,lot\n", "id,land\n"
				sums, joined := map[int]int{}, int64(0)
				for i := range rows {
					key := i * 7 % keys
					if i%10 == 0 {
						key = 5 // a hot one, which is picked
					}
					l += fmt.Sprintf("%d,%d,%d\n", key, i, key%3)
					if key < picked {
						sums[key%3] += i
						joined++
					}
				}
				for k := range picked {
					r += fmt.Sprintf("%d,%d\n", k, k%3)
				}
				for name, text := range map[string]string{"l.csv": l, "r.csv": r} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := divisi.Run(t.Context(), toParquet, []string{dir + "/l.csv", dir + "/l"}, divisi.TempDir(t.TempDir())); err != nil {
					t.Fatal(err)
				}
				var text strings.Builder
				_, err := divisi.Run(t.Context(), chosen, []string{dir + "/l", dir + "/r.csv", dir + "/out", folders},
					divisi.Partitions(parts), divisi.TempDir(t.TempDir()), divisi.Analyze(&text), divisi.Check())
				if err != nil {
					t.Fatal(err)
				}
				if got := rowsOf(t, text.String())["sales: files"]; got < joined || folders != "key" && got > joined+rows/50 {
					t.Errorf("%d of %d rows left the source, of use are %d\n%s", got, rows, joined, &text)
				}
				got := map[int]int{}
				names, err := filepath.Glob(dir + "/out/part-*")
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					part, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					for _, row := range strings.Fields(string(part)) {
						land, all, ok := strings.Cut(row, ",")
						k, err := strconv.Atoi(land)
						v, err2 := strconv.Atoi(all)
						if _, twice := got[k]; !ok || err != nil || err2 != nil || twice {
							t.Fatalf("a row of the result is %q", row)
						}
						got[k] = v
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(sums) {
					t.Errorf("sums are %v, want %v", got, sums)
				}
			})
		}
	}
}
