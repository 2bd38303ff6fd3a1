package files_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
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
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/mem"
)

// folderSchema is a column of the files' own between two of folders.
const folderSchema = `[{"name":"k","type":"string"},{"name":"x","type":"int64"},{"name":"d","type":"date32"}]`

func folderRows(t testing.TB, rows string) arrow.RecordBatch {
	t.Helper()
	s := must(files.DecodeSchema(json.RawMessage(folderSchema)))
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(rows))
	check(t, err)
	return b
}

// A sink whose files lie in folders, and one whose files have a size, keep a sink's
// promises.
func TestConnectorFolders(t *testing.T) {
	for name, args := range map[string]files.SinkArgs{
		"folders":          {PartitionBy: []string{"d", "k"}},
		"sizes":            {TargetBytes: 20},
		"folders of sizes": {PartitionBy: []string{"k"}, TargetBytes: 1},
	} {
		t.Run(name, func(t *testing.T) {
			connectortest.Run(t, connectortest.Connector{
				New: func(t *testing.T) connectortest.Place {
					dir := t.TempDir()
					args := args
					args.Path, args.Format = filepath.Join(dir, "deep", "out"), "jsonl"
					return connectortest.Place{
						Sink: mustSink(t, args),
						Source: mustSource(t, files.SourceArgs{Paths: []string{args.Path}, Format: "jsonl", Schema: json.RawMessage(folderSchema),
							Partitions: args.PartitionBy, Columns: []string{"k", "x", "d"}}),
						Visible: func() []string { return tree(t, dir, true) },
						Left:    func() []string { return tree(t, dir, false) },
					}
				},
				Batches: []arrow.RecordBatch{
					folderRows(t, `[{"k":"a","x":1,"d":"2024-01-02"},{"k":"a","x":2,"d":"2024-01-02"},{"k":"b","x":3,"d":"2024-01-02"},{"k":null,"x":4,"d":null}]`),
					folderRows(t, `[{"k":"a/b=c","x":5,"d":"1969-12-31"}]`),
					folderRows(t, `[{"k":"a","x":6,"d":null},{"k":"b","x":null,"d":"2024-01-02"},{"k":"a","x":8,"d":null}]`),
				},
				Modes: true,
			})
		})
	}
}

// What folders and files are called, and which rows are where.
func TestFolderNames(t *testing.T) {
	dir := t.TempDir()
	s := mustSink(t, files.SinkArgs{Path: filepath.Join(dir, "out"), Format: "csv", Options: json.RawMessage(`{"compression":"gzip"}`), PartitionBy: []string{"d", "k"}})
	run := func(job string, mode dataflow.Mode, parts ...arrow.RecordBatch) {
		c := dataflow.Commit{Job: job, Mode: mode}
		c.Prepared = must(s.Prepare(t.Context(), c))
		var won []dataflow.Receipt
		for i, b := range parts {
			won = append(won, seal(t, s, c, i, b))
		}
		check(t, s.Publish(t.Context(), c, won))
		check(t, s.Clean(t.Context(), c))
	}
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for _, n := range tree(t, dir, false) {
			if strings.HasSuffix(n, ".gz") || strings.HasPrefix(filepath.Base(n), "_") {
				got = append(got, strings.TrimPrefix(n, "/out/"))
			}
		}
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Errorf("files are %q, want %q", got, want)
		}
	}
	run("a", dataflow.Fail,
		folderRows(t, `[{"k":"a","x":1,"d":"2024-01-02"},{"k":"x y%.","x":2,"d":"2024-01-02"},{"k":"a","x":3,"d":"2024-01-02"}]`),
		folderRows(t, `[{"k":"","x":1,"d":null},{"k":null,"x":1,"d":null},{"k":"__HIVE_DEFAULT_PARTITION__","x":2,"d":null},{"k":"[1]:\n","x":2,"d":null}]`))
	first := []string{"_SUCCESS", "d=2024-01-02/k=a/part-00000.csv.gz", "d=2024-01-02/k=a/part-00000-00001.csv.gz", "d=2024-01-02/k=x y%25./part-00000.csv.gz",
		"d=__HIVE_DEFAULT_PARTITION__/k=__HIVE_DEFAULT_PARTITION__/part-00001.csv.gz",
		"d=__HIVE_DEFAULT_PARTITION__/k=%5F_HIVE_DEFAULT_PARTITION__/part-00001.csv.gz",
		"d=__HIVE_DEFAULT_PARTITION__/k=%5B1%5D%3A%0A/part-00001.csv.gz"}
	expect(first...)
	run("b", dataflow.Append, folderRows(t, `[{"k":"a","x":1,"d":"2024-01-02"}]`))
	expect(append(first, "d=2024-01-02/k=a/part-00002.csv.gz")...)
	run("c", dataflow.Replace, folderRows(t, `[{"k":"z","x":1,"d":"2024-01-02"}]`))
	expect("_SUCCESS", "d=2024-01-02/k=z/part-00000.csv.gz")
	got := connectortest.Read(t, mustSource(t, files.SourceArgs{Paths: []string{filepath.Join(dir, "out")}, Format: "csv"}), dataflow.SplitHint{})
	if len(got) != 1 || got[0] != `"1" ` {
		t.Errorf("the file itself holds %q, want column x alone", got)
	}
}

