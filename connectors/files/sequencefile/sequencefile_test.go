package sequencefile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

func table(t testing.TB, key, value arrow.DataType, rows string) []arrow.RecordBatch {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{{Name: "key", Type: key, Nullable: key.ID() == arrow.NULL}, {Name: "value", Type: value, Nullable: value.ID() == arrow.NULL}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return []arrow.RecordBatch{b}
}

// long is n rows of a word and a number.
func long(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"key":"key %d%s","value":%d}`, i, strings.Repeat("x", i%17), i*i-500)
	}
	return "[" + b.String() + "]"
}

func TestSequenceFile(t *testing.T) {
	str, bin := arrow.BinaryTypes.String, arrow.BinaryTypes.Binary
	i32, i64 := arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64
	run := func(name, options string, rows []arrow.RecordBatch) {
		filestest.Run(t, filestest.Case{Name: name + " " + options, Format: "sequencefile", Write: options, Schema: rows[0].Schema(), Rows: rows})
	}
	many := table(t, str, i64, long(400))
	for _, c := range []string{"deflate", "gzip", "bzip2", "snappy", "lz4", "zstd"} {
		if c == "bzip2" { // whose decoder is slow to begin
			run("few", `{"compression":"bzip2","block_bytes":10}`, table(t, str, i64, long(2)))
			continue
		}
		run("many", `{"compression":"`+c+`","block_bytes":300}`, many)
		run("many", `{"compression":"`+c+`","type":"record","sync_interval":500}`, table(t, str, i64, long(40)))
	}
	run("many", `{"sync_interval":500,"metadata":{"a":"b","c":""}}`, many)
	run("many", `{"sync_interval":1,"key_class":"BytesWritable","value_class":"VLongWritable"}`, table(t, bin, i64, `[
		{"key":"AAEC","value":0},{"key":"","value":-112},{"key":"/w==","value":-113},{"key":"","value":127},{"key":"","value":128},
		{"key":"","value":-9223372036854775808},{"key":"","value":9223372036854775807},{"key":"","value":-256},{"key":"","value":-257},{"key":"","value":65536}]`))
	run("none", ``, table(t, str, i64, `[]`))
	run("none", `{"compression":"deflate"}`, table(t, str, i64, `[]`))
	run("null", `{"compression":"snappy"}`, table(t, arrow.Null, i32, `[{"key":null,"value":1},{"key":null,"value":-1}]`))
	run("numbers", ``, table(t, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, `[{"key":1.5,"value":-2.25},{"key":0,"value":1e300}]`))
	run("small", ``, table(t, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, `[{"key":-128,"value":-32768},{"key":127,"value":32767}]`))
	run("truth", ``, table(t, arrow.FixedWidthTypes.Boolean, i32, `[{"key":true,"value":-2147483648},{"key":false,"value":2147483647}]`))
}

// A mark that stands at the end of a range, and empty ranges, are right wherever the
// cuts lie: many cuts of a small file.
func TestManyCuts(t *testing.T) {
	for _, options := range []string{`{"sync_interval":1}`, `{"compression":"deflate","block_bytes":1}`} {
		rows := table(t, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64, long(5))
		data := filestest.Encode(t, "sequencefile", options, rows...)
		r := filestest.Reader(t, "sequencefile", files.ReadOptions{})
		schema := filestest.SchemaOf(t, r, data)
		for step := 1; step < 70; step += 3 * race.Stride(5) {
			env, done := filestest.Env(t)
			var got []string
			for at := 0; at < len(data); at += step {
				part, err := filestest.ReadRange(env, r, schema, data, int64(at), int64(min(at+step, len(data))))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, part...)
			}
			if want := filestest.Strings(rows...); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Fatalf("%s in steps of %d: %v, want %v", options, step, got, want)
			}
			done()
		}
	}
}

// Numbers of variable length, as Hadoop's WritableUtils writes them.
func TestVLong(t *testing.T) {
	for v, want := range map[int64]string{0: "00", 127: "7f", -112: "90", 128: "8f80", -113: "8770", 255: "8fff", 256: "8e0100", -256: "87ff", -257: "860100",
		math.MaxInt64: "887fffffffffffffff", math.MinInt64: "807fffffffffffffff"} {
		b := appendVLong(nil, v)
		if got := fmt.Sprintf("%x", b); got != want {
			t.Errorf("%d is %s, want %s", v, got, want)
		}
		if got, rest, err := cutVLong(b); got != v || len(rest) > 0 || err != nil {
			t.Errorf("%d comes back as %d, %v", v, got, err)
		}
		if got, err := readVLong(bytes.NewReader(b)); got != v || err != nil {
			t.Errorf("%d is read as %d, %v", v, got, err)
		}
	}
}

func TestGivenSchema(t *testing.T) {
	rows := table(t, arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String, `[{"key":-7,"value":"x"}]`)
	data := filestest.Encode(t, "sequencefile", "", rows...)
	for _, c := range []struct {
		schema, want string
	}{
		{`[{"name":"key","type":"int64"},{"name":"value","type":"binary"}]`, `"-7" | "eA=="`},
		{`[{"name":"value","type":"string"}]`, `"x"`},
		{`[{"name":"key","type":"int16"}]`, "IntWritable"},
		{`[{"name":"key","type":"uint32"}]`, "IntWritable"},
		{`[{"name":"key","type":"float64"}]`, "IntWritable"},
		{`[{"name":"value","type":"int64"}]`, "Text"},
		{`[{"name":"other","type":"int64"}]`, "other"},
	} {
		given, err := files.DecodeSchema(json.RawMessage(c.schema))
		if err != nil {
			t.Fatal(err)
		}
		env, done := filestest.Env(t)
		r := filestest.Reader(t, "sequencefile", files.ReadOptions{Schema: given})
		got, err := filestest.ReadRange(env, r, given, data, 0, int64(len(data)))
		if err != nil && dataflow.KindOf(err) == dataflow.User {
			got = []string{err.Error()}
		}
		if len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: %v, %v, want %s", c.schema, got, err, c.want)
		}
		done()
	}
}

func TestRefusals(t *testing.T) {
	for options, want := range map[string]string{`{"compression":"brotli"}`: "brotli", `{"type":"x"}`: "block", `{"key_class":"My"}`: "My", `{"block_bytes":-1}`: "positive", `{"x":1}`: "x"} {
		if _, err := (format{}).Writer(files.WriteOptions{Options: json.RawMessage(options)}); err == nil || !strings.Contains(err.Error(), want) || dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%s: %v", options, err)
		}
	}
	env, done := filestest.Env(t)
	defer done()
	w, err := (format{}).Writer(files.WriteOptions{Options: json.RawMessage(`{"value_class":"IntWritable"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Open(env, &bytes.Buffer{}, table(t, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, `[]`)[0].Schema()); err == nil {
		t.Error("64 bits fit into 32")
	}
	e, err := w.Open(env, &bytes.Buffer{}, table(t, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32, `[]`)[0].Schema())
	if err != nil {
		t.Fatal(err)
	}
	null := arrow.NewSchema([]arrow.Field{{Name: "key", Type: arrow.PrimitiveTypes.Int32}, {Name: "value", Type: arrow.PrimitiveTypes.Int32, Nullable: true}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, null, strings.NewReader(`[{"key":1,"value":null}]`))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(b); err == nil || !strings.Contains(err.Error(), "value") {
		t.Errorf("a null is written: %v", err)
	}
}
