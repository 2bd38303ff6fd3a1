package files_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/divisi-data/divisi/connectors/connectortest"
	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
	"github.com/divisi-data/divisi/internal/race"
	"github.com/divisi-data/divisi/storage"
	"github.com/divisi-data/divisi/storage/faulty"
	"github.com/divisi-data/divisi/storage/mem"
)

func put(t testing.TB, fs storage.Filesystem, name string, data []byte) {
	t.Helper()
	o := must(fs.Create(t.Context(), name))
	must(o.Write(data))
	check(t, fs.Publish(t.Context(), must(o.Seal(t.Context()))))
}

func textOf(paths ...string) files.SourceArgs { return files.SourceArgs{Paths: paths, Format: "text"} }

func TestPaths(t *testing.T) {
	fs := mem.New()
	use(fs)
	for _, name := range []string{"in/a.txt", "in/b.log", "in/sub/c.txt", "in/_SUCCESS", "in/.hidden/x.txt", "in/_tmp/y.txt", "in/sub/.z", "inner/no.txt", "done/_SUCCESS"} {
		put(t, fs, name, []byte(name+"\n"))
	}
	for _, c := range []struct {
		paths string
		want  string
	}{
		{"in", "in/a.txt in/b.log in/sub/c.txt"},
		{"in/", "in/a.txt in/b.log in/sub/c.txt"},
		{"in/*", "in/a.txt in/b.log in/sub/c.txt"},
		{"in/*.txt", "in/a.txt"},
		{"in/{a,b}.*", "in/a.txt in/b.log"},
		{"in*/*.txt", "in/a.txt inner/no.txt"},
		{"in/?.log in/a.txt", "in/a.txt in/b.log"},
		{"in/_tmp/y.txt", "in/_tmp/y.txt"},
		{"done", ""},
	} {
		var paths []string
		for p := range strings.FieldsSeq(c.paths) {
			paths = append(paths, "faulty:///"+p)
		}
		var got []string
		for _, row := range connectortest.Read(t, mustSource(t, textOf(paths...)), dataflow.SplitHint{}) {
			got = append(got, strings.Trim(row, `" `))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.paths, got, c.want)
		}
	}
	for path, also := range map[string]error{"faulty:///nowhere/x": storage.ErrNotExist, "faulty:///in/*.csv": nil} {
		_, err := mustSource(t, textOf(path)).Splits(t.Context(), dataflow.SplitHint{})
		if !errors.Is(err, dataflow.ErrNoInput) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), path) || also != nil && !errors.Is(err, also) {
			t.Errorf("%s: %v, want ErrNoInput of kind user that names it", path, err)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{
		`{}`, `{"paths":[],"format":"text"}`, `{"paths":["x"],"format":"nonsense"}`, `{"paths":["x"],"format":"text","optoins":{}}`,
		`{"paths":["x"],"format":"text","options":{"row":true}}`, `{"paths":["x"],"format":"text","policy":{"bad":"ignore"}}`,
		`{"paths":["x"],"format":"text","max_record_bytes":-1}`, `{"paths":["x"],"format":"text","schema":[{"name":"a","type":"integer"}]}`,
	} {
		if _, err := dataflow.NewSource(files.Kind, []byte(args)); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("source %s: %v, want an error of kind user", args, err)
		}
	}
	for _, args := range []string{`{}`, `{"path":"x","format":"nonsense"}`, `{"path":"x","format":"text","options":{"compression":"lzma"}}`, `{"path":"x","format":"text","options":{"x":1}}`} {
		if _, err := dataflow.NewSink(files.Kind, []byte(args)); dataflow.KindOf(err) != dataflow.User {
			t.Errorf("sink %s: %v, want an error of kind user", args, err)
		}
	}
}

// Where four splits for each slot would be large, there are three, or more of the largest.
func TestLargeSplits(t *testing.T) {
	fs := mem.New()
	put(t, fs, "in/one", []byte("x\n"))
	for _, c := range []struct {
		size     int64
		slots, n int
	}{{64 << 20, 1, 4}, {256 << 20, 1, 4}, {300 << 20, 1, 3}, {1000 << 20, 3, 9}, {768 << 20, 3, 12}, {10 << 30, 3, 80}} {
		use(longFS{fs, c.size})
		splits := must(mustSource(t, textOf("faulty:///in")).Splits(t.Context(), dataflow.SplitHint{Slots: c.slots}))
		if len(splits) != c.n {
			t.Errorf("%d MiB for %d slots: %d splits, want %d", c.size>>20, c.slots, len(splits), c.n)
		}
	}
}

