package csv_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/csv"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
)

var strs = arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)

func table(t testing.TB, schema *arrow.Schema, json string) arrow.RecordBatch {
	t.Helper()
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(json))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCSV(t *testing.T) {
	for _, opt := range []string{``, `{"header":false,"delimiter":";"}`, `{"multiline":false,"null":"NULL"}`, `{"multiline":false,"header":false}`} {
		for _, c := range filestest.FlatTables() {
			c.Name, c.Format, c.Given, c.Read, c.Write = c.Name+opt, "csv", true, opt, opt
			filestest.Run(t, c)
		}
	}
	tricky := table(t, strs, `[{"a":"one\nline\r\nmore","b":"\"q\""},{"a":"","b":null},{"a":null,"b":""},{"a":",;\"\n","b":"NULL"},{"a":"\"","b":"\"\""},{"a":"x","b":" y "}]`)
	for _, opt := range []string{``, `{"null":"NULL"}`, `{"header":false,"delimiter":"|"}`} {
		filestest.Run(t, filestest.Case{Name: "tricky" + opt, Format: "csv", Read: opt, Write: opt, Schema: strs, Given: true, Rows: []arrow.RecordBatch{tricky}})
	}
}

// The standard library reads what is written.
func TestCSVOracle(t *testing.T) {
	b := table(t, strs, `[{"a":"x,y","b":"line\nfeed"},{"a":"\"quoted\"","b":"plain"},{"a":"1","b":"2"}]`)
	got, err := csv.NewReader(strings.NewReader(string(filestest.Encode(t, "csv", "", b)))).ReadAll()
	if err != nil || fmt.Sprint(got) != fmt.Sprint([][]string{{"a", "b"}, {"x,y", "line\nfeed"}, {`"quoted"`, "plain"}, {"1", "2"}}) {
		t.Errorf("read by encoding/csv: %q, %v", got, err)
	}
}

func TestCSVInference(t *testing.T) {
	data := []byte("i,f,b,d,t,s,n,q\n1,1.5,true,2024-01-02,2024-01-02 03:04:05,x,,\"1\"\n-2,3,false,2024-01-03,2024-01-02T03:04:05.5,1,,2\n,,,,,,,\n")
	r := filestest.Reader(t, "csv", files.ReadOptions{})
	s := filestest.SchemaOf(t, r, data)
	var types []string
	for _, f := range s.Fields() {
		types = append(types, f.Name+":"+f.Type.String())
	}
	want := "i:int64 f:float64 b:bool d:date32 t:timestamp[us] s:utf8 n:utf8 q:utf8"
	if got := strings.Join(types, " "); got != want {
		t.Errorf("types are %s, want %s", got, want)
	}
	env, done := filestest.Env(t)
	defer done()
	rows, err := filestest.ReadRange(env, r, s, data, 0, int64(len(data)))
	if err != nil || len(rows) != 3 || rows[2] != "null | null | null | null | null | null | null | null" {
		t.Errorf("rows are %v, %v", rows, err)
	}
}

func TestCSVColumnsByName(t *testing.T) {
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs})
	env, done := filestest.Env(t)
	defer done()
	data := []byte("b,extra,a\n1,2,3\n")
	rows, err := filestest.ReadRange(env, r, strs, data, 0, int64(len(data)))
	if err != nil || len(rows) != 1 || rows[0] != `"3" | "1"` {
		t.Errorf("rows are %v, %v", rows, err)
	}
	data = []byte("b,c\n1,2\n")
	if _, err := filestest.ReadRange(env, r, strs, data, 0, int64(len(data))); dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a file without column a: %v, want an error of kind user that names it", err)
	}
}

// Programs of the office put a byte order mark in front, and blank lines behind.
func TestCSVMarkAndBlankLines(t *testing.T) {
	one := arrow.NewSchema(strs.Fields()[:1], nil)
	for _, c := range []struct {
		data, options, want string
		schema              *arrow.Schema
	}{
		{"\ufeffa,b\n1,2\n\n3,4\r\n\r\n", ``, `"1" | "2";"3" | "4"`, strs},
		{"\ufeff\"b\",a\n1,2\n\n", `{"multiline":false}`, `"2" | "1"`, strs},
		{"\ufeff1,2\n", `{"header":false}`, `"1" | "2"`, strs},
		{"\ufeff\"1\",2\n\ufeff3,\"\n\n\"", `{"header":false}`, `"1" | "2";"\ufeff3" | "\n\n"`, strs},
		{"\ufeffa,b", ``, ``, strs},
		{"a\n\nx\n", ``, `null;"x"`, one}, // so is a null of the only column written
	} {
		r := filestest.Reader(t, "csv", files.ReadOptions{Schema: c.schema, Options: []byte(c.options)})
		env, done := filestest.Env(t)
		rows, err := filestest.ReadRange(env, r, c.schema, []byte(c.data), 0, int64(len(c.data)))
		if got := strings.Join(rows, ";"); err != nil || got != c.want {
			t.Errorf("%q %s: rows are %s, %v, want %s", c.data, c.options, got, err, c.want)
		}
		done()
	}
	inferred := filestest.SchemaOf(t, filestest.Reader(t, "csv", files.ReadOptions{}), []byte("\ufeffn,s\n1,x\n\n2,y\n"))
	if got := inferred.Field(0); got.Name != "n" || got.Type.ID() != arrow.INT64 {
		t.Errorf("the first column is %v, want n of int64", got)
	}
}

func TestCSVBadRows(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "w", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int32}}, nil)
	for _, bad := range []string{"x", "x,1,2", "x,one", `"x"y,1`, ",1", " "} {
		data := []byte("w,n\na,1\n" + bad + "\nb,2\n")
		r := filestest.Reader(t, "csv", files.ReadOptions{Schema: schema})
		env, done := filestest.Env(t)
		if _, err := filestest.ReadRange(env, r, schema, data, 0, int64(len(data))); !errors.Is(err, dataflow.ErrMalformed) || !strings.Contains(err.Error(), "test.file:8:") {
			t.Errorf("%q: %v, want ErrMalformed at test.file:8", bad, err)
		}
		in := filestest.InputOf(data, 0, int64(len(data)))
		in.OnBad = func(files.BadRecord) error { return nil }
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := filestest.ReadAll(env, s, schema)
		s.Close()
		if err != nil || strings.Join(rows, ";") != `"a" | "1";"b" | "2"` {
			t.Errorf("%q skipped: %v, %v", bad, rows, err)
		}
		done()
	}
}

func BenchmarkCSV(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Float64}, {Name: "c", Type: arrow.BinaryTypes.String}, {Name: "d", Type: arrow.FixedWidthTypes.Date32}}, nil)
	data := []byte("a,b,c,d\n" + strings.Repeat("123456,3.25,some words in a row,1998-12-01\n", 200_000))
	for _, multiline := range []string{"true", "false"} {
		b.Run("multiline="+multiline, func(b *testing.B) {
			r := filestest.Reader(b, "csv", files.ReadOptions{Schema: schema, Options: []byte(`{"multiline":` + multiline + `}`)})
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				env := dataflow.NewEnv(b.Context())
				s, err := r.Open(env, filestest.InputOf(data, 0, int64(len(data))), schema)
				if err != nil {
					b.Fatal(err)
				}
				for batch, err := s.Next(b.Context()); err == nil; batch, err = s.Next(b.Context()) {
					batch.Release()
				}
				s.Close()
			}
		})
	}
}
