package files_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/services"
)

// TestReadsParquetOfHadoop reads Parquet that Hadoop's own library writes: many row groups
// and pages, dictionaries, lists in the old way of two levels.
func TestReadsParquetOfHadoop(t *testing.T) {
	h := services.Hadoop(t)
	dir := t.TempDir()
	const records = 3000
	if _, err := h.Program(t.Context(), "testdata/HadoopFiles.java", dir, strconv.Itoa(records)); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range records {
		value, list := fmt.Sprintf(`"%d"`, i), make([]string, i%3)
		if i%5 == 0 {
			value = "null"
		}
		for k := range list {
			list[k] = strconv.Itoa(i)
		}
		want = append(want, fmt.Sprintf("%q | %s | \"[%s]\"", key(i), value, strings.Join(list, ",")))
	}
	for _, options := range [][]string{
		{"--compression-codec", "SNAPPY", "--row-group-size", "20000", "--page-size", "1000"},
		{"--compression-codec", "ZSTD", "--row-group-size", "30000"},
		{"--compression-codec", "GZIP"},
	} {
		name := filepath.Join(dir, "of-hadoop.parquet")
		if _, err := h.Parquet(t.Context(), append([]string{"convert", filepath.Join(dir, "null.avro"), "-o", name, "--overwrite"}, options...)...); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int64{1, 2, 7} {
			if got := readCut(t, "parquet", name, n); !slices.Equal(got, want) {
				t.Errorf("%q in %d ranges: %d rows, want %d; they begin with %.300v, want %.300v", options, n, len(got), len(want), got, want)
			}
		}
	}
}