// Whatever stands in them, texts that name folders are read back as they were, but for
// the empty one, which Hive calls as it calls null.
func TestFolderValues(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	const letters = " %=/:*?[]{}^\\\"'#.~\n\t\x7f\x01a_\xc3\xa9" // some of them no UTF-8 alone
	text := func() string {
		b := make([]byte, rnd.IntN(12))
		for i := range b {
			b[i] = letters[rnd.IntN(len(letters))]
		}
		return string(b)
	}
	for range 30 {
		fs := mem.New()
		use(fs)
		schema := arrow.NewSchema([]arrow.Field{{Name: "k%=", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "m", Type: arrow.BinaryTypes.String}}, nil)
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		var want []string
		for i := range 40 {
			k, m := text(), text()
			shown := fmt.Sprintf("%q", k)
			if k == "" {
				shown = "null"
			}
			b.Field(0).(*array.StringBuilder).Append(k)
			b.Field(1).(*array.Int64Builder).Append(int64(i))
			b.Field(2).(*array.StringBuilder).Append(m)
			want = append(want, fmt.Sprintf("%s \"%d\" %q ", shown, i, m))
		}
		s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "jsonl", PartitionBy: []string{"k%=", "m"}})
		c := dataflow.Commit{Job: "j"}
		c.Prepared = must(s.Prepare(t.Context(), c))
		check(t, s.Publish(t.Context(), c, []dataflow.Receipt{seal(t, s, c, 0, b.NewRecordBatch())}))
		src := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///out"}, Format: "jsonl", Schema: must(files.EncodeSchema(schema)), Partitions: []string{"k%=", "m"}})
		got := connectortest.Read(t, src, dataflow.SplitHint{})
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Fatalf("rows are %q, want %q", got, want)
		}
	}
}

// Files of about a size, in order by their names, whole rows each.
func TestTargetBytes(t *testing.T) {
	const target = 1 << 20
	rnd := rand.New(rand.NewPCG(9, 10))
	var batches []arrow.RecordBatch
	var want []string
	for i := range 64 {
		row := make([]string, 100)
		for k := range row {
			noise := make([]byte, 480)
			for i := 0; i < len(noise); i += 8 {
				binary.LittleEndian.PutUint64(noise[i:], rnd.Uint64())
			}
			row[k] = fmt.Sprintf("%03d %x %x", i, make([]byte, rnd.IntN(10)), noise)
		}
		batches = append(batches, lines(row...))
		want = append(want, filestest.Strings(batches[i])...)
	}
	for _, format := range []string{"text", "parquet"} {
		fs := mem.New()
		use(fs)
		s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: format, TargetBytes: target})
		c := dataflow.Commit{Job: "j"}
		c.Prepared = must(s.Prepare(t.Context(), c))
		check(t, s.Publish(t.Context(), c, []dataflow.Receipt{seal(t, s, c, 3, batches...), seal(t, s, c, 4), seal(t, s, c, 5, lines("last"))}))
		check(t, s.Clean(t.Context(), c))
		all := names(t, fs)
		var parts []string
		for _, n := range all {
			if strings.HasPrefix(n, "out/part-00003-") {
				parts = append(parts, n)
			}
		}
		if len(parts) < 3 || len(all) != len(parts)+2 || !strings.HasPrefix(all[len(all)-1], "out/part-00005-00000") {
			t.Fatalf("%s: files are %v", format, all)
		}
		var got []string
		for i, n := range parts {
			size := must(storage.Stat(t.Context(), fs, n)).Size
			if size > 2*target || i < len(parts)-1 && size < target/3 {
				t.Errorf("%s: %s has %d bytes", format, n, size)
			}
			src := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///" + n}, Format: format})
			env := dataflow.NewEnv(t.Context())
			for _, split := range must(src.Splits(t.Context(), dataflow.SplitHint{})) {
				st := must(src.Open(env, split))
				got = append(got, must(filestest.ReadAll(env, st, must(src.Schema(t.Context()))))...)
				st.Close()
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d files of %d rows, want %d in order", format, len(parts), len(got), len(want))
		}
	}
}

func TestFolderArguments(t *testing.T) {
	for _, a := range []files.SinkArgs{
		{PartitionBy: []string{"_k"}}, {PartitionBy: []string{".k"}}, {PartitionBy: []string{"k", "k"}}, {PartitionBy: []string{""}}, {TargetBytes: -1},
	} {
		a.Path, a.Format = "out", "jsonl"
		if _, err := files.NewSink(a); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%+v: %v, want an error of kind user", a, err)
		}
	}
	use(mem.New())
	for want, columns := range map[string][]string{"no column": {"q"}, "nothing is left": {"k", "x", "d"}} {
		s := mustSink(t, files.SinkArgs{Path: "faulty:///out", Format: "jsonl", PartitionBy: columns})
		env := dataflow.NewEnv(t.Context())
		env.Output.Commit.Prepared = []byte("{}")
		w := must(s.Open(env))
		err := w.Write(t.Context(), folderRows(t, `[{"k":"a","x":1,"d":null}]`))
		if dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error of kind user with %q", columns, err, want)
		}
		check(t, w.Abort(t.Context()))
	}
}
