package jsonl_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	_ "github.com/divisi-data/divisi/connectors/files/jsonl"
	"github.com/divisi-data/divisi/dataflow"
)

func TestJSONL(t *testing.T) {
	for _, c := range append(filestest.FlatTables(), filestest.NestedTables()...) {
		c.Name, c.Format, c.Given = c.Name+" "+c.Schema.Field(0).Name, "jsonl", true
		filestest.Run(t, c)
	}
}

// Every line that is written is what encoding/json takes for the same object.
func TestJSONLOracle(t *testing.T) {
	for _, c := range filestest.NestedTables() {
		data := filestest.Encode(t, "jsonl", "", c.Rows...)
		for line := range strings.Lines(string(data)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s is not valid", line)
			}
		}
	}
}

func TestJSONLInference(t *testing.T) {
	data := []byte(`{"a":1,"b":1.5,"c":"x","d":true,"e":[1,2.5],"f":{"g":1,"h":[{"i":"z"}]},"j":null,"k":1}` + "\n" +
		"not json\n" + ` { "a" : -2 , "b" : 3 , "l" : "new" , "k":"mixed" , "f":{"g":2,"m":false}, "u":"\u00e9\ud83d\ude00\n\/" } ` + "\r\n\n")
	r := filestest.Reader(t, "jsonl", files.ReadOptions{})
	s := filestest.SchemaOf(t, r, data)
	var types []string
	for _, f := range s.Fields() {
		types = append(types, f.Name+":"+f.Type.String())
	}
	want := "a:int64 b:float64 c:utf8 d:bool e:list<item: float64, nullable> f:struct<g: int64, h: list<item: struct<i: utf8>, nullable>, m: bool> j:utf8 k:utf8 l:utf8 u:utf8"
	plain := strings.NewReplacer(", nullable", "", " nullable", "")
	if got := strings.Join(types, " "); plain.Replace(got) != plain.Replace(want) {
		t.Errorf("types are %s, want %s", got, want)
	}
	env, done := filestest.Env(t)
	defer done()
	in := filestest.InputOf(data, 0, int64(len(data)))
	bad := 0
	in.OnBad = func(files.BadRecord) error { bad++; return nil }
	st, err := r.Open(env, in, s)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	rows, err := filestest.ReadAll(env, st, s)
	if err != nil || bad != 1 || len(rows) != 2 || !strings.Contains(rows[1], `"é😀\n/"`) || !strings.Contains(rows[0], `"1" | null | null`) || !strings.Contains(rows[1], `"mixed"`) {
		t.Errorf("%d bad, rows %v, %v", bad, rows, err)
	}
}

func TestJSONLMarkAndBlankLines(t *testing.T) {
	data := []byte("\ufeff" + `{"a":1}` + "\n\n \t\r\n" + `{"a":2}` + "\n\n")
	r := filestest.Reader(t, "jsonl", files.ReadOptions{})
	s := filestest.SchemaOf(t, r, data)
	env, done := filestest.Env(t)
	defer done()
	for cut := range int64(len(data)) {
		first, err1 := filestest.ReadRange(env, r, s, data, 0, cut)
		second, err2 := filestest.ReadRange(env, r, s, data, cut, int64(len(data)))
		if rows := strings.Join(append(first, second...), ";"); err1 != nil || err2 != nil || rows != `"1";"2"` {
			t.Errorf("cut at %d: rows are %s, %v, %v", cut, rows, err1, err2)
		}
	}
	mark := []byte("\ufeff") // and nothing else
	if rows, err := filestest.ReadRange(env, r, s, mark, 0, 3); err != nil || len(rows) != 0 {
		t.Errorf("of a mark alone: %v, %v", rows, err)
	}
}

func TestJSONLBadRows(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "w", Type: arrow.BinaryTypes.String}, {Name: "l", Type: arrow.ListOf(arrow.PrimitiveTypes.Int32), Nullable: true}}, nil)
	r := filestest.Reader(t, "jsonl", files.ReadOptions{Schema: schema})
	for _, bad := range []string{`{`, `[]`, `{"w":null}`, `{}`, `{"w":"x","l":[1,"2"]}`, `{"w":"x","l":[1,3000000000]}`, `{"w":"x","l":7}`, `{"w":"x"}{}`} {
		data := []byte(`{"w":"a","l":[1]}` + "\n" + bad + "\n" + `{"w":"b"}`)
		env, done := filestest.Env(t)
		if _, err := filestest.ReadRange(env, r, schema, data, 0, int64(len(data))); !errors.Is(err, dataflow.ErrMalformed) || !strings.Contains(err.Error(), "test.file:18:") {
			t.Errorf("%q: %v, want ErrMalformed at test.file:18", bad, err)
		}
		in := filestest.InputOf(data, 0, int64(len(data)))
		in.OnBad = func(files.BadRecord) error { return nil }
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := filestest.ReadAll(env, s, schema)
		s.Close()
		if err != nil || strings.Join(rows, ";") != `"a" | "[1]";"b" | null` {
			t.Errorf("%q skipped: %v, %v", bad, rows, err)
		}
		done()
	}
}

func BenchmarkJSONL(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int64}, {Name: "b", Type: arrow.PrimitiveTypes.Float64}, {Name: "c", Type: arrow.BinaryTypes.String}}, nil)
	data := []byte(strings.Repeat(`{"a":123456,"b":3.25,"c":"some words in a row"}`+"\n", 100_000))
	r := filestest.Reader(b, "jsonl", files.ReadOptions{Schema: schema})
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
}
