package text_test

import (
	"bytes"
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

func lines(s ...string) arrow.RecordBatch {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	b.AppendValues(s, nil)
	return array.NewRecordBatch(text.Schema, []arrow.Array{b.NewArray()}, int64(len(s)))
}

func TestText(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, rows := range map[string][]string{
		"empty":       {},
		"one":         {"one"},
		"one empty":   {""},
		"some":        {"a", "", "bc", "def", "", "", long, "\xff\xfe", "g\th"},
		"only empty":  {"", "", "", ""},
		"long middle": {"a", long + long, "b"},
	} {
		filestest.Run(t, filestest.Case{Name: name, Format: "text", Schema: text.Schema, Rows: []arrow.RecordBatch{lines(rows...)}})
	}
}

// Any bytes are lines; the oracle is strings.Split.
func TestTextBytes(t *testing.T) {
	for _, data := range []string{
		"", "\n", "\r\n", "a", "a\n", "a\r\n", "a\nb", "a\r\nb\r\n", "\n\n\n", "a\rb\r\n\r\nc\r", "x\r\r\n", strings.Repeat("long", 40) + "\n\nz",
	} {
		var want []string
		if data != "" {
			for i, l := range strings.Split(strings.TrimSuffix(data, "\n"), "\n") {
				ended := i < strings.Count(data, "\n")
				if ended {
					l = strings.TrimSuffix(l, "\r")
				}
				want = append(want, fmt.Sprintf("%q", l))
			}
		}
		r := filestest.Reader(t, "text", files.ReadOptions{})
		for _, batch := range []int{1, 20, 1 << 20} {
			for a := range len(data) + 1 {
				for b := a; b <= len(data); b++ {
					env, done := filestest.Env(t)
					env.BatchBytes = batch
					var got []string
					for _, cut := range [][2]int{{0, a}, {a, b}, {b, len(data)}} {
						rows, err := filestest.ReadRange(env, r, text.Schema, []byte(data), int64(cut[0]), int64(cut[1]))
						if err != nil {
							t.Fatal(err)
						}
						got = append(got, rows...)
					}
					if strings.Join(got, ",") != strings.Join(want, ",") {
						t.Fatalf("%q cut at %d and %d: %v, want %v", data, a, b, got, want)
					}
					done()
				}
				if len(data) > 30 && a > 30 {
					break
				}
			}
		}
	}
}

func TestTextLocate(t *testing.T) {
	data := "a\nbb\r\n\r\nccc\n\nd\r\nlast"
	var want []string
	at := 0
	for _, l := range strings.SplitAfter(data, "\n") {
		want = append(want, fmt.Sprintf("test.file:%d", at))
		at += len(l)
	}
	for _, batch := range []int{1, 1 << 20} {
		env, done := filestest.Env(t)
		env.BatchRows, env.BatchBytes = 2, batch
		s, err := filestest.Reader(t, "text", files.ReadOptions{}).Open(env, filestest.InputOf([]byte(data), 0, int64(len(data))), text.Schema)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for b, err := s.Next(t.Context()); err == nil; b, err = s.Next(t.Context()) {
			for row := range int(b.NumRows()) {
				got = append(got, dataflow.Locate(s, row))
			}
			b.Release()
		}
		s.Close()
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("rows are at %v, want %v", got, want)
		}
		done()
	}
}

func TestTextRaw(t *testing.T) {
	data := []byte("a\nbb\r\n\n" + strings.Repeat("y", 100) + "\nend")
	r := filestest.Reader(t, "text", files.ReadOptions{Options: []byte(`{"raw":true}`)})
	for _, batch := range []int{1, 20, 1 << 20} {
		for cut := range int64(len(data)) {
			env, done := filestest.Env(t)
			env.BatchBytes = batch
			var all []byte
			for _, rng := range [][2]int64{{0, cut}, {cut, int64(len(data))}} {
				s, err := r.Open(env, filestest.InputOf(data, rng[0], rng[1]), text.RawSchema)
				if err != nil {
					t.Fatal(err)
				}
				for b, err := s.Next(t.Context()); err == nil; b, err = s.Next(t.Context()) {
					block := b.Column(0).(*array.Binary).Value(0)
					if rest := data[len(all)+len(block):]; len(rest) > 0 && !bytes.HasSuffix(block, []byte("\n")) {
						t.Errorf("block %q ends inside a line", block)
					}
					all = append(all, block...)
					b.Release()
				}
				s.Close()
			}
			if !bytes.Equal(all, data) {
				t.Fatalf("cut at %d: %q, want %q", cut, all, data)
			}
			done()
		}
	}
}

