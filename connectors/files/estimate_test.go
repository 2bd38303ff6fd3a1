package files_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/csv"
	_ "github.com/divisi-data/divisi/connectors/files/parquet"
	_ "github.com/divisi-data/divisi/connectors/files/text"
	"github.com/divisi-data/divisi/dataflow"
)

// parquetFile writes so many rows.
func parquetFile(t *testing.T, name string, rows int) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for i := range rows {
		rb.Field(0).(*array.Int64Builder).Append(int64(i))
	}
	b := rb.NewRecordBatch()
	defer b.Release()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, nil, pqarrow.DefaultWriterProps())
	if err == nil {
		err = w.Write(b)
	}
	if err == nil {
		err = w.Close() // and f
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Of Parquet rows are known, of lines nearly, of what is compressed not at all.
func TestEstimateRows(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("text/a", strings.Repeat("a line of 20 letters\n", 50_000))
	write("text/empty", "")
	write("few/a", "one\ntwo\nthree")
	write("none/a", "")
	var z strings.Builder
	g := gzip.NewWriter(&z)
	if _, err := g.Write([]byte(strings.Repeat("x\n", 1000))); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	write("gz/a.gz", z.String())
	if err := os.MkdirAll(filepath.Join(dir, "parquet"), 0o755); err != nil {
		t.Fatal(err)
	}
	parquetFile(t, filepath.Join(dir, "parquet/a.parquet"), 1234)
	parquetFile(t, filepath.Join(dir, "parquet/b.parquet"), 766)
	for _, c := range []struct {
		path, format string
		low, high    float64
	}{
		{"text", "text", 49_900, 50_100}, {"few", "text", 3, 3}, {"none", "text", 0, 0}, {"gz", "text", 0, 0}, {"parquet", "parquet", 1999.999, 2000.001},
	} {
		args, err := json.Marshal(files.SourceArgs{Paths: []string{filepath.Join(dir, c.path)}, Format: c.format})
		if err != nil {
			t.Fatal(err)
		}
		s, err := dataflow.NewSource(files.Kind, args)
		if err != nil {
			t.Fatal(err)
		}
		n, err := s.(dataflow.RowEstimator).EstimateRows(t.Context())
		if err != nil || n < c.low || n > c.high {
			t.Errorf("%s: %v rows (%v), want between %v and %v", c.path, n, err, c.low, c.high)
		}
	}
}
