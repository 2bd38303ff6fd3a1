package files_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/dataflow/expr"
	"github.com/divisi-data/divisi/storage/mem"
)

func TestPartitionFolders(t *testing.T) {
	fs := mem.New()
	use(fs)
	put(t, fs, "t/day=2024-01-02/hour=1/a.jsonl", []byte("{\"x\":1}\n{\"x\":2}\n"))
	put(t, fs, "t/day=2024-01-02/hour=__HIVE_DEFAULT_PARTITION__/b.jsonl", []byte("{\"x\":3}\n"))
	put(t, fs, "t/day=2024-01-03/hour=-2/_skipped.jsonl", []byte("{\"x\":8}\n"))
	put(t, fs, "t/day=a%2Fb/hour=3/c.jsonl", []byte("{\"x\":4}\n"))
	for _, c := range []struct {
		args files.SourceArgs
		want []string // of an error: one that it holds
	}{
		{files.SourceArgs{Paths: []string{"t"}, Partitions: []string{"day", "hour"}},
			[]string{`"1" "2024-01-02" "1" `, `"2" "2024-01-02" "1" `, `"3" "2024-01-02" null `, `"4" "a/b" "3" `}},
		{files.SourceArgs{Paths: []string{"t/day=2024-*"}, Partitions: []string{"day", "hour"}, Schema: json.RawMessage(`[{"name":"hour","type":"int32"},{"name":"x","type":"int64"},{"name":"day","type":"date32"}]`)},
			[]string{`"1" "1" "2024-01-02" `, `"1" "2" "2024-01-02" `, `null "3" "2024-01-02" `}},
		{files.SourceArgs{Paths: []string{"t"}, Partitions: []string{"day", "hour"}, Columns: []string{"day", "x"}},
			[]string{`"2024-01-02" "1" `, `"2024-01-02" "2" `, `"2024-01-02" "3" `, `"a/b" "4" `}},
		{files.SourceArgs{Paths: []string{"t/day=2024*"}, Partitions: []string{"day"}, Columns: []string{"day"}, Schema: json.RawMessage(`[{"name":"x","type":"int64"},{"name":"day","type":"date32"}]`)},
			[]string{`"2024-01-02" `, `"2024-01-02" `, `"2024-01-02" `}},
		{files.SourceArgs{Paths: []string{"t"}, Partitions: []string{"day"}, Schema: json.RawMessage(`[{"name":"x","type":"int64"},{"name":"day","type":"date32"}]`)}, []string{"day=a%2Fb"}},
		{files.SourceArgs{Paths: []string{"t"}, Partitions: []string{"hour"}, Schema: json.RawMessage(`[{"name":"x","type":"int64"},{"name":"hour","type":"int32","required":true}]`)}, []string{"never is"}},
		{files.SourceArgs{Paths: []string{"t"}, Partitions: []string{"month"}}, []string{"month=..."}},
	} {
		for i, p := range c.args.Paths {
			c.args.Paths[i] = "faulty:///" + p
		}
		c.args.Format = "jsonl"
		s := mustSource(t, c.args)
		if len(c.want) == 1 {
			if err := readError(t, s); err == nil || !strings.Contains(err.Error(), c.want[0]) || dataflow.KindOf(err) != dataflow.User {
				t.Errorf("%+v: %v, want an error with %s", c.args, err, c.want[0])
			}
			continue
		}
		got := connectortest.Read(t, s, dataflow.SplitHint{})
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", c.args, got, want)
		}
	}
	for _, a := range []files.SourceArgs{
		{Partitions: []string{"day"}, Columns: []string{"day"}},
		{Partitions: []string{"day"}, Schema: json.RawMessage(`[{"name":"x","type":"int64"}]`)},
	} {
		a.Paths, a.Format = []string{"t"}, "jsonl"
		if _, err := files.NewSource(a); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%+v: %v, want an error of kind user", a, err)
		}
	}
}

