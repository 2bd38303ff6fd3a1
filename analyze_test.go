package divisi_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
)

// bought is a row of the test's left table: a customer, a value.
type bought struct{ customer, value int }

func analyzed(j *df.Job) {
	sales, _ := df.Columns("customer int64, value int64")
	customers, _ := df.Columns("id int64, land int64")
	l := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(0)), sales).Where(expr.Col("value").Gt(49))
	r := df.ReadTable(j, df.FromCSV[df.Table](j.Arg(1)), customers).Named("customers")
	both := l.Join(r, df.Equal("customer", "id")).Named("join")
	df.WriteTable(both.GroupBy("land").Agg(df.SumOf("all", expr.Col("value"))), df.CSV[df.Table](j.Arg(2)))
}

// rowsOf reads the column of rows by the operators' names.
func rowsOf(t *testing.T, text string) map[string]int64 {
	t.Helper()
	rows := map[string]int64{}
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("a line of %d columns: %s", n, line)
		}
		if !strings.HasPrefix(line, "    ") || len(line) < 62 {
			continue
		}
		n, err := strconv.ParseInt(strings.ReplaceAll(strings.TrimSpace(string([]rune(line)[48:62])), ",", ""), 10, 64)
		if err == nil {
			rows[strings.TrimSpace(string([]rune(line)[:36]))] += n
		}
	}
	return rows
}

// What the operators of a plan are said to have given is what loops over the rows count.
func TestAnalyzeCountsRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 5))
	random := func(n, hot int) (rows []bought) {
		for range n {
			s := bought{rng.IntN(60), rng.IntN(100)}
			if rng.IntN(100) < hot {
				s.customer = 3
			}
			rows = append(rows, s)
		}
		return rows
	}
	for name, rows := range map[string][]bought{"empty": nil, "even": random(2000, 0), "skewed": random(2000, 90)} {
		for _, parts := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%s, %d partitions", name, parts), func(t *testing.T) {
				dir := t.TempDir()
				var l, r strings.Builder
				l.WriteString("customer,value\n")
				r.WriteString("id,land\n")
				var dear, joined int64
				lands := map[int]bool{}
				for _, s := range rows {
					fmt.Fprintf(&l, "%d,%d\n", s.customer, s.value)
					if s.value > 49 {
						dear++
						if s.customer < 50 { // each of these twice
							joined += 2
							lands[s.customer%9] = true
						}
					}
				}
				for c := range 100 {
					fmt.Fprintf(&r, "%d,%d\n", c%50, c%50%9)
				}
				for name, text := range map[string]string{"l.csv": l.String(), "r.csv": r.String()} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				var text strings.Builder
				_, err := divisi.Run(t.Context(), analyzed, []string{dir + "/l.csv", dir + "/r.csv", dir + "/out"},
					divisi.Partitions(parts), divisi.TempDir(t.TempDir()), divisi.Analyze(&text))
				if err != nil {
					t.Fatal(err)
				}
				got := rowsOf(t, text.String())
				for name, want := range map[string]int64{
					"Read csv: files": int64(len(rows)), "customers: files": 100, "Where": dear, "join": joined, "Agg": int64(len(lands)),
				} {
					if got[name] != want {
						t.Errorf("%s: %d rows, want %d", name, got[name], want)
					}
				}
				if t.Failed() {
					t.Log(text.String())
				}
			})
		}
	}
}
