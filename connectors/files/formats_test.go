package files_test

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/arrow"
	_ "github.com/divisi-data/divisi/connectors/files/csv"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	_ "github.com/divisi-data/divisi/connectors/files/jsonl"
	_ "github.com/divisi-data/divisi/connectors/files/parquet"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage/mem"
)

// Every format keeps the connector's promises; the columnar ones find their schema
// themselves, and it travels in the splits.
func TestConnectorFormats(t *testing.T) {
	flat, nested := filestest.FlatTables(), filestest.NestedTables()
	some := func(cases []filestest.Case) filestest.Case { return cases[3] }
	for _, c := range []struct {
		name, format, options string
		table                 filestest.Case
		given                 bool
	}{
		{"csv", "csv", "", some(flat), true},
		{"csv split", "csv", `{"multiline":false,"header":false}`, some(flat), true},
		{"jsonl", "jsonl", "", some(nested), true},
		{"parquet", "parquet", "", some(nested), false},
		{"parquet flat", "parquet", "", some(flat), false},
		{"arrow", "arrow", "", some(nested), false},
	}[race.Tries(0, 0, 4):] {
		t.Run(c.name, func(t *testing.T) {
			var schema json.RawMessage
			if c.given {
				schema = must(files.EncodeSchema(c.table.Schema))
			}
			b := c.table.Rows[0]
			connectortest.Run(t, connectortest.Connector{
				New: func(t *testing.T) connectortest.Place {
					dir := t.TempDir()
					out := filepath.Join(dir, "out")
					return connectortest.Place{
						Sink:    mustSink(t, files.SinkArgs{Path: out, Format: c.format, Options: json.RawMessage(c.options)}),
						Source:  mustSource(t, files.SourceArgs{Paths: []string{out}, Format: c.format, Options: json.RawMessage(c.options), Schema: schema}),
						Visible: func() []string { return tree(t, dir, true) },
						Left:    func() []string { return tree(t, dir, false) },
					}
				},
				Batches: []arrow.RecordBatch{b.NewSlice(0, 1), b.NewSlice(1, b.NumRows()), b},
				Modes:   true,
			})
		})
	}
}

func TestSkipPolicy(t *testing.T) {
	fs := mem.New()
	use(fs)
	put(t, fs, "x", []byte("1\nbad\n2\nworse\n3\n"))
	for _, c := range []struct {
		policy files.Policy
		rows   int
		fails  bool
	}{
		{files.Policy{}, 0, true}, {files.Policy{Bad: "fail"}, 0, true},
		{files.Policy{Bad: "skip"}, 3, false}, {files.Policy{Bad: "skip", Max: 2}, 3, false}, {files.Policy{Bad: "skip", Max: 1}, 0, true},
	} {
		src := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///x"}, Format: "tsv", Schema: json.RawMessage(`[{"name":"n","type":"int64"}]`), Policy: c.policy})
		env, done := filestest.Env(t)
		s := must(src.Open(env, must(src.Splits(t.Context(), dataflow.SplitHint{}))[0]))
		rows, err := filestest.ReadAll(env, s, must(src.Schema(t.Context())))
		s.Close()
		if c.fails != (err != nil) || c.fails && (!errors.Is(err, dataflow.ErrMalformed) || !strings.Contains(err.Error(), "faulty:///x:")) {
			t.Errorf("%+v: %v", c.policy, err)
		}
		if n := env.Counters.Values()["files.bad_records"]; !c.fails && (len(rows) != c.rows || n != 2) {
			t.Errorf("%+v: %d rows, %d counted as bad, want %d and 2", c.policy, len(rows), n, c.rows)
		}
		done()
	}
}
