package csv_test

import (
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/connectors/files/filestest"
	"github.com/divisi-data/divisi/dataflow"
)

// cutRows reads a file in ranges behind which records begin, bad records too.
func cutRows(t testing.TB, r files.Reader, schema *arrow.Schema, data []byte, batch int, at ...int64) []string {
	t.Helper()
	env, done := filestest.Env(t)
	defer done()
	env.BatchBytes = batch
	ends := append([]int64{0}, filestest.Align(t, r.(files.Aligner), data, at)...)
	ends = append(ends, int64(len(data)))
	var rows []string
	for i := range len(ends) - 1 {
		in := filestest.InputOf(data, ends[i], ends[i+1])
		var bad []string
		in.OnBad = func(b files.BadRecord) error {
			bad = append(bad, fmt.Sprintf("bad %s: %q", b.Place, b.Record))
			return nil
		}
		s, err := r.Open(env, in, schema)
		if err != nil {
			t.Fatal(err)
		}
		got, err := filestest.ReadAll(env, s, schema)
		s.Close()
		if err != nil {
			t.Fatalf("range %d to %d: %v", ends[i], ends[i+1], err)
		}
		rows = append(append(rows, got...), bad...)
	}
	return rows
}

// begins are the offsets at which records begin, found one byte after the other.
func beginsOf(data []byte, delimiter byte) []int64 {
	at := []int64{0}
	open, front := false, true
	for i := 0; i < len(data); i++ {
		c := data[i]
		if open {
			if c == '"' {
				if i+1 < len(data) && data[i+1] == '"' {
					i++
				} else {
					open = false
				}
			}
			continue
		}
		if c == '\n' {
			at = append(at, int64(i)+1)
		}
		open = c == '"' && front
		front = c == '\n' || c == delimiter
	}
	if n := int64(len(data)); at[len(at)-1] != n {
		at = append(at, n)
	}
	return at
}

// randomCSV is a file of two columns in which fields hold what a cut may be misled by.
func randomCSV(rnd *rand.Rand, rows int, pieces []string) string {
	var b strings.Builder
	end := []string{"\n", "\r\n"}[rnd.IntN(2)]
	for row := range rows {
		for c := range 2 {
			var f strings.Builder
			for range rnd.IntN(4) {
				f.WriteString(pieces[rnd.IntN(len(pieces))])
			}
			text := f.String()
			if strings.ContainsAny(text, ",\n") || strings.HasPrefix(text, `"`) || strings.HasSuffix(text, "\r") || rnd.IntN(3) == 0 {
				text = `"` + strings.ReplaceAll(text, `"`, `""`) + `"`
			}
			b.WriteString([]string{"", ","}[c] + text)
		}
		if row < rows-1 || rnd.IntN(2) == 0 {
			b.WriteString(end)
		}
	}
	return b.String()
}

// Files whose fields hold line ends, quotes and delimiters, cut at each offset, are what
// the standard library reads of them whole.
func TestCSVCuts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: []byte(`{"header":false,"null":"NULL"}`)})
	for n := range 60 {
		pieces := []string{"a", "b", `"`, "\n", ",", "\r\n", " ", "\n\n", `",`, `,"`, `""`}
		pieces = pieces[:2+rnd.IntN(len(pieces)-1)]
		text := randomCSV(rnd, 1+rnd.IntN(20), pieces)
		lib := csv.NewReader(strings.NewReader(text))
		lib.LazyQuotes = true // quotes inside of fields without them
		records, err := lib.ReadAll()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		var want []string
		for _, f := range records {
			want = append(want, fmt.Sprintf("%q | %q", f[0], f[1]))
		}
		check := func(batch int, at ...int64) {
			got := cutRows(t, r, strs, []byte(text), batch, at...)
			for i := range got { // the library leaves the CR of a line end in quotes out
				got[i] = strings.ReplaceAll(got[i], `\r\n`, `\n`)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("file %d, %q, cut at %v: %q, want %q", n, text, at, got, want)
			}
		}
		for at := range len(text) {
			check(1<<20, int64(at))
		}
		every := make([]int64, len(text))
		for at := range every {
			every[at] = int64(at)
		}
		check(1, every...)
	}
}

// Bytes that a table is made of block by block: without a quote, with one far away, one
// field over many blocks.
func TestCSVCutsFarFromQuotes(t *testing.T) {
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: []byte(`{"header":false}`)})
	lines := strings.Repeat("some,words\n", 20_000)
	for name, text := range map[string]string{
		"no quote":        lines,
		"one quote":       `a,"` + lines,
		"one field":       `a,"` + lines + "\"\nb,c\n",
		"two fields":      `a,"` + lines + "\"\n\"" + lines + "\",c\n",
		"a quote, unread": `a,b"` + lines,
		"no line end":     strings.Repeat("x", 300_000) + ",y",
		"quotes only":     `a,"` + strings.Repeat(`""`, 120_000) + "\"\nb,c\n",
	} {
		data := []byte(text)
		n := int64(len(data))
		begin := beginsOf(data, ',')
		want := sorted(cutRows(t, r, strs, data, 1<<20))
		for _, at := range [][]int64{{1}, {n - 1, n}, {10, n / 5, n / 3, n/3 + 1, n/3 + 2, n - 2}} {
			for i, got := range filestest.Align(t, r.(files.Aligner), data, at) {
				k, _ := slices.BinarySearch(begin, at[i])
				if got != begin[k] {
					t.Errorf("%s: the first record behind %d begins at %d, want %d", name, at[i], got, begin[k])
				}
			}
			if got := cutRows(t, r, strs, data, 1<<16, at...); !slices.Equal(sorted(got), want) {
				t.Errorf("%s, cut at %v: %d rows, want %d", name, at, len(got), len(want))
			}
		}
	}
}

