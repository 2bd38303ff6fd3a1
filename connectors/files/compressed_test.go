package files_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/zstd"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/codec"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/storage/mem"
)

func squeeze(t testing.TB, c codec.Codec, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	if c == codec.Bzip2 { // blocks as small as can be
		w = must(bzip2.NewWriter(&out, &bzip2.WriterConfig{Level: 1}))
	} else {
		w = must(codec.NewWriter(c, &out))
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// parted compresses each part alone, so that even a small file has several.
func parted(t testing.TB, c codec.Codec, parts []string) []byte {
	var out, table []byte
	for _, p := range parts {
		b := squeeze(t, c, []byte(p))
		out = append(out, b...)
		table = binary.LittleEndian.AppendUint32(table, uint32(len(b)))
		table = binary.LittleEndian.AppendUint32(table, uint32(len(p)))
	}
	if c == codec.Zstd {
		out = binary.LittleEndian.AppendUint32(out, 0x184D2A5E)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(table)+9))
		out = append(out, table...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(parts)))
		out = append(out, 0, 0xb1, 0xea, 0x92, 0x8f)
	}
	return out
}

// Lines that reach over parts, begin and end with them, and parts without any: each
// line is read once wherever the file is cut.
func TestCompressedLinesOverCuts(t *testing.T) {
	for i, parts := range [][]string{
		{"a\nb\n", "c\n", "d\n"},
		{"a\nb", "c\nd", "\ne\n", "\n", "f"},
		{"", "a\n", "", "b", "b", "b\nc\n", ""},
		{"one line in ", "four ", "parts ", "without an end"},
		{"\n", "\n", "\n\n"},
		{"a\n"},
		{""},
	} {
		whole := strings.Join(parts, "")
		var want []string
		for l := range strings.Lines(whole) {
			want = append(want, fmt.Sprintf("%q", strings.TrimSuffix(l, "\n")))
		}
		for _, c := range []codec.Codec{codec.Bzip2, codec.Zstd} {
			stored := parted(t, c, parts)
			rnd := rand.New(rand.NewPCG(1, 2))
			n := int64(len(stored))
			step := int64(1)
			if c == codec.Bzip2 { // whose decoder is slow to begin
				step = 11
			}
			for at := int64(i) % step; at < n+20; at += step {
				cuts := []int64{0, min(at, n), n}
				for range max(0, at-n) {
					cuts = append(cuts, rnd.Int64N(n))
				}
				slices.Sort(cuts)
				for _, block := range []int{1, 1 << 20} {
					if got := readCuts(t, c, stored, cuts, block); !slices.Equal(got, want) {
						t.Fatalf("case %d of %s cut at %v: lines are %v, want %v", i, c, cuts, got, want)
					}
				}
			}
		}
	}
}

func readCuts(t *testing.T, c codec.Codec, stored []byte, cuts []int64, block int) []string {
	t.Helper()
	env, done := filestest.Env(t)
	defer done()
	env.BatchBytes = block
	r := filestest.Reader(t, "text", files.ReadOptions{})
	schema := filestest.SchemaOf(t, r, nil)
	var got []string
	for i := range len(cuts) - 1 {
		in := filestest.InputOf(stored, cuts[i], cuts[i+1])
		in.Codec = c
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := filestest.ReadAll(env, s, schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		got = append(got, rows...)
	}
	return got
}

// Large files whose codec has parts are cut, others are not.
func TestSplitsOfCompressedFiles(t *testing.T) {
	fs := mem.New()
	use(fs)
	noise := make([]byte, 9<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(noise)
	var frames bytes.Buffer
	w := must(codec.NewFrameWriter(&frames))
	_, _ = w.Write(noise)
	w.Close()
	put(t, fs, "frames.zst", frames.Bytes())
	put(t, fs, "whole.zst", squeeze(t, codec.Zstd, noise))
	put(t, fs, "blocks.bz2", append(squeeze(t, codec.Bzip2, []byte("one\n")), noise...))
	put(t, fs, "whole.gz", squeeze(t, codec.Gzip, noise))
	for name, many := range map[string]bool{"frames.zst": true, "whole.zst": false, "blocks.bz2": true, "whole.gz": false} {
		for _, format := range []string{"text", "parquet"} {
			a := textOf("faulty:///" + name)
			if a.Format = format; format == "parquet" {
				a.Schema = json.RawMessage(`[{"name":"a","type":"int64"}]`)
			}
			splits, err := mustSource(t, a).Splits(t.Context(), dataflow.SplitHint{Slots: 4, MaxBytes: 3 << 20})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(splits) > 1; got != (many && format == "text") {
				t.Errorf("%s as %s is %d splits", name, format, len(splits))
			}
		}
	}
	if rows := connectortest.Read(t, mustSource(t, textOf("faulty:///frames.zst")), dataflow.SplitHint{MaxBytes: 3 << 20}); len(rows) != bytes.Count(noise, []byte("\n"))+1 {
		t.Errorf("%d lines", len(rows))
	}
}

// A small file that decompresses to very much is read in little memory, unless it is
// one record.
func TestDecompressionBomb(t *testing.T) {
	for _, c := range []codec.Codec{codec.Gzip, codec.Zstd, codec.Bzip2, codec.Lz4, codec.Snappy, codec.Deflate} {
		env, done := filestest.Env(t)
		in := filestest.InputOf(squeeze(t, c, make([]byte, 6<<20)), 0, 0)
		in.Codec, in.Length, in.MaxRecordBytes = c, in.Size, 1<<20
		r := filestest.Reader(t, "text", files.ReadOptions{})
		schema := filestest.SchemaOf(t, r, nil)
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(t.Context()); !errors.Is(err, dataflow.ErrRecordTooLarge) {
			t.Errorf("%s: one record of 6 MiB: %v", c, err)
		}
		s.Close()
		done()
	}
}

func TestNotWhatTheNameSays(t *testing.T) {
	fs := mem.New()
	use(fs)
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	_, _ = g.Write([]byte("a\n"))
	g.Close()
	enc := must(zstd.NewWriter(nil))
	for name, data := range map[string][]byte{"x.bz2": z.Bytes(), "x.zst": z.Bytes(), "x.gz": enc.EncodeAll([]byte("a\n"), nil),
		"x.deflate": z.Bytes(), "x.lz4": z.Bytes(), "x.snappy": z.Bytes(), "plain.bz2": []byte("a\n"), "short.bz2": []byte("BZh9")} {
		put(t, fs, name, data)
		s := mustSource(t, textOf("faulty:///"+name))
		splits, err := s.Splits(t.Context(), dataflow.SplitHint{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Open(dataflow.NewEnv(t.Context()), splits[0])
		if err == nil {
			_, err = st.Next(t.Context())
			st.Close()
		}
		if !errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