func TestSplitSizes(t *testing.T) {
	fs := mem.New()
	use(fs)
	for i := range 10_000 {
		put(t, fs, fmt.Sprintf("small/%05d", i), []byte("x\n"))
	}
	if !race.Enabled {
		put(t, fs, "large/a", make([]byte, 100<<20))
		put(t, fs, "large/b.gz", make([]byte, 50<<20))
	}
	for _, c := range []struct {
		path         string
		hint         dataflow.SplitHint
		least, most  int
		largestBytes int64
	}{
		{"small", dataflow.SplitHint{Slots: 8}, 32, 34, 1000}, // four for each slot
		{"small", dataflow.SplitHint{Slots: 1}, 10, 10, 2000},
		{"small", dataflow.SplitHint{Slots: 1000}, 3334, 3334, 1000},
		{"large", dataflow.SplitHint{Slots: 1}, 3, 4, 50 << 20},
		{"large", dataflow.SplitHint{Slots: 100}, 7, 8, 50 << 20},
		{"large", dataflow.SplitHint{Slots: 1, MaxBytes: 1 << 20}, 100, 102, 50 << 20},
	}[:race.Tries(6, 6, 3)] {
		splits := must(mustSource(t, textOf("faulty:///"+c.path)).Splits(t.Context(), c.hint))
		var sum, largest int64
		for _, s := range splits {
			sum += s.Bytes
			largest = max(largest, s.Bytes)
		}
		want := int64(20_000)
		if c.path == "large" {
			want = 150 << 20
		}
		if len(splits) < c.least || len(splits) > c.most || largest > c.largestBytes || sum != want {
			t.Errorf("%s %+v: %d splits of %d bytes, the largest %d; want %d to %d of %d, at most %d", c.path, c.hint, len(splits), sum, largest, c.least, c.most, want, c.largestBytes)
		}
	}
	src := mustSource(t, textOf("faulty:///small"))
	if rows := connectortest.Read(t, src, dataflow.SplitHint{Slots: 8}); len(rows) != 10_000 {
		t.Errorf("%d rows of 10000", len(rows))
	}
}

func TestCompressed(t *testing.T) {
	var want []string
	for i := range 5000 {
		want = append(want, fmt.Sprintf("line %d", i*i))
	}
	half := func(a, b int) []byte { return []byte(strings.Join(want[a:b], "\n") + "\n") }
	zip := func(p []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(p)
		w.Close()
		return b.Bytes()
	}
	enc := must(zstd.NewWriter(nil))
	fs := mem.New()
	use(fs)
	all := map[string][]byte{
		"x.gz":  append(zip(half(0, 2000)), zip(half(2000, 5000))...),
		"x.zst": append(enc.EncodeAll(half(0, 2000), nil), enc.EncodeAll(half(2000, 5000), nil)...),
	}
	for name, data := range all {
		put(t, fs, name, data)
		env := dataflow.NewEnv(t.Context())
		env.BatchBytes = 100
		got := connectortest.Read(t, mustSource(t, textOf("faulty:///"+name)), dataflow.SplitHint{MaxBytes: 10})
		wanted := connectortest.Strings(lines(want...))
		slices.Sort(wanted)
		if !slices.Equal(got, wanted) {
			t.Errorf("%s: %d rows, want %d", name, len(got), len(want))
		}
		for _, cut := range []int{1, 5, len(data) / 3, len(data) - 1} {
			put(t, fs, name, data[:cut])
			src := mustSource(t, textOf("faulty:///"+name))
			_, err := connectortest.ReadSplit(t, src, must(src.Splits(t.Context(), dataflow.SplitHint{}))[0])
			if !errors.Is(err, dataflow.ErrMalformed) || dataflow.KindOf(err) != dataflow.User || !strings.Contains(err.Error(), name) {
				t.Errorf("%s cut to %d bytes: %v, want ErrMalformed of kind user that names it", name, cut, err)
			}
		}
		put(t, fs, name, data) // a store that fails is not a broken file
		broken := fmt.Errorf("reset: %w", storage.ErrTransient)
		src := mustSource(t, textOf("faulty:///"+name))
		split := must(src.Splits(t.Context(), dataflow.SplitHint{}))[0]
		use(faulty.Wrap(fs, faulty.At(faulty.Read, name, 1, broken)))
		if _, err := connectortest.ReadSplit(t, src, split); !errors.Is(err, storage.ErrTransient) || dataflow.KindOf(err) != dataflow.Transient {
			t.Errorf("%s on a failing store: %v, want a transient error", name, err)
		}
		use(fs)
	}
	put(t, fs, "empty.gz", zip(nil))
	put(t, fs, "none.gz", nil)
	put(t, fs, "empty.zst", enc.EncodeAll(nil, nil))
	if rows := connectortest.Read(t, mustSource(t, textOf("faulty:///empty.gz", "faulty:///none.gz", "faulty:///empty.zst")), dataflow.SplitHint{}); len(rows) > 0 {
		t.Errorf("empty files have rows %v", rows)
	}
}