// A file that is not any more what its splits were made of is not read wrong.
func TestCSVChanged(t *testing.T) {
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: []byte(`{"header":false}`)})
	env, done := filestest.Env(t)
	defer done()
	data := []byte("a,b\nc,\"d\ne\"\nf,g\n")
	for end := range int64(len(data)) {
		_, err := filestest.ReadRange(env, r, strs, data, 0, end)
		if whole := slices.Contains(beginsOf(data, ','), end); whole != (err == nil) || err != nil && !errors.Is(err, files.ErrInputChanged) {
			t.Errorf("the first %d bytes: %v", end, err)
		}
	}
}

// Who looks at a long file says that it gets on: it is not to be taken for hung.
func TestCSVAlignAdvances(t *testing.T) {
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: []byte(`{"header":false}`)})
	data := []byte(strings.Repeat("some,words\n", 50_000))
	var signs atomic.Int64
	ctx := dataflow.WithAdvance(t.Context(), func() { signs.Add(1) })
	if _, err := r.(files.Aligner).Align(ctx, filestest.InputOf(data, 0, int64(len(data))), []int64{int64(len(data)) - 1}); err != nil || signs.Load() < 3 {
		t.Errorf("%d signs, %v", signs.Load(), err)
	}
}

func TestCSVCutOptions(t *testing.T) {
	for _, c := range []struct {
		options     string
		cut, aligns bool
	}{
		{`{}`, false, true}, {`{"split":false}`, false, false},
		{`{"multiline":false}`, true, false}, {`{"multiline":false,"split":false}`, false, false},
	} {
		r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: []byte(c.options)})
		if a := r.(files.Aligner).Aligns(); r.Splittable() != c.cut || a != c.aligns {
			t.Errorf("%s: cut anywhere %v, at records %v", c.options, r.Splittable(), a)
		}
	}
}

// Any bytes, cut anywhere, are the rows and bad records that they are uncut.
func FuzzCSVCuts(f *testing.F) {
	f.Add([]byte("a,b\n\"c\nd\",\"e\"\"\"\nf\"g,h\r\n\"i\"j,k"), uint16(3), uint16(7), byte(','))
	f.Add([]byte("\"\n\"\n,\"\"\n\"\",\n\"\"\"\n"), uint16(1), uint16(2), byte(';'))
	f.Fuzz(sameCut)
}

// Bytes of which most are no CSV.
func TestCSVCutsOfAnyBytes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		letters := "\"\"\n\r,ab "[rnd.IntN(3):]
		data := make([]byte, rnd.IntN(80))
		for i := range data {
			data[i] = letters[rnd.IntN(len(letters))]
		}
		sameCut(t, data, uint16(rnd.IntN(20)), uint16(rnd.IntN(7)), ',')
	}
}

// sameCut cuts a file in many places and compares with the uncut one.
func sameCut(t *testing.T, data []byte, step, shift uint16, delimiter byte) {
	if delimiter < ' ' || delimiter > '~' || delimiter == '"' {
		delimiter = ','
	}
	r := filestest.Reader(t, "csv", files.ReadOptions{Schema: strs, Options: fmt.Appendf(nil, `{"header":false,"delimiter":%q}`, string(delimiter))})
	var at []int64
	for n := int64(shift)%7 + 1; n <= int64(len(data)); n += int64(step)%97 + 1 {
		at = append(at, n)
	}
	begin := beginsOf(data, delimiter)
	for i, got := range filestest.Align(t, r.(files.Aligner), data, at) {
		if k, _ := slices.BinarySearch(begin, at[i]); got != begin[k] {
			t.Fatalf("%q: the first record behind %d begins at %d, want %d", data, at[i], got, begin[k])
		}
	}
	if got, want := cutRows(t, r, strs, data, 16, at...), cutRows(t, r, strs, data, 1<<20); !slices.Equal(sorted(got), sorted(want)) {
		t.Fatalf("%q cut at %v: %q, want %q", data, at, got, want)
	}
}

func sorted(rows []string) []string { return slices.Sorted(slices.Values(rows)) }

// How fast a file is looked at for its cuts: all of it without quotes, a little of it
// with them.
func BenchmarkCSVAlign(b *testing.B) {
	r := filestest.Reader(b, "csv", files.ReadOptions{Schema: strs, Options: []byte(`{"header":false}`)})
	for name, line := range map[string]string{"plain": "123456,some words in a row\n", "quoted": "123456,\"some words\nin a row\"\n"} {
		data := []byte(strings.Repeat(line, 64<<20/len(line)))
		n := int64(len(data))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(n)
			for b.Loop() {
				filestest.Align(b, r.(files.Aligner), data, []int64{n / 4, n / 2, 3 * n / 4})
			}
		})
	}
}
