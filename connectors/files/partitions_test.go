package files_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
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