func TestInputChanges(t *testing.T) {
	fs := mem.New()
	use(fs)
	put(t, fs, "x", []byte("a\nb\n"))
	src := mustSource(t, textOf("faulty:///x"))
	splits := must(src.Splits(t.Context(), dataflow.SplitHint{}))
	put(t, fs, "x", []byte("a\nb\nc\n"))
	_, err := connectortest.ReadSplit(t, src, splits[0])
	if !errors.Is(err, files.ErrInputChanged) || dataflow.KindOf(err) != dataflow.User {
		t.Errorf("a file that grew: %v, want ErrInputChanged of kind user", err)
	}
	check(t, fs.Remove(t.Context(), "x"))
	if _, err := connectortest.ReadSplit(t, src, splits[0]); !errors.Is(err, storage.ErrNotExist) {
		t.Errorf("a file that is gone: %v, want that it does not exist", err)
	}
}

// What TrySplit gives away and what it keeps is all, once, at every moment.
func TestTrySplit(t *testing.T) {
	fs := mem.New()
	use(fs)
	var want []string
	for f := range 5 {
		var data []byte
		for i := range 100 {
			want = append(want, fmt.Sprintf("%d-%d", f, i))
			data = append(data, want[len(want)-1]+"\n"...)
		}
		put(t, fs, fmt.Sprint("in/", f), data)
	}
	big := bytes.Repeat([]byte("0123456789\n"), 1<<20)
	put(t, fs, "big", big)
	wanted := connectortest.Strings(lines(want...))
	slices.Sort(wanted)
	src := mustSource(t, textOf("faulty:///in"))
	all := must(src.Splits(t.Context(), dataflow.SplitHint{}))
	var read func(src dataflow.Source, s dataflow.Split, after int, keep float64) (rows []string, splits int)
	read = func(src dataflow.Source, s dataflow.Split, after int, keep float64) (rows []string, splits int) {
		env := dataflow.NewEnv(t.Context())
		st := must(src.Open(env, s))
		defer st.Close()
		for n := 0; ; n++ {
			if n == after {
				if _, rest, ok := st.(dataflow.Splitter).TrySplit(keep); ok {
					r, k := read(src, rest, after, keep)
					rows, splits = append(rows, r...), splits+k+1
				}
			}
			b, err := st.Next(t.Context())
			if err != nil {
				if p := st.(dataflow.Progresser).Progress(); p.Fraction < 0.999 {
					t.Errorf("at the end progress is %+v", p)
				}
				return rows, splits
			}
			rows = append(rows, connectortest.Strings(b)...)
			b.Release()
		}
	}
	for after := range 7 {
		for _, keep := range []float64{0, 0.5, 0.9, 1} {
			var rows []string
			for _, split := range all {
				r, _ := read(src, split, after, keep)
				rows = append(rows, r...)
			}
			slices.Sort(rows)
			if !slices.Equal(rows, wanted) {
				t.Errorf("split after %d batches, keep %g: %d rows, want %d", after, keep, len(rows), len(wanted))
			}
		}
	}
	src = mustSource(t, textOf("faulty:///big"))
	split := must(src.Splits(t.Context(), dataflow.SplitHint{Slots: 1, MaxBytes: 1 << 30}))[0]
	rows, splits := read(src, split, 2, 0.5)
	if len(rows) != 1<<20 || splits == 0 {
		t.Errorf("a large file in %d more splits has %d rows, want %d", splits, len(rows), 1<<20)
	}
}

func TestSchemaText(t *testing.T) {
	text := `[{"name":"a","type":"int64","required":true},{"name":"b","type":"list<struct<x:string!,y:map<string,decimal(12,2)>>!>"},` +
		`{"name":"c","type":"timestamp(us,Europe/Berlin)"},{"name":"d","type":"fixed(16)"},{"name":"e","type":"time64(ns)"},{"name":"f","type":"duration(ms)"},{"name":"g","type":"struct<>"}]`
	s := must(files.DecodeSchema(json.RawMessage(text)))
	if again := string(must(files.EncodeSchema(s))); again != text {
		t.Errorf("read and written again it is\n%s, want\n%s", again, text)
	}
	for _, bad := range []string{"int", "list<", "list<int64", "list<int64>>", "fixed(0)", "fixed(x)", "decimal(40,2)", "decimal(2,3)", "timestamp(h)", "map<string>", "struct<a>", strings.Repeat("list<", 100) + "int64" + strings.Repeat(">", 100)} {
		raw, _ := json.Marshal([]map[string]string{{"name": "a", "type": bad}})
		if _, err := files.DecodeSchema(raw); err == nil {
			t.Errorf("%q is taken as a type", bad)
		}
	}
}
