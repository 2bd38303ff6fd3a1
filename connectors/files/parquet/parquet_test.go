package parquet_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	_ "github.com/divisi-data/divisi/connectors/files/parquet"
	"github.com/divisi-data/divisi/dataflow"
)

func TestParquet(t *testing.T) {
	for i, opt := range []string{`{"row_group_rows":7}`, `{"compression":"snappy","row_group_bytes":1}`} {
		for _, c := range append(filestest.FlatTables(), filestest.NestedTables()...) {
			if i > 0 && !strings.Contains(c.Name, "many") {
				continue
			}
			c.Name, c.Format, c.Write, c.Forgetful = c.Name+" "+c.Schema.Field(0).Name+opt, "parquet", opt, true
			filestest.Run(t, c)
		}
	}
}

func TestParquetOptions(t *testing.T) {
	f, err := files.LookupFormat("parquet")
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []string{`{"compression":"lzma"}`, `{"row_group_rows":0}`, `{"rows":1}`} {
		if _, err := f.Writer(files.WriteOptions{Options: []byte(opt)}); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("%s: %v, want an error of kind user", opt, err)
		}
	}
}

// A file of other types than the plan's is told apart by name.
func TestParquetOtherSchema(t *testing.T) {
	write := func(dt arrow.DataType, json string) []byte {
		s := arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: true}}, nil)
		b, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(json))
		if err != nil {
			t.Fatal(err)
		}
		return filestest.Encode(t, "parquet", "", b)
	}
	ints, strs := write(arrow.PrimitiveTypes.Int64, `[{"a":1}]`), write(arrow.BinaryTypes.String, `[{"a":"x"}]`)
	r := filestest.Reader(t, "parquet", files.ReadOptions{})
	env, done := filestest.Env(t)
	defer done()
	_, err := filestest.ReadRange(env, r, filestest.SchemaOf(t, r, ints), strs, 0, int64(len(strs)))
	if dataflow.KindOf(err) != dataflow.User || !strings.Contains(fmt.Sprint(err), "column a is utf8") {
		t.Errorf("%v, want an error of kind user that names column and types", err)
	}
}

// What the library cannot decode is refused by name, where it is asked for: a column n of
// numbers, and one id of five bytes each, of which pyarrow wrote the differences.
func TestParquetUnreadEncoding(t *testing.T) {
	data, err := base64.StdEncoding.DecodeString("UEFSMRUAFTwVPCwVBhUAFQYVBhwAAAACAAAABgEBAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAVABVAFUAsFQYVDhUGFQYcAAAAAgAAAAMDgAEEAgAIAAAAAIAB" +
		"BAIKBwAAAABhYmNkZWYVBBk8NQAYBnNjaGVtYRUEABUEJQIYAW4AFQ4VChUCGAJpZAAWBhkcGSwmABwVBBklBgAZGAFuFQAWBhZiFmImCEkcFQAVABUCADwp" +
		"BhkmAAYAAAAmABwVDhklBg4ZGAJpZBUAFgYWZhZmJmpJHBUAFQ4VAgA8KQYZJgIEAAAAFsgBFgYmCBbIAQAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24g" +
		"MjYuMC4xGSwcAAAcAAAAtQAAAFBBUjE=")
	if err != nil {
		t.Fatal(err)
	}
	env, done := filestest.Env(t)
	defer done()
	r := filestest.Reader(t, "parquet", files.ReadOptions{})
	_, err = filestest.ReadRange(env, r, filestest.SchemaOf(t, r, data), data, 0, int64(len(data)))
	if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "column id: ") || !strings.Contains(err.Error(), "DELTA_BYTE_ARRAY") {
		t.Errorf("%v, want an error of kind user that names column and encoding", err)
	}
	r = filestest.Reader(t, "parquet", files.ReadOptions{Columns: []string{"n"}})
	rows, err := filestest.ReadRange(env, r, filestest.SchemaOf(t, r, data), data, 0, int64(len(data)))
	if got := strings.Join(rows, ";"); err != nil || got != `"1";"2";"3"` {
		t.Errorf("column n: %s, %v", got, err)
	}
}

// What may be null inside a value differs between writers; that none is null at the
// top is checked.
func TestParquetNullability(t *testing.T) {
	list := func(nullable bool) arrow.DataType {
		return arrow.ListOfField(arrow.Field{Name: "item", Nullable: nullable, Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: nullable})})
	}
	schema := func(dt arrow.DataType, nullable bool) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: "a", Type: dt, Nullable: nullable}}, nil)
	}
	for _, c := range []struct {
		json string
		want *arrow.Schema
		rows string
	}{
		{`[{"a":[{"x":1},{"x":2}]},{"a":[]}]`, schema(list(false), false), `"[{\"x\":1},{\"x\":2}]" "[]"`},
		{`[{"a":null},{"a":[{"x":2}]}]`, schema(list(false), true), `null "[{\"x\":2}]"`},
		{`[{"a":null},{"a":[]}]`, schema(list(true), false), ""},
		{`[{"a":[null]},{"a":[]}]`, schema(list(false), false), ""},
	} {
		b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema(list(true), true), strings.NewReader(c.json))
		if err != nil {
			t.Fatal(err)
		}
		data := filestest.Encode(t, "parquet", "", b)
		r := filestest.Reader(t, "parquet", files.ReadOptions{Schema: c.want})
		env, done := filestest.Env(t)
		rows, err := filestest.ReadRange(env, r, c.want, data, 0, int64(len(data)))
		if got := strings.Join(rows, " "); c.rows != "" && (err != nil || got != c.rows) || c.rows == "" && (dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "is null")) {
			t.Errorf("%s as %s: %s, %v, want %s", c.json, c.want, got, err, c.rows)
		}
		done()
	}
}