// What a predicate says of the folders decides which files are read at all; what it
// says of the files' own columns goes to the format.
func TestPartitionPruning(t *testing.T) {
	fs := mem.New()
	use(fs)
	for _, day := range []string{"1", "2", "10", "__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"} {
		put(t, fs, "t/day="+day+"/a.jsonl", []byte("{\"x\":1}\n{\"x\":2}\n"))
	}
	put(t, fs, "bad/day=2/a.jsonl", []byte("{\"x\":1}\n"))
	put(t, fs, "bad/day=soon/a.jsonl", []byte("{\"x\":1}\n"))
	day, x := expr.Col("day"), expr.Col("x")
	for _, c := range []struct {
		path, dayType string
		where         expr.Expr
		want          string // days of the files that are read
	}{
		{"t", "string", expr.Expr{}, "%5F_HIVE_DEFAULT_PARTITION__ 1 10 2 __HIVE_DEFAULT_PARTITION__"},
		{"t", "string", day.Eq("2"), "2"},
		{"t", "string", day.Gt("1").And(x.Eq(1)), "%5F_HIVE_DEFAULT_PARTITION__ 10 2"},
		{"t", "string", day.IsNull(), "__HIVE_DEFAULT_PARTITION__"},
		{"t", "string", day.Eq("__HIVE_DEFAULT_PARTITION__"), "%5F_HIVE_DEFAULT_PARTITION__"},
		{"t", "string", day.Eq("3"), ""},
		{"t", "string", day.Eq("1").Or(x.Eq(2)), "%5F_HIVE_DEFAULT_PARTITION__ 1 10 2 __HIVE_DEFAULT_PARTITION__"},
		{"t/day={1,2,10}", "int64", day.Ge(2), "10 2"},
		{"t/day={1,2,10}", "int64", day.IntDiv(day.Sub(2)).Eq(1), "10 2"}, // fails where day is 2: the file is read
		{"bad", "int64", day.Eq(1), "soon"},
	} {
		schema := json.RawMessage(`[{"name":"x","type":"int64"},{"name":"day","type":"` + c.dayType + `"}]`)
		s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///" + c.path}, Format: "jsonl", Schema: schema, Partitions: []string{"day"}, Predicate: c.where})
		var days []string
		for _, split := range must(s.Splits(t.Context(), dataflow.SplitHint{MaxBytes: 1})) {
			_, rest, _ := strings.Cut(split.ID, "day=")
			d, _, _ := strings.Cut(rest, "/")
			days = append(days, d)
		}
		if got := strings.Join(slices.Compact(days), " "); got != c.want {
			t.Errorf("%s, %s: files of %s, want %s", c.path, c.where, got, c.want)
		}
	}
	_, err := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///t"}, Format: "jsonl", Partitions: []string{"day"}, Predicate: day.Add(1)}).Splits(t.Context(), dataflow.SplitHint{})
	if dataflow.KindOf(err) != dataflow.User {
		t.Errorf("a predicate that is none: %v", err)
	}
	// A row group in which x is never 7 is not read, and of others only the rows asked for.
	for _, k := range []string{"1", "2"} {
		put(t, fs, "p/k="+k+"/a.parquet", filestest.Encode(t, "parquet", "", ints(t, 1, 2, 3)))
	}
	for where, rows := range map[expr.Expr]int{x.Eq(7): 0, x.Eq(2): 2, x.Eq(2).And(expr.Col("k").Eq("1")): 1, expr.Col("k").Ne("1").And(x.Gt(3)): 0} {
		s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///p"}, Format: "parquet", Partitions: []string{"k"}, Predicate: where})
		if got := connectortest.Read(t, s, dataflow.SplitHint{}); len(got) != rows {
			t.Errorf("%s: %q, want %d rows", where, got, rows)
		}
	}
}

// ints is rows of a column x.
func ints(t *testing.T, values ...int64) arrow.RecordBatch {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64}}, nil))
	b.Field(0).(*array.Int64Builder).AppendValues(values, nil)
	return b.NewRecordBatch()
}

// Values of folders give their memory back, whatever the size of batches.
func TestPartitionMemory(t *testing.T) {
	fs := mem.New()
	use(fs)
	put(t, fs, "t/k=v/a.jsonl", []byte(strings.Repeat("{\"x\":1}\n", 10)))
	s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///t"}, Format: "jsonl", Partitions: []string{"k"}})
	splits := must(s.Splits(t.Context(), dataflow.SplitHint{}))
	for _, rows := range []int{1, 3, 100} {
		env, done := filestest.Env(t)
		env.BatchRows = rows
		st := must(s.Open(env, splits[0]))
		got := must(filestest.ReadAll(env, st, must(s.Schema(t.Context()))))
		if len(got) != 10 || got[9] != `"1" | "v"` {
			t.Errorf("rows are %v", got)
		}
		check(t, st.Close())
		done()
	}
}
