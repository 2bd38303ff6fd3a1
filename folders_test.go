package divisi_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
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

type visit struct {
	Day  string  `df:"day"`
	Site *string `df:"site"`
	N    int64   `df:"n"`
}

// line is a visit as it stands in a file of a folder: without day and site.
func (v visit) line() string { return fmt.Sprintf(`{"n":%d}`, v.N) }

func (v visit) folder() string {
	if v.Site == nil || *v.Site == "" {
		return "day=" + v.Day + "/site=__HIVE_DEFAULT_PARTITION__"
	}
	return "day=" + v.Day + "/site=" + strings.ReplaceAll(*v.Site, "/", "%2F")
}

func visits(n int, skewed bool) []visit {
	r := rand.New(rand.NewPCG(3, 4))
	sites := []string{"a", "b/c", "", "d e"}
	var out []visit
	for i := range n {
		v := visit{Day: fmt.Sprintf("2024-01-%02d", 1+r.IntN(9)), N: int64(i)}
		if s := r.IntN(5); s < 4 {
			v.Site = &sites[s]
		}
		if skewed && i%50 > 0 {
			v.Day, v.Site = "2024-02-02", &sites[0]
		}
		out = append(out, v)
	}
	return out
}

// folderLines are the lines of a folder's files by folder, sorted, and how many files
// there are.
func folderLines(t *testing.T, out string) (lines map[string][]string, count map[string]int) {
	t.Helper()
	lines, count = map[string][]string{}, map[string]int{}
	if _, err := os.Stat(filepath.Join(out, "_SUCCESS")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "_SUCCESS" {
			return err
		}
		raw, err := os.ReadFile(p)
		folder, _ := filepath.Rel(out, filepath.Dir(p))
		for l := range strings.Lines(string(raw)) {
			lines[folder] = append(lines[folder], strings.TrimSpace(l))
		}
		count[folder]++
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		slices.Sort(l)
	}
	return lines, count
}

// Rows written to folders are in the folders of their values, of a job of rows and of
// one of columns, at any number of partitions, and are read back as they were.
func TestPartitionBy(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: it takes seconds")
	}
	cases := map[string][]visit{"empty": nil, "one": visits(1, false), "many": visits(3000, false), "skewed": visits(3000, true)}
	for name, rows := range cases {
		dir := t.TempDir()
		in := filepath.Join(dir, "in.jsonl")
		var text strings.Builder
		want := map[string][]string{}
		var back []string
		for _, v := range rows {
			raw, err := json.Marshal(map[string]any{"day": v.Day, "site": v.Site, "n": v.N})
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(raw, '\n'))
			want[v.folder()] = append(want[v.folder()], v.line())
			if v.Day > "2024-01-03" && v.N >= 10 {
				back = append(back, v.folder()+v.line())
			}
		}
		for _, l := range want {
			slices.Sort(l)
		}
		slices.Sort(back)
		if err := os.WriteFile(in, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, parts := range []int{1, 2, 7} {
			for _, how := range []string{"rows", "columns", "sized", "moved"} {
				out := filepath.Join(dir, fmt.Sprint(name, parts, how))
				build := func(j *df.Job) {
					read := df.FromJSONLines[visit](j.Arg(0))
					sink := df.JSONLines[visit](j.Arg(1)).PartitionBy("day", "site")
					switch how {
					case "rows":
						df.Write(df.Read(j, read), sink)
					case "moved":
						df.Write(df.Repartition(df.Read(j, read), parts), sink)
					case "sized":
						df.Write(df.Read(j, read), sink.TargetSize(1<<20))
					case "columns":
						schema, err := df.Columns("day string, site string?, n int64")
						if err != nil {
							t.Fatal(err)
						}
						table := df.ReadTable(j, df.FromJSONLines[df.Table](j.Arg(0)), schema)
						df.WriteTable(table, df.JSONLines[df.Table](j.Arg(1)).PartitionBy("day", "site"))
					}
				}
				if _, err := divisi.Run(t.Context(), build, []string{in, out}, divisi.Partitions(parts), divisi.Parallelism(2), divisi.TempDir(dir), divisi.Check()); err != nil {
					t.Fatalf("%s, %s, %d partitions: %v", name, how, parts, err)
				}
				got, count := folderLines(t, out)
				if len(got) != len(want) {
					t.Errorf("%s, %s, %d partitions: %d folders, want %d", name, how, parts, len(got), len(want))
				}
				for f, l := range want {
					if !slices.Equal(got[f], l) {
						t.Errorf("%s, %s, %d partitions: %s has %d rows, want %d", name, how, parts, f, len(got[f]), len(l))
					}
					most := 1
					if strings.HasSuffix(f, "__") { // null and the empty text meet only here
						most = 2
					}
					if how == "sized" && count[f] > most {
						t.Errorf("%s, %d partitions: %s has %d files", name, parts, f, count[f])
					}
				}
				if parts != 2 || len(rows) == 0 {
					continue
				}
				again := out + "-again"
				_, err := divisi.Run(t.Context(), func(j *df.Job) {
					schema, err := df.Columns("day date, site string?, n int64")
					if err != nil {
						t.Fatal(err)
					}
					table := df.ReadTable(j, df.FromJSONLines[df.Table](j.Arg(0)).Partitioned("day", "site"), schema)
					table = table.Where(expr.Col("day").Gt(expr.Date("2024-01-03")), expr.Col("n").Ge(10))
					df.WriteTable(table, df.JSONLines[df.Table](j.Arg(1)).PartitionBy("day", "site"))
				}, []string{out, again}, divisi.Partitions(parts), divisi.TempDir(dir))
				if err != nil {
					t.Fatalf("%s, %s, read back: %v", name, how, err)
				}
				var read []string
				lines, _ := folderLines(t, again)
				for f, l := range lines {
					for _, l := range l {
						read = append(read, f+l)
					}
				}
				if slices.Sort(read); !slices.Equal(read, back) {
					t.Errorf("%s, %s: %d rows read back, want %d", name, how, len(read), len(back))
				}
			}
		}
	}
}

