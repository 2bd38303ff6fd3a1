package files_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/divisi-data/divisi/connectors/files"
	_ "github.com/divisi-data/divisi/connectors/files/avro"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	_ "github.com/divisi-data/divisi/connectors/files/parquet"
	_ "github.com/divisi-data/divisi/connectors/files/sequencefile"
	_ "github.com/divisi-data/divisi/connectors/files/text"
	"github.com/divisi-data/divisi/internal/services"
)

// key is what testdata/HadoopFiles.java calls record i.
func key(i int) string {
	k := fmt.Sprintf("key %d", i*7919%1000)
	if i%50 == 0 {
		k += "é"
	}
	return k
}

// readCut reads a file of a format in n ranges.
func readCut(t *testing.T, format, name string, n int64) []string {
	t.Helper()
	data := must(os.ReadFile(name))
	r := filestest.Reader(t, format, files.ReadOptions{})
	size := int64(len(data))
	env, done := filestest.Env(t)
	defer done()
	var schema *arrow.Schema
	if format == "text" {
		schema = filestest.SchemaOf(t, r, nil)
	} else {
		schema = filestest.SchemaOf(t, r, data)
	}
	var got []string
	for i := range n {
		in := filestest.InputOf(data, size*i/n, size*(i+1)/n)
		if format == "text" {
			if in.Codec = codec.Of(name); !codec.Cuttable(in.Codec) {
				if i > 0 {
					continue
				}
				in.Length = size
			}
		}
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(name, err)
		}
		rows, err := filestest.ReadAll(env, s, schema)
		if err != nil {
			t.Fatal(name, err)
		}
		s.Close()
		got = append(got, rows...)
	}
	return got
}

// TestReadsHadoop reads what Hadoop's own writers write.
func TestReadsHadoop(t *testing.T) {
	h := services.Hadoop(t)
	dir := t.TempDir()
	const records = 3000
	if _, err := h.Program(t.Context(), "testdata/HadoopFiles.java", dir, strconv.Itoa(records)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Avro(t.Context(), "recodec", "--codec", "zstandard", filepath.Join(dir, "null.avro"), filepath.Join(dir, "zstandard.avro")); err != nil {
		t.Fatal(err)
	}
	var lines, pairs, rows []string
	for i := range records {
		lines = append(lines, fmt.Sprintf("%q", fmt.Sprintf("%s\t%d", key(i), i)))
		pairs = append(pairs, fmt.Sprintf("%q | \"%d\"", key(i), i))
		value, list := fmt.Sprintf(`"%d"`, i), make([]string, i%3)
		if i%5 == 0 {
			value = "null"
		}
		for k := range list {
			list[k] = strconv.Itoa(i)
		}
		rows = append(rows, fmt.Sprintf("%q | %s | \"[%s]\"", key(i), value, strings.Join(list, ",")))
	}
	seen := 0
	for _, e := range must(os.ReadDir(dir)) {
		name, base, format, want := filepath.Join(dir, e.Name()), e.Name(), "sequencefile", pairs
		switch {
		case strings.HasPrefix(base, "."):
			continue
		case strings.HasPrefix(base, "text."):
			format, want = "text", lines
		case strings.HasSuffix(base, ".avro"):
			format, want = "avro", rows
		case strings.HasPrefix(base, "classes-"):
			want = ofClass(strings.TrimSuffix(base[strings.LastIndex(base, "-")+1:], ".seq"))
		case base == "block-BZip2.seq":
			want = pairs[:300]
		}
		seen++
		for _, n := range []int64{1, 2, 7} {
			if got := readCut(t, format, name, n); !slices.Equal(got, want) {
				t.Errorf("%s in %d ranges: %d rows, want %d; they begin with %.300v, want %.300v", base, n, len(got), len(want), got, want)
			}
		}
	}
	if want := 5 + 8 + 22 + 5; seen != want {
		t.Errorf("Hadoop wrote %d files, want %d", seen, want)
	}
}

// ofClass is the rows of the files in which the keys are of a class.
func ofClass(class string) []string {
	var rows []string
	for _, v := range []int64{0, 1, -1, 127, 128, -112, -113, 255, 256, -256, -257, 1<<31 - 1, -1 << 31} {
		k := ""
		switch class {
		case "IntWritable", "VIntWritable":
			k = fmt.Sprint(v)
		case "LongWritable":
			k = fmt.Sprint(v * 3)
		case "VLongWritable":
			k = fmt.Sprint(v * 5)
		case "FloatWritable":
			k = strconv.FormatFloat(float64(float32(v)/4), 'g', -1, 32)
		case "DoubleWritable":
			k = strconv.FormatFloat(float64(v)/8, 'g', -1, 64)
		case "BooleanWritable":
			k = fmt.Sprint(v%2 == 0)
		case "BytesWritable":
			k = base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(v)))
		case "ByteWritable":
			k = fmt.Sprint(int8(v))
		case "ShortWritable":
			k = fmt.Sprint(int16(v))
		case "NullWritable":
			k = array.NullValueStr
		}
		rows = append(rows, fmt.Sprintf("%q | \"%d\"", k, v))
	}
	return rows
}

