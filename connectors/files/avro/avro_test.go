package avro

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/hamba/avro/v2/ocf"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

func TestAvro(t *testing.T) {
	for i, c := range slices.Concat(filestest.FlatTables(), filestest.NestedTables()) {
		for k, opt := range []string{`{"block_bytes":40}`, `{"compression":"none","block_bytes":1}`, `{"compression":"snappy"}`, `{"compression":"zstd","block_bytes":100}`, `{"compression":"bzip2"}`} {
			if strings.Contains(opt, "bzip2") && i > 4 { // whose decoder is slow to begin
				continue
			}
			if k > 0 && !strings.Contains(c.Name, "some") {
				continue
			}
			c := c
			c.Name, c.Format, c.Write = fmt.Sprint(i, " ", c.Name, opt), "avro", opt
			c.Given = i < len(filestest.FlatTables()) // small integers come back as they were
			filestest.Run(t, c)
		}
	}
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "m", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)},
		{Name: "f", Type: &arrow.FixedSizeBinaryType{ByteWidth: 3}},
		{Name: "ns", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}},
		{Name: "t", Type: arrow.FixedWidthTypes.Time64us}, {Name: "nothing", Type: arrow.Null, Nullable: true},
	}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[
		{"m":[{"key":"a","value":1},{"key":"","value":-2}],"f":"AAEC","ns":"2024-01-01 00:00:00.123456789Z","t":"01:02:03.000004","nothing":null},
		{"m":[],"f":"////","ns":"1969-01-01 00:00:00.000000001Z","t":"00:00:00","nothing":null}]`))
	if err != nil {
		t.Fatal(err)
	}
	filestest.Run(t, filestest.Case{Name: "other types", Format: "avro", Schema: schema, Rows: []arrow.RecordBatch{b}})
}

// Files of another writer, with all that ours never writes.
func TestReadsOthers(t *testing.T) {
	const schema = `{"type":"record","name":"r","namespace":"n","fields":[
		{"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},
		{"name":"again","type":"E"},
		{"name":"second","type":["string","null"]},
		{"name":"skipped","type":{"type":"map","values":{"type":"array","items":["null","int","string"]}}},
		{"name":"u","type":{"type":"string","logicalType":"uuid"}},
		{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"d","type":{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":6,"scale":2}},
		{"name":"in","type":{"type":"record","name":"I","fields":[{"name":"x","type":"int"},{"name":"y","type":"bytes"}]}},
		{"name":"one","type":["float"]}]}`
	for _, c := range []ocf.CodecName{ocf.Null, ocf.Deflate, ocf.Snappy, ocf.ZStandard} {
		var out bytes.Buffer
		enc, err := ocf.NewEncoder(schema, &out, ocf.WithCodec(c), ocf.WithBlockLength(2))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 5 {
			row := map[string]any{"e": []string{"A", "B"}[i%2], "again": "B", "second": any("s"), "u": "0-0", "at": time.UnixMilli(int64(i)).UTC(),
				"skipped": map[string]any{"k": []any{nil, map[string]any{"int": 3}, map[string]any{"string": "x"}}, "l": []any{}},
				"d":       bigRat(-256+int64(i), 100), "in": map[string]any{"x": -i, "y": []byte{byte(i)}}, "one": float32(i)}
			if i == 1 {
				row["second"] = nil
			}
			if err := enc.Encode(row); err != nil {
				t.Fatal(c, err)
			}
			second := `"s"`
			if i == 1 {
				second = "null"
			}
			want = append(want, fmt.Sprintf(`"%s" | "B" | %s | "0-0" | "1970-01-01T00:00:00.%03dZ" | "-2.%d" | "%d" | "{\"x\":%d,\"y\":\"%s\"}"`,
				[]string{"A", "B"}[i%2], second, i, 56-i, i, -i, base64Of(byte(i))))
		}
		if err := enc.Close(); err != nil {
			t.Fatal(err)
		}
		data := out.Bytes()
		r := filestest.Reader(t, "avro", files.ReadOptions{Columns: []string{"e", "again", "second", "u", "at", "d", "one", "in"}})
		s := filestest.SchemaOf(t, r, data)
		for cut := int64(0); cut < int64(len(data)); cut += int64(race.Stride(7)) {
			env, done := filestest.Env(t)
			a, err := filestest.ReadRange(env, r, s, data, 0, cut)
			if err != nil {
				t.Fatal(err)
			}
			b, err := filestest.ReadRange(env, r, s, data, cut, int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Concat(a, b)
			for i := range got {
				got[i] = strings.Replace(got[i], "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z", 1)
				got[i] = strings.Replace(got[i], "1970-01-01 00:00:00Z", "1970-01-01T00:00:00.000Z", 1)
			}
			if strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%s cut at %d:\n%s\nwant\n%s", c, cut, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			done()
		}
	}
}

func TestRefusals(t *testing.T) {
	for schema, want := range map[string]string{
		`"int"`: "records",
		`{"type":"record","name":"r","fields":[{"name":"a","type":["int","string"]}]}`:                                        "union",
		`{"type":"record","name":"r","fields":[{"name":"next","type":["null","r"]}]}`:                                         "itself",
		`{"type":"record","name":"r","fields":[{"name":"a","type":{"type":"fixed","name":"f","size":99999999999999999999}}]}`: "schema",
		`{"nonsense`: "schema",
	} {
		data := slices.Concat([]byte("Obj\x01\x02\x16avro.schema"), []byte(string(rune(0))))
		data = append(data[:len(data)-1], varint(len(schema))...)
		data = append(data, schema...)
		data = append(append(data, 0), make([]byte, 16)...)
		r := filestest.Reader(t, "avro", files.ReadOptions{})
		_, err := r.Schema(t.Context(), func() (*files.Input, error) { return filestest.InputOf(data, 0, int64(len(data))), nil })
		if err == nil || !strings.Contains(err.Error(), want) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "test.file") {
			t.Errorf("%s: %v", schema, err)
		}
	}
	for options, want := range map[string]string{`{"compression":"lzo"}`: "lzo", `{"block_bytes":0}`: "block_bytes", `{"x":1}`: "x"} {
		if _, err := (format{}).Writer(files.WriteOptions{Options: json.RawMessage(options)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
	env, done := filestest.Env(t)
	defer done()
	w, err := (format{}).Writer(files.WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []arrow.Field{{Name: "no name", Type: arrow.BinaryTypes.String}, {Name: "d", Type: &arrow.DurationType{}}} {
		if _, err := w.Open(env, &bytes.Buffer{}, arrow.NewSchema([]arrow.Field{f}, nil)); err == nil || !strings.Contains(err.Error(), f.Name) {
			t.Errorf("%s is written: %v", f, err)
		}
	}
}

// A value that does not fit what is asked for is an error, not another value.
func TestGivenTypes(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "t", Type: &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(`[{"a":300,"t":"9999-01-01 00:00:00Z"}]`))
	if err != nil {
		t.Fatal(err)
	}
	data := filestest.Encode(t, "avro", "", b)
	for schema, want := range map[string]string{
		`[{"name":"a","type":"int16"}]`:             `"300"`,
		`[{"name":"a","type":"uint8"}]`:             "does not fit",
		`[{"name":"a","type":"string"}]`:            "cannot be read",
		`[{"name":"t","type":"timestamp(us,UTC)"}]`: `"9999-01-01`,
		`[{"name":"t","type":"timestamp(ns,UTC)"}]`: "does not fit",
		`[{"name":"t","type":"timestamp(s,UTC)"}]`:  "cannot be read",
		`[{"name":"t","type":"timestamp(ms)"}]`:     "cannot be read",
		`[{"name":"other","type":"timestamp(ms)"}]`: "other",
		`[{"name":"a","type":"list<int64>"}]`:       "cannot be read",
	} {
		given, err := files.DecodeSchema(json.RawMessage(schema))
		if err != nil {
			t.Fatal(err)
		}
		env, done := filestest.Env(t)
		r := filestest.Reader(t, "avro", files.ReadOptions{Schema: given})
		got, err := filestest.ReadRange(env, r, given, data, 0, int64(len(data)))
		if err != nil && dataflow.KindOf(err) == dataflow.User {
			got = []string{err.Error()}
		}
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %v, %v; want %s", schema, got, err, want)
		}
		done()
	}
}
