package files_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage/mem"
)

// A format that has to look where records begin is cut into ranges of whole records.
func TestAlignedSplits(t *testing.T) {
	fs := mem.New()
	use(fs)
	var text strings.Builder
	var want []string
	for n := range 400 {
		fmt.Fprintf(&text, "%d,\"line\n%d\"\n", n, n)
		want = append(want, fmt.Sprintf("%q %q ", fmt.Sprint(n), fmt.Sprintf("line\n%d", n)))
	}
	slices.Sort(want)
	put(t, fs, "t/k=1/a.csv", []byte(text.String()))
	put(t, fs, "long.csv", []byte("1,\""+strings.Repeat("2\n", 5000)+"\"\n3,4\n"))
	schema := json.RawMessage(`[{"name":"a","type":"string"},{"name":"b","type":"string"}]`)
	for _, c := range []struct {
		args   files.SourceArgs
		splits func(n int) bool
	}{
		{files.SourceArgs{}, func(n int) bool { return n > 5 }},
		{files.SourceArgs{Options: json.RawMessage(`{"header":false,"split":false}`)}, func(n int) bool { return n == 1 }},
		{files.SourceArgs{Partitions: []string{"k"}, Columns: []string{"a", "b"},
			Schema: json.RawMessage(`[{"name":"a","type":"string"},{"name":"b","type":"string"},{"name":"k","type":"string"}]`)}, func(n int) bool { return n > 5 }},
	} {
		a := c.args
		a.Paths, a.Format = []string{"faulty:///t"}, "csv"
		if a.Options == nil {
			a.Options = json.RawMessage(`{"header":false}`)
		}
		if a.Schema == nil {
			a.Schema = schema
		}
		s := mustSource(t, a)
		hint := dataflow.SplitHint{MaxBytes: 1000}
		if splits := must(s.Splits(t.Context(), hint)); !c.splits(len(splits)) {
			t.Errorf("%+v: %d splits", c.args, len(splits))
		}
		for _, max := range []int64{0, 13, 1000, int64(text.Len())} {
			if got := connectortest.Read(t, s, dataflow.SplitHint{MaxBytes: max}); !slices.Equal(got, want) {
				t.Errorf("%v, splits of %d bytes: %d rows %.200q, want %d %.200q", c.args.Partitions, max, len(got), got, len(want), want)
			}
		}
	}
	// A record over many cuts is one range, and no range is empty.
	s := mustSource(t, files.SourceArgs{Paths: []string{"faulty:///long.csv"}, Format: "csv", Options: json.RawMessage(`{"header":false}`), Schema: schema})
	splits := must(s.Splits(t.Context(), dataflow.SplitHint{MaxBytes: 4}))
	var at []string
	for _, s := range splits {
		at = append(at, strings.TrimPrefix(s.ID, "0"))
	}
	if len(splits) != 2 || splits[0].Bytes != 10_005 || splits[1].Bytes != 4 {
		t.Errorf("splits are %v", at)
	}
}