// TestHadoopReads lets Hadoop's own tools read what is written here.
func TestHadoopReads(t *testing.T) {
	h := services.Hadoop(t)
	dir := t.TempDir()
	const records = 12_000
	schema := arrow.NewSchema([]arrow.Field{{Name: "key", Type: arrow.BinaryTypes.String}, {Name: "value", Type: arrow.PrimitiveTypes.Int64}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	var plain, asJSON strings.Builder
	for i := range records {
		b.Field(0).(*array.StringBuilder).Append(key(i))
		b.Field(1).(*array.Int64Builder).Append(int64(i))
		fmt.Fprintf(&plain, "%s\t%d\n", key(i), i)
		fmt.Fprintf(&asJSON, "{\"key\":%q,\"value\":%d}\n", key(i), i)
	}
	rows := b.NewRecordBatch()
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		check(t, os.WriteFile(name, data, 0o666))
		return name
	}
	args, want := []string{"-text"}, ""
	for _, c := range []codec.Codec{codec.Gzip, codec.Deflate, codec.Bzip2, codec.Lz4, codec.Snappy} {
		args = append(args, write("text"+codec.Suffix(c), squeeze(t, c, []byte(plain.String()))))
		want += plain.String()
	}
	for _, c := range []string{"none", "deflate", "bzip2", "gzip", "snappy", "lz4"} {
		for _, typ := range []string{"block", "record"} {
			if typ == "record" && (c == "none" || c == "bzip2") {
				continue
			}
			options := fmt.Sprintf(`{"compression":%q,"type":%q,"block_bytes":100000,"sync_interval":3000}`, c, typ)
			args = append(args, write(c+"-"+typ+".seq", filestest.Encode(t, "sequencefile", options, rows)))
			want += plain.String()
		}
	}
	for _, c := range []string{"none", "deflate", "snappy", "bzip2"} {
		args = append(args, write(c+".avro", filestest.Encode(t, "avro", `{"compression":"`+c+`"}`, rows)))
		want += asJSON.String()
	}
	compare := func(what, got, want string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		g, w := strings.Split(strings.TrimSpace(got), "\n"), strings.Split(strings.TrimSpace(want), "\n")
		for i := range max(len(g), len(w)) {
			if i >= len(g) || i >= len(w) || strings.ReplaceAll(g[i], ": ", ":") != w[i] && strings.ReplaceAll(strings.ReplaceAll(g[i], ": ", ":"), ", ", ",") != w[i] {
				t.Errorf("%s: %d lines, want %d; they differ at line %d (file %d): %.200v", what, len(g), len(w), i, i/records, g[min(i, len(g)-1)])
				return
			}
		}
	}
	got, err := h.FS(t.Context(), args...)
	compare("hadoop fs -text", got, want, err)
	got, err = h.Avro(t.Context(), "tojson", write("zstd.avro", filestest.Encode(t, "avro", `{"compression":"zstd"}`, rows)))
	compare("avro-tools tojson", got, asJSON.String(), err)
	// Each in all compressions that are written.
	args, want = []string{"cat"}, ""
	for _, c := range []string{"none", "snappy", "gzip", "zstd"} {
		args = append(args, write(c+".parquet", filestest.Encode(t, "parquet", `{"compression":"`+c+`"}`, rows)))
		want += asJSON.String()
	}
	got, err = h.Parquet(t.Context(), args...)
	compare("parquet cat", got, want, err)
}
