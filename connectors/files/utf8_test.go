package files_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/avro"
	"github.com/divisi-data/divisi/dataflow"
)

// ofJSON makes a batch of a column "good" that is in order and the given one, called s.
func ofJSON(t *testing.T, dt arrow.DataType, rows ...string) dataflow.Batch {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "good", Type: arrow.BinaryTypes.String}, {Name: "s", Type: dt, Nullable: true}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader("["+strings.Join(rows, ",")+"]"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// spoil makes the bytes of a batch's texts what JSON cannot say: each @ becomes 0xff, and
// what stands between ( and ) one letter of two bytes that is cut in the middle.
func spoil(data arrow.ArrayData) {
	for _, b := range data.Buffers() {
		if b == nil {
			continue
		}
		for i, c := range b.Bytes() {
			switch c {
			case '@':
				b.Bytes()[i] = 0xff
			case '(':
				b.Bytes()[i] = 0xc3
			case ')':
				b.Bytes()[i] = 0xa9
			}
		}
	}
	for _, c := range data.Children() {
		spoil(c)
	}
	if data.DataType().ID() == arrow.DICTIONARY {
		spoil(data.Dictionary())
	}
}

// TestTextIsChecked: what other readers would refuse is not written, and what holds bytes
// may hold any.
func TestTextIsChecked(t *testing.T) {
	str := arrow.BinaryTypes.String
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: str}
	for _, c := range []struct {
		name string
		dt   arrow.DataType
		rows []string
		bad  string // in the error; "": there is none
	}{
		{"good", str, []string{`{"good":"é","s":"ü€"}`, `{"good":"","s":null}`, `{"good":"x","s":"𝄞"}`}, ""},
		{"bad", str, []string{`{"good":"é","s":"a"}`, `{"good":"","s":null}`, `{"good":"","s":"b@"}`}, `column s, row 12: the text is not UTF-8: "b\xff"`},
		{"cut in the middle", str, []string{`{"good":"","s":"a("}`, `{"good":"",  "s":")b"}`}, `column s, row 10: the text is not UTF-8: "a\xc3"`},
		{"whole", str, []string{`{"good":"","s":"a()"}`, `{"good":"","s":"()b"}`}, ""},
		{"large", arrow.BinaryTypes.LargeString, []string{`{"good":"","s":"@"}`}, "column s, row 10"},
		{"bytes", arrow.BinaryTypes.Binary, []string{`{"good":"","s":"QEBA"}`}, ""},
		{"list", arrow.ListOf(str), []string{`{"good":"","s":["a"]}`, `{"good":"","s":["b","@"]}`}, "column s, row 11"},
		{"struct", arrow.StructOf(arrow.Field{Name: "x", Type: str, Nullable: true}), []string{`{"good":"","s":{"x":"a"}}`, `{"good":"","s":{"x":"@"}}`}, "column s, row 11"},
		{"keys", arrow.MapOf(str, arrow.PrimitiveTypes.Int64), []string{`{"good":"","s":[{"key":"@","value":1}]}`}, "column s, row 10"},
		{"values", arrow.MapOf(str, str), []string{`{"good":"","s":[{"key":"a","value":"@"}]}`}, "column s, row 10"},
		{"dictionary", dict, []string{`{"good":"","s":"a"}`, `{"good":"","s":"@"}`}, "column s, row 11"},
	} {
		b := ofJSON(t, c.dt, c.rows...)
		spoil(b.Column(1).Data())
		err := files.CheckText("x", b, 10)
		if c.bad == "" && err != nil || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad) || dataflow.KindOf(err) != dataflow.User || !errors.Is(err, dataflow.ErrMalformed)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.bad)
		}
		if first := b.NewSlice(0, 1); c.name == "list" || c.name == "bad" { // what no row shows
			if err := files.CheckText("x", first, 0); err != nil {
				t.Errorf("%s: the first row alone: %v", c.name, err)
			}
		}
	}
	for _, dt := range []arrow.DataType{str, arrow.BinaryTypes.LargeString} { // texts of empty lists, as a gather of no rows makes them
		none := array.NewData(dt, 0, []*memory.Buffer{nil, memory.NewBufferBytes(nil), memory.NewBufferBytes([]byte{})}, nil, 0, 0)
		lists := array.NewData(arrow.ListOf(dt), 1, []*memory.Buffer{nil, memory.NewBufferBytes(make([]byte, 8))}, []arrow.ArrayData{none}, 0, 0)
		b := array.NewRecordBatch(arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.ListOf(dt)}}, nil), []arrow.Array{array.MakeFromData(lists)}, 1)
		check(t, files.CheckText("x", b, 0))
	}
	for _, name := range []string{"parquet", "avro", "arrow"} {
		f := must(files.LookupFormat(name))
		w := must(f.Writer(files.WriteOptions{}))
		good, bad := ofJSON(t, str, `{"good":"","s":"a"}`), ofJSON(t, str, `{"good":"","s":"a"}`, `{"good":"","s":"@"}`)
		spoil(bad.Column(1).Data())
		e := must(w.Open(dataflow.NewEnv(t.Context()), io.Discard, good.Schema()))
		check(t, e.Write(good))
		if err := e.Write(bad); err == nil || !strings.Contains(err.Error(), name+".Write") || !strings.Contains(err.Error(), "column s, row 2") {
			t.Errorf("%s: %v", name, err)
		}
		_ = e.Close()
	}
}
