package arrow_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/arrow"
	"github.com/divisi-data/divisi/connectors/files/filestest"
)

func TestArrow(t *testing.T) {
	cases := append(filestest.FlatTables(), filestest.NestedTables()...)
	cases = append(cases, dictionary(t))
	for _, opt := range []string{``, `{"compression":"zstd"}`, `{"compression":"lz4"}`} {
		for _, c := range cases {
			if opt != "" && !strings.Contains(c.Name, "some") {
				continue
			}
			c.Name, c.Format, c.Write, c.Forgetful = c.Name+" "+c.Schema.Field(0).Name+opt, "arrow", opt, true
			filestest.Run(t, c)
		}
	}
}

func dictionary(t *testing.T) filestest.Case {
	dt := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	s := arrow.NewSchema([]arrow.Field{{Name: "k", Type: dt, Nullable: true}, {Name: "n", Type: arrow.PrimitiveTypes.Int32}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(`[{"k":"a","n":1},{"k":"b","n":2},{"k":null,"n":3},{"k":"a","n":4}]`))
	if err != nil {
		t.Fatal(err)
	}
	return filestest.Case{Name: "some dictionary", Schema: s, Rows: []arrow.RecordBatch{b, b}}
}

func TestArrowStream(t *testing.T) {
	for _, c := range filestest.NestedTables()[1:] {
		var out bytes.Buffer
		w := ipc.NewWriter(&out, ipc.WithSchema(c.Schema))
		for _, b := range c.Rows {
			if err := w.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		data := out.Bytes()
		r := filestest.Reader(t, "arrow", files.ReadOptions{})
		s := filestest.SchemaOf(t, r, data)
		for _, cut := range []int64{0, 1, int64(len(data) / 2), int64(len(data))} {
			env, done := filestest.Env(t)
			a, err := filestest.ReadRange(env, r, s, data, 0, cut)
			if err != nil {
				t.Fatal(err)
			}
			b, err := filestest.ReadRange(env, r, s, data, cut, int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(append(a, b...), "\n"), strings.Join(filestest.Strings(c.Rows...), "\n"); got != want {
				t.Errorf("cut at %d: rows are\n%s, want\n%s", cut, got, want)
			}
			done()
		}
	}
}
