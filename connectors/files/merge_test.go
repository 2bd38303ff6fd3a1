package files_test

import (
	"io"
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
	"github.com/divisi-data/divisi/storage/mem"
)

// Files of one input differ in their columns: one that a file lacks is null where it
// may be, and what cannot be brought together is an error that names the file.
func TestFilesThatDiffer(t *testing.T) {
	i64, str := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	rows := func(text string, fields ...arrow.Field) arrow.RecordBatch {
		b, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, format := range []string{"parquet", "arrow", "avro"} {
		fs := mem.New()
		use(fs)
		a := arrow.Field{Name: "a", Type: i64, Nullable: true}
		put(t, fs, "in/1", filestest.Encode(t, format, "", rows(`[{"a":1,"b":"x","l":[7]},{"a":2,"b":null,"l":null}]`, a,
			arrow.Field{Name: "b", Type: str, Nullable: true}, arrow.Field{Name: "l", Type: arrow.ListOf(i64), Nullable: true})))
		put(t, fs, "in/2", filestest.Encode(t, format, "", rows(`[{"c":true,"a":3},{"c":false,"a":4}]`, arrow.Field{Name: "c", Type: arrow.FixedWidthTypes.Boolean}, a)))
		put(t, fs, "other/1", filestest.Encode(t, format, "", rows(`[{"z":1}]`, arrow.Field{Name: "z", Type: i64})))
		put(t, fs, "types/1", filestest.Encode(t, format, "", rows(`[{"a":"1"}]`, arrow.Field{Name: "a", Type: str})))
		args := func(schema string, paths ...string) files.SourceArgs {
			s := files.SourceArgs{Format: format, Schema: []byte(schema)}
			for _, p := range paths {
				s.Paths = append(s.Paths, "faulty:///"+p)
			}
			return s
		}
		got := connectortest.Read(t, mustSource(t, args("", "in")), dataflow.SplitHint{})
		want := []string{`"1" "x" "[7]" `, `"2" null null `, `"3" null null `, `"4" null null `}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", format, got, want)
		}
		for _, c := range []struct {
			args files.SourceArgs
			want []string
		}{
			{args("", "in", "other"), []string{"other/1", "a"}},
			{args("", "in", "types"), []string{"types/1", "a"}},
			{args(`[{"name":"a","type":"int64"},{"name":"b","type":"string","required":true}]`, "in/2"), []string{"in/2", "b"}},
			{args(`[{"name":"q","type":"int64"}]`, "in"), []string{"in/1", "q"}},
		} {
			err := readError(t, mustSource(t, c.args))
			if err == nil || dataflow.KindOf(err) != dataflow.User {
				t.Fatalf("%s of %v: %v, want an error of kind user", format, c.args.Paths, err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%s of %v: %v does not name %s", format, c.args.Paths, err, w)
				}
			}
		}
	}
}

func readError(t *testing.T, s dataflow.Source) error {
	t.Helper()
	splits, err := s.Splits(t.Context(), dataflow.SplitHint{})
	for _, split := range splits {
		st, oerr := s.Open(dataflow.NewEnv(t.Context()), split)
		if oerr != nil {
			return oerr
		}
		for err == nil {
			var b dataflow.Batch
			if b, err = st.Next(t.Context()); err == nil {
				b.Release()
			}
		}
		st.Close()
		if err != io.EOF {
			return err
		}
		err = nil
	}
	return err
}
