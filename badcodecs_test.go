package divisi_test

import (
	"bytes"
	"compress/gzip"
	"path/filepath"
	"slices"
	"testing"

	divisi "github.com/divisi-data/divisi"
	"github.com/divisi-data/divisi/connectors/files/codec"
	df "github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
)

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

// squeezed is what a codec makes of n times a text.
func squeezed(t *testing.T, c codec.Codec, text []byte, n int) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := codec.NewWriter(c, &out)
	for range n {
		if err == nil {
			_, err = z.Write(text)
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestBadCompression: what is cut, damaged, of another codec, or a bomb.
func TestBadCompression(t *testing.T) {
	line := []byte("a line of text, with numbers 1234567890 in it\n")
	zeros := make([]byte, 1<<20)
	for _, c := range []struct {
		codec   codec.Codec
		name    string
		checked bool // a wrong bit is noticed
	}{
		{codec.Gzip, "x.gz", true}, {codec.Zstd, "x.zst", true}, {codec.Bzip2, "x.bz2", true}, {codec.Deflate, "x.deflate", true},
		{codec.Lz4, "x.lz4", false}, {codec.Lz4Frame, "x.lz4", true}, {codec.Snappy, "x.snappy", false}, {codec.SnappyFrame, "x.sz", true},
	} {
		whole := squeezed(t, c.codec, line, 3000)
		cut := put(t, "cut-"+c.name, whole[:len(whole)/2])
		other := put(t, "other-"+c.name, slices.Concat([]byte("no such thing"), line, line))
		rows := []badRow{
			{name: string(c.codec) + ": cut", job: copyLines, in: cut, is: df.ErrMalformed, says: []string{cut + ":"}},
			{name: string(c.codec) + ": something else", job: copyLines, in: other, is: df.ErrMalformed, says: []string{other + ":"}},
		}
		if !race.Short() || c.codec == codec.Gzip {
			// 200 MiB without an end of a line: more than the limit of a record, and more
			// than the budget.
			bomb := put(t, "bomb-"+c.name, squeezed(t, c.codec, zeros, 200))
			rows = append(rows, badRow{name: string(c.codec) + ": a bomb", job: copyLines, in: bomb, is: df.ErrRecordTooLarge, says: []string{bomb + ":0", "out of memory"}, tried: true})
		}
		if c.checked {
			bad := put(t, "bad-"+c.name, flipped(whole, len(whole)/2))
			rows = append(rows, badRow{name: string(c.codec) + ": a wrong bit", job: copyLines, in: bad, is: df.ErrMalformed, says: []string{bad + ":"}})
		}
		runBad(t, rows)
	}
	sum := gzipped(bytes.Repeat(line, 100))
	bad := put(t, "sum.gz", flipped(sum, len(sum)-8))
	runBad(t, []badRow{{name: "gzip: another checksum", job: copyLines, in: bad, is: codec.ErrChecksum, says: []string{bad + ":"}}})
}

// A bomb of many small records is data: it is read, in little memory.
func TestManySmallRecordsAreNoBomb(t *testing.T) {
	if race.Short() {
		t.Skip("SKIPPED with -short and under the race detector: half a gigabyte is read")
	}
	in := put(t, "lines.gz", squeezed(t, codec.Gzip, bytes.Repeat([]byte("0123456789abcde\n"), 1<<16), 512))
	taken := watchHeap()
	sum, err := divisi.Run(t.Context(), func(j *df.Job) {
		df.Write(df.Filter(df.Read(j, df.Lines(j.Arg(0))), func(string) bool { return false }), df.Text(j.Arg(1)))
	}, []string{in, filepath.Join(t.TempDir(), "out")}, divisi.Parallelism(2), divisi.Memory(failBudget), divisi.TempDir(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if most := taken(); most > heapMost {
		t.Errorf("%d MiB of heap for a file of lines", most>>20)
	}
	if want := int64(512 << 16); sum.RecordsIn != want {
		t.Errorf("%d lines, want %d", sum.RecordsIn, want)
	}
}