func TestTextTooLong(t *testing.T) {
	for _, batch := range []int{1, 1 << 20} {
		for _, n := range []int{100, 101, 5000} {
			data := []byte("ok\n" + strings.Repeat("z", n) + "\nok\n")
			env, done := filestest.Env(t)
			env.BatchBytes = batch
			in := filestest.InputOf(data, 0, int64(len(data)))
			in.MaxRecordBytes = 100
			s, err := filestest.Reader(t, "text", files.ReadOptions{}).Open(env, in, text.Schema)
			if err != nil {
				t.Fatal(err)
			}
			got, err := filestest.ReadAll(env, s, text.Schema)
			s.Close()
			switch {
			case n <= 100 && (err != nil || len(got) != 3):
				t.Errorf("%d bytes: %d rows, %v", n, len(got), err)
			case n > 100 && (!strings.Contains(fmt.Sprint(err), "test.file:3: record too large") || dataflow.KindOf(err) != dataflow.User):
				t.Errorf("%d bytes: %v, want record too large at test.file:3", n, err)
			}
			done()
		}
	}
}

func TestTextShrink(t *testing.T) {
	line := strings.Repeat("m", 99) + "\n"
	data := []byte(strings.Repeat(line, 200_000))
	r := filestest.Reader(t, "text", files.ReadOptions{})
	env, done := filestest.Env(t)
	defer done()
	s, err := r.Open(env, filestest.InputOf(data, 0, int64(len(data))), text.Schema)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows := 0
	count := func(s dataflow.Stream, most int) {
		for range most {
			b, err := s.Next(t.Context())
			if err != nil {
				return
			}
			rows += int(b.NumRows())
			b.Release()
		}
	}
	count(s, 3)
	end, ok := s.(files.Shrinker).Shrink(0.5)
	if !ok || end < 9<<20 || end > 12<<20 {
		t.Fatalf("half of the rest ends at %d, %v", end, ok)
	}
	count(s, 1<<20)
	mine := rows
	rest, err := r.Open(env, filestest.InputOf(data, end, int64(len(data))), text.Schema)
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	count(rest, 1<<20)
	if rows != 200_000 || mine == rows {
		t.Errorf("%d rows, then %d, want 200000 in all", mine, rows)
	}
}

func TestTextWriteColumns(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "w", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "n", Type: arrow.PrimitiveTypes.Int64},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: "b", Type: arrow.FixedWidthTypes.Boolean}}, nil)
	b, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"w":"a","n":-3,"f":0.1,"b":true},{"w":null,"n":9,"f":1e30,"b":false},{"w":"x\ty","n":0,"f":null,"b":false}]`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(filestest.Encode(t, "text", "", b)), "a\t-3\t0.1\ttrue\n\t9\t1e+30\tfalse\nx\ty\t0\t\tfalse\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := string(filestest.Encode(t, "text", `{"separator":","}`, b.NewSlice(1, 2))), ",9,1e+30,false\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func BenchmarkText(b *testing.B) {
	for _, width := range []int{10, 60, 200} {
		b.Run(fmt.Sprintf("line=%d", width), func(b *testing.B) {
			data := []byte(strings.Repeat(strings.Repeat("w", width-1)+"\n", 64<<20/width))
			r := filestest.Reader(b, "text", files.ReadOptions{})
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				env := dataflow.NewEnv(b.Context())
				s, err := r.Open(env, filestest.InputOf(data, 0, int64(len(data))), text.Schema)
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

func BenchmarkTextWrite(b *testing.B) {
	rows := make([]string, 16<<10)
	for i := range rows {
		rows[i] = strings.Repeat("w", 59)
	}
	batch := lines(rows...)
	f, _ := files.LookupFormat("text")
	w, _ := f.Writer(files.WriteOptions{})
	b.SetBytes(60 * batch.NumRows())
	e, _ := w.Open(nil, discard{}, text.Schema)
	for b.Loop() {
		if err := e.Write(batch); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