// Rows in an order are written in files of a size in that order over the files' names,
// and rows that are read by many tasks are written by few.
func TestTargetSize(t *testing.T) {
	dir := t.TempDir()
	var all []string
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 8 {
		var text strings.Builder
		for range 2000 {
			line := fmt.Sprintf("%016x", r.Uint64()) + strings.Repeat("x", 100)
			all = append(all, line)
			text.WriteString(line + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("in-%d", i)), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(all)
	for _, sorted := range []bool{false, true} {
		for _, parts := range []int{0, 1, 7} {
			const target = 600 << 10
			out := filepath.Join(dir, fmt.Sprint("out", sorted, parts))
			_, err := divisi.Run(t.Context(), func(j *df.Job) {
				d := df.Read(j, df.Lines(j.Arg(0)))
				if sorted {
					d = df.Sort(d, func(s string) string { return s })
				}
				df.Write(d, df.Text(j.Arg(1)).TargetSize(target))
			}, []string{filepath.Join(dir, "in-*"), out}, divisi.Partitions(parts), divisi.Parallelism(4), divisi.TempDir(dir), divisi.Check())
			if err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(out, "part-*"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			short := 0
			for _, n := range names {
				raw, err := os.ReadFile(n)
				if err != nil {
					t.Fatal(err)
				}
				for l := range strings.Lines(string(raw)) {
					got = append(got, strings.TrimSpace(l))
				}
				if len(raw) < target {
					short++
				}
				if len(raw) > 2*target+1<<20 { // the last batch is not cut
					t.Errorf("%s has %d bytes", n, len(raw))
				}
			}
			if !sorted {
				slices.Sort(got)
			}
			if !slices.Equal(got, all) {
				t.Errorf("sorted %v, %d partitions: %d rows, want %d", sorted, parts, len(got), len(all))
			}
			if most := max(1, parts); parts > 0 && short > most || parts == 0 && short > 4 {
				t.Errorf("sorted %v, %d partitions: %d of %d files are short", sorted, parts, short, len(names))
			}
		}
	}
}

func TestLayoutMistakes(t *testing.T) {
	for want, sink := range map[string]df.FileSink[visit]{
		`no column "x"`:   df.JSONLines[visit]("out").PartitionBy("x"),
		"all columns":     df.JSONLines[visit]("out").PartitionBy("n", "day", "site"),
		"makes no sense":  df.JSONLines[visit]("out").TargetSize(-1),
		"neither folders": df.JSONLines[visit]("kafka://h:1/t").PartitionBy("day"),
	} {
		_, err := divisi.Run(t.Context(), func(j *df.Job) { df.Write(df.Read(j, df.FromSlice([]visit{})), sink) }, nil, divisi.TempDir(t.TempDir()))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %s", err, want)
		}
	}
}
