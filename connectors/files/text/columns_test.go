package text_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/connectors/files/text"
	"github.com/divisi-data/divisi/dataflow"
)

func TestTSV(t *testing.T) {
	tables := filestest.FlatTables()
	for _, c := range tables {
		c.Format, c.Given = "tsv", true
		c.Rows = filestest.WithoutNullStrings(c.Rows)
		filestest.Run(t, c)
	}
}

func TestTSVBadRows(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "w", Type: arrow.BinaryTypes.String}, {Name: "n", Type: arrow.PrimitiveTypes.Int32}}, nil)
	r := filestest.Reader(t, "tsv", files.ReadOptions{Schema: schema})
	for _, bad := range []string{"x", "x\t1\t2", "x\tone", "x\t3000000000", "x\t", ""} {
		data := []byte("a\t1\n" + bad + "\nb\t2\n")
		env, done := filestest.Env(t)
		if _, err := filestest.ReadRange(env, r, schema, data, 0, int64(len(data))); !errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), "test.file:4:") || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: %v, want ErrMalformed at test.file:4 that shows it", bad, err)
		}
		in := filestest.InputOf(data, 0, int64(len(data)))
		skipped := 0
		in.OnBad = func(files.BadRecord) error { skipped++; return nil }
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := filestest.ReadAll(env, s, schema)
		s.Close()
		if err != nil || skipped != 1 || strings.Join(rows, ";") != `"a" | "1";"b" | "2"` {
			t.Errorf("%q skipped %d times: %v, %v", bad, skipped, rows, err)
		}
		done()
	}
	if _, err := mustFormat(t, "tsv").Reader(files.ReadOptions{}); dataflow.KindOf(err) != dataflow.User {
		t.Errorf("without a schema: %v, want an error of kind user", err)
	}
}

func mustFormat(t *testing.T, name string) files.Format {
	t.Helper()
	f, err := files.LookupFormat(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func records(n, key, size int) arrow.RecordBatch {
	k, v := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary), array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
	for i := range n {
		rec := fmt.Sprintf("%0*d", size, i*7919)
		k.AppendString(rec[size-key:])
		v.AppendString(rec[:size-key])
	}
	return array.NewRecordBatch(text.FixedSchema, []arrow.Array{k.NewArray(), v.NewArray()}, int64(n))
}

func TestFixed(t *testing.T) {
	for _, c := range []struct{ n, key, size int }{{0, 10, 100}, {1, 10, 100}, {40, 10, 100}, {50, 3, 7}, {9, 0, 8}, {9, 8, 8}} {
		opt := fmt.Sprintf(`{"record_bytes":%d,"key_bytes":%d}`, c.size, c.key)
		filestest.Run(t, filestest.Case{Name: fmt.Sprintf("%d of %d", c.n, c.size), Format: "fixed", Read: opt, Write: opt, Schema: text.FixedSchema, Rows: []arrow.RecordBatch{records(c.n, c.key, c.size)}})
	}
	data := make([]byte, 250)
	env, done := filestest.Env(t)
	defer done()
	_, err := filestest.ReadRange(env, filestest.Reader(t, "fixed", files.ReadOptions{}), text.FixedSchema, data, 120, 250)
	if !errors.Is(err, dataflow.ErrMalformed) || !strings.Contains(err.Error(), "test.file:200") {
		t.Errorf("a truncated record: %v, want ErrMalformed at test.file:200", err)
	}
	e, err := must(mustFormat(t, "fixed").Writer(files.WriteOptions{})).Open(env, discard{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Write(records(3, 2, 50)); dataflow.KindOf(err) != dataflow.User {
		t.Errorf("rows of 50 bytes for records of 100: %v, want an error of kind user", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func BenchmarkFixed(b *testing.B) {
	data := make([]byte, 64<<20/100*100)
	r := filestest.Reader(b, "fixed", files.ReadOptions{})
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		env := dataflow.NewEnv(b.Context())
		s := must(r.Open(env, filestest.InputOf(data, 0, int64(len(data))), text.FixedSchema))
		for batch, err := s.Next(b.Context()); err == nil; batch, err = s.Next(b.Context()) {
			batch.Release()
		}
		s.Close()
	}
}
