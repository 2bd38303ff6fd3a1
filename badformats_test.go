package divisi_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	divisi "github.com/divisi-data/divisi"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

// wrong has a column of sale in another type, and lacks one.
type wrongType struct {
	Item  int64 `df:"item"`
	Count int64 `df:"count"`
}

type wrongName struct {
	Item   string `df:"item"`
	Number int64  `df:"number"`
}

// written is the only part that a job makes of rows.
func written[T any](t *testing.T, rows []T, sink func(path string) df.SinkSpec[T]) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	if _, err := divisi.Run(t.Context(), func(j *df.Job) {
		df.Write(df.Read(j, df.FromSlice(rows)), sink(j.Arg(0)))
	}, []string{out}, divisi.Parallelism(1), divisi.TempDir(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(out, "part-*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%d parts: %v", len(found), err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put writes a damaged file and gives its name.
func put(t *testing.T, name string, b []byte) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// flipped is b with one bit changed.
func flipped(b []byte, at int) []byte {
	out := slices.Clone(b)
	out[at] ^= 1
	return out
}

func sales(n int) []sale {
	rows := make([]sale, n)
	for i := range rows {
		rows[i] = sale{fmt.Sprintf("item-%d", i%97), int64(i)}
	}
	return rows
}

// TestBadContainers: formats with headers, blocks and footers of their own.
func TestBadContainers(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: it takes seconds")
	}
	rows := sales(2000)
	parquet := written(t, rows, func(p string) df.SinkSpec[sale] { return df.Parquet[sale](p) })
	arrow := written(t, rows, func(p string) df.SinkSpec[sale] { return df.ArrowFile[sale](p).Compress(df.Zstd) })
	avro := written(t, rows, func(p string) df.SinkSpec[sale] { return df.Avro[sale](p) })
	var pairs []df.Pair[string, int64]
	for _, r := range rows {
		pairs = append(pairs, df.Pair[string, int64]{Key: r.Item, Value: r.Count})
	}
	sequence := written(t, pairs, func(p string) df.SinkSpec[df.Pair[string, int64]] {
		return df.SequenceFile[string, int64](p).Compress(df.Deflate)
	})
	bad := func(format string, read func(*df.Job), what string, data []byte, is error, says ...string) badRow {
		in := put(t, strings.ReplaceAll(what, " ", "-")+"."+format, data)
		return badRow{name: format + ": " + what, job: read, in: in, is: is, says: append(says, in)}
	}
	text := []byte(strings.Repeat("this is no such file\n", 20))

	claim := slices.Clone(parquet) // of the footer's size
	binary.LittleEndian.PutUint32(claim[len(claim)-8:], 1<<31-1)
	asParquet := copyRows(df.FromParquet[sale])
	runBad(t, []badRow{
		bad("parquet", asParquet, "no magic", text, df.ErrMalformed, "PAR1"),
		bad("parquet", asParquet, "cut", parquet[:len(parquet)/2], df.ErrMalformed, "PAR1"),
		bad("parquet", asParquet, "a few bytes", parquet[:8], df.ErrMalformed, "8 bytes"),
		bad("parquet", asParquet, "a footer that claims too much", claim, df.ErrMalformed, "footer claims"),
		bad("parquet", asParquet, "a page without sense", append(append(slices.Clone(parquet[:4]), bytes.Repeat([]byte{0x5a}, 200)...), parquet[204:]...), df.ErrMalformed),
		bad("parquet", copyRows(df.FromParquet[wrongName]), "no such column", parquet, df.ErrColumns, `"number"`),
		bad("parquet", copyRows(df.FromParquet[wrongType]), "another type", parquet, df.ErrColumns, "item"),
		bad("parquet.gz", asParquet, "compressed as a whole", gzipped(parquet), errors.ErrUnsupported, "gzip"),
	})

	asArrow := copyRows(df.FromArrow[sale])
	runBad(t, []badRow{
		bad("arrow", asArrow, "no magic", text, df.ErrMalformed),
		bad("arrow", asArrow, "cut", arrow[:len(arrow)/2], df.ErrMalformed),
		bad("arrow", asArrow, "a few bytes", arrow[:7], df.ErrMalformed, "7 bytes"),
		bad("arrow", asArrow, "a buffer that claims too much", claimed(t, arrow, 1<<40), df.ErrMalformed),
		bad("arrow", asArrow, "a buffer that claims a gigabyte", claimed(t, arrow, 1<<30), df.ErrOutOfMemory, "1073741824").again(),
		bad("arrow", copyRows(df.FromArrow[wrongName]), "no such column", arrow, df.ErrColumns, `"number"`),
		bad("arrow", copyRows(df.FromArrow[wrongType]), "another type", arrow, df.ErrColumns, "item"),
	})

	asAvro := copyRows(df.FromAvro[sale])
	runBad(t, []badRow{
		bad("avro", asAvro, "no magic", text, df.ErrMalformed),
		bad("avro", asAvro, "cut", avro[:len(avro)-100], df.ErrMalformed),
		bad("avro", asAvro, "another mark behind a block", flipped(avro, len(avro)-1), df.ErrMalformed, "sync"),
		bad("avro", asAvro, "no schema", bytes.Replace(avro, []byte(`"type":"record"`), []byte(`"type":"recurd"`), 1), df.ErrMalformed, "schema"),
		bad("avro", asAvro, "an unknown codec", bytes.Replace(avro, []byte("deflate"), []byte("deflatd"), 1), errors.ErrUnsupported, "deflatd", "zstandard"),
		bad("avro", asAvro, "a block that is a bomb", avroBomb(t), df.ErrOutOfMemory, "block at 160", "--memory").again(),
		bad("avro", copyRows(df.FromAvro[wrongName]), "no such column", avro, df.ErrColumns, `"number"`),
		bad("avro", copyRows(df.FromAvro[wrongType]), "another type", avro, df.ErrColumns, "item"),
	})

	asSequence := copyRows(df.FromSequenceFile[string, int64])
	mark := bytes.LastIndex(sequence, []byte{0xff, 0xff, 0xff, 0xff})
	runBad(t, []badRow{
		bad("seq", asSequence, "no magic", text, df.ErrMalformed, "SEQ"),
		bad("seq", asSequence, "cut", sequence[:len(sequence)-50], df.ErrMalformed),
		bad("seq", asSequence, "another class", bytes.Replace(sequence, []byte("hadoop.io.Text"), []byte("hadoop.io.Tixt"), 1), df.ErrMalformed, "Tixt"),
		bad("seq", asSequence, "another codec", bytes.Replace(sequence, []byte("DefaultCodec"), []byte("DefaultCadec"), 1), errors.ErrUnsupported, "DefaultCadec"),
		bad("seq", asSequence, "a later version", flipped(sequence, 3), df.ErrMalformed, "version"),
		bad("seq", asSequence, "another mark before a block", flipped(sequence, mark+8), df.ErrMalformed, "sync"),
		bad("seq", copyRows(df.FromSequenceFile[int64, int64]), "another type", sequence, df.ErrColumns, "key"),
	})
}

// again says that the failure may pass: another attempt gets more memory.
func (c badRow) again() badRow { c.tried = true; return c }

// claimed changes how long the first compressed buffer of an Arrow file says it is.
func claimed(t *testing.T, file []byte, n int64) []byte {
	t.Helper()
	at := bytes.Index(file, []byte{0x28, 0xb5, 0x2f, 0xfd})
	if at < 8 {
		t.Fatal("nothing in the file is compressed")
	}
	out := slices.Clone(file)
	binary.LittleEndian.PutUint64(out[at-8:], uint64(n))
	return out
}

// avroBomb is a container with one block that becomes half a gigabyte.
func avroBomb(t *testing.T) []byte {
	t.Helper()
	var block bytes.Buffer
	z, err := zlib.NewWriterLevel(&block, 9) // its body, between header and sum, is the deflate stream
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 512 {
		if _, err := z.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	body := block.Bytes()[2 : block.Len()-4]
	schema := `{"type":"record","name":"sale","fields":[{"name":"item","type":"string"},{"name":"count","type":"long"}]}`
	out := binary.AppendVarint([]byte("Obj\x01"), 2)
	for _, s := range []string{"avro.schema", schema, "avro.codec", "deflate"} {
		out = append(binary.AppendVarint(out, int64(len(s))), s...)
	}
	sync := []byte("0123456789abcdef")
	out = append(append(out, 0), sync...)
	out = binary.AppendVarint(binary.AppendVarint(out, 1<<28), int64(len(body)))
	return append(append(out, body...), sync...)
}
