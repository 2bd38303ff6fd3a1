package dataflow

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/divisi-data/divisi/internal/race"
)

// oddLines are lines of pieces that end words, look as if they did, or begin something
// that they do not end, at all distances from the line's and the batch's end.
func oddLines(seed uint64, n int) []string {
	pieces := []string{" ", "\t", "\v\f", "\r", "\x00", "\x1f", "\x7f", "a", "bc", "word", "exactly-sixteen!", "seventeen-bytes-x",
		"\u0085", "\u00a0", "\u1680", "\u2009", "\u2028", "\u202f", "\u205f", "\u3000", "é", "世界", "\u200b", "\xc2", "\xe2\x80", "\xff", "\x85", "\xa0",
		strings.Repeat("long", 30)}
	r := rand.New(rand.NewPCG(seed, 2))
	lines := make([]string, n)
	for i := range lines {
		var b strings.Builder
		for range r.IntN(14) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		lines[i] = b.String()
	}
	return lines
}

func fieldCounts(lines []string) map[string]int64 {
	m := map[string]int64{}
	for _, l := range lines {
		for _, w := range strings.Fields(l) {
			m[w]++
		}
	}
	return m
}

// distinctLines hold so many different words, some once only, that partial counts pay
// for a while at most.
func distinctLines(lines, words, of int) []string {
	r := rand.New(rand.NewPCG(5, 6))
	out := make([]string, lines)
	for i := range out {
		var b strings.Builder
		for range words {
			fmt.Fprintf(&b, "%x%s ", r.IntN(of), strings.Repeat("y", r.IntN(40)*r.IntN(2)))
		}
		out[i] = b.String()
	}
	return out
}

// nearLines are words of all short lengths of which many differ in one bit only, there
// too where a short key says how long the word is.
func nearLines() []string {
	var lines []string
	for n := 1; n <= shortMax+2; n++ {
		var b strings.Builder
		for at := range n {
			for bit := range 8 {
				w := []byte(strings.Repeat("a", n))
				w[at] ^= 1 << bit
				b.Write(w)
				b.WriteString(" a\u00e9 ")
			}
		}
		lines = append(lines, strings.Repeat(b.String(), 1+n%3))
	}
	return lines
}

// textOf is a batch of lines that still has its text.
type textOf struct {
	Batch
	text string
}

func (t textOf) Text() (string, bool) { return t.text, t.text != "" }

// asText gives the batches the text of their lines, and takes away their columns' use.
func asText(batches []Batch) {
	for i, b := range batches {
		ends, data := stringValues(b.Column(0))
		var text strings.Builder
		for k := range len(ends) - 1 {
			text.WriteString(data[ends[k]:ends[k+1]] + []string{"\n", "\r\n"}[k%2])
		}
		batches[i] = textOf{b, text.String()}
	}
}

// partialCounts runs the map side of a word count over lines and adds up what it gives.
func partialCounts(t *testing.T, lines []string, limit int64, batchRows int, text bool, words func(Dataset[string]) Dataset[string]) map[string]int64 {
	t.Helper()
	j := NewJob("test", nil)
	in := Read(j, FromSlice([]string{""}))
	w := words(in)
	op, ok := Count(w).node.In[0].In[0].Op.(Fuser).FuseAfter(w.node.Op)
	if !ok {
		t.Fatal("not fused")
	}
	env := NewEnv(context.Background())
	env.Memory = NewMemory("test", limit)
	env.BatchRows = batchRows
	var batches []Batch
	rows := in.codec.writer(env)
	for _, l := range lines {
		if rows.append(l) {
			batches = append(batches, rows.batch())
		}
	}
	if rows.n > 0 {
		batches = append(batches, rows.batch())
	}
	if text {
		asText(batches)
	}
	s, err := op.Open(env, &batchStream{bs: batches})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := map[string]int64{}
	pair := codecFor[Pair[string, int64]](j)
	for {
		b, err := s.Next(env.Context)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.NumRows() > int64(batchRows) {
			t.Errorf("a batch of %d rows, want at most %d", b.NumRows(), batchRows)
		}
		(&rowFeeder[Pair[string, int64]]{pair}).each(&run{}, b, func(p Pair[string, int64]) { got[strings.Clone(p.Key)] += p.Value })
		b.Release()
	}
	if used := env.Memory.Used(); used != 0 {
		t.Errorf("%d bytes are still reserved", used)
	}
	return got
}

// Short keys are equal where the strings are, and say what these are.
func TestShortKey(t *testing.T) {
	seen := map[shortKey]string{}
	words := append(oddLines(3, 500), fieldsOf(nearLines())...)
	for n := range shortMax + 1 {
		words = append(words, strings.Repeat("\x00", n), strings.Repeat("\xff", n), strings.Repeat("\xc8", n))
	}
	for _, w := range words {
		k, ok := shortOf(w)
		if !ok {
			if len(w) < shortMax {
				t.Errorf("%q has no short key", w)
			}
			continue
		}
		if other, twice := seen[k]; twice && other != w {
			t.Errorf("%q and %q have the same key", w, other)
		}
		seen[k] = w
		var keys keyArena
		if k.none() || k.long() || k.len() != len(w) || keys.short(&k) != w {
			t.Errorf("the key of %q is of %q", w, keys.short(&k))
		}
	}
}

func fieldsOf(lines []string) (words []string) {
	for _, l := range lines {
		words = append(words, strings.Fields(l)...)
	}
	return words
}

// The built-in tokeniser and a job's own function count what strings.Fields finds,
// with room for all, with hardly any, and where nearly every word is new.
func TestTally(t *testing.T) {
	for name, lines := range map[string][]string{
		"empty":    {},
		"no words": {"", " \t ", "\u2003"},
		"odd":      oddLines(1, 3000),
		"near":     nearLines(),
		"skewed":   append(zipfLines(3, 1000, 100), strings.Repeat("the ", 100_000)),
		"distinct": distinctLines(1200, 60, 1<<40),
		"repeats":  distinctLines(1200, 60, 20_000),
	} {
		want := fieldCounts(lines)
		for _, limit := range []int64{0, 48 << 10, 600 << 10} {
			for _, batchRows := range []int{1, 1 << 16} {
				if batchRows == 1 && len(want) > 1000 {
					continue
				}
				for how, f := range map[string]func(Dataset[string]) Dataset[string]{
					"Words":   Words,
					"text":    Words,
					"FlatMap": func(d Dataset[string]) Dataset[string] { return FlatMap(d, splitWords) },
				} {
					if got := partialCounts(t, lines, limit, batchRows, how == "text", f); !maps.Equal(got, want) {
						t.Errorf("%s, limit %d, batches of %d, %s: got %d words, want %d", name, limit, batchRows, how, len(got), len(want))
					}
				}
			}
		}
	}
}

// A table that outgrows the processor's caches has strings wait for their part of it:
// with room for that, with room only until the table grows, and with too little for
// both, where all is passed on again and again.
func TestTallyLate(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	lines := make([]string, race.Tries(30_000, 30_000, 8_000))
	for i := range lines {
		var b strings.Builder
		for range 60 {
			k := r.IntN(1 << (12 + r.IntN(10)))
			fmt.Fprintf(&b, "%x%s ", k, strings.Repeat("long", k%50/49*5))
		}
		lines[i] = b.String()
	}
	lines = append(lines, lines[:len(lines)/2]...)
	want := fieldCounts(lines)
	for _, limit := range []int64{0, 34 << 20, 28 << 20, 10 << 20} {
		for how, f := range map[string]func(Dataset[string]) Dataset[string]{
			"Words":   Words,
			"FlatMap": func(d Dataset[string]) Dataset[string] { return FlatMap(d, splitWords) },
		} {
			if how == "FlatMap" && limit > 0 {
				continue
			}
			if got := partialCounts(t, lines, limit, 1<<16, false, f); !maps.Equal(got, want) {
				t.Errorf("limit %d, %s: got %d words, want %d", limit, how, len(got), len(want))
			}
		}
	}
}

type title string

// A string type of the job's own, over all settings of a job.
func TestCountOwnStrings(t *testing.T) {
	lines := append(oddLines(2, 300), distinctLines(200, 20, 900)...)
	want := map[title]int64{}
	for _, l := range lines {
		want[title(l)]++
	}
	g := build(t, func(j *Job) {
		titles := Map(Read(j, FromSlice(append(lines, lines...)).Splits(3)), func(l string) title { return title(l) })
		Write(Count(titles), JSONLines[Pair[title, int64]]("out"))
	})
	settings(t, func(t *testing.T, in *interpreter) {
		got := map[title]int64{}
		for _, p := range flat(collect[Pair[title, int64]](in, g, 0)) {
			got[p.Key] += p.Value / 2
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %d keys, want %d", len(got), len(want))
		}
	})
}

// A tally takes what the one before has left, empty, where its memory allows that.
func TestTallyInherits(t *testing.T) {
	words := func(n int) (all []string) {
		for i := range n {
			all = append(all, fmt.Sprint("w", i/3))
		}
		return all
	}
	step := &Node{Name: "Count"}
	count := func(m *Memory, all []string) (slots *stringSlot[int64], late *lateKeys) {
		r := &run{env: &Env{Memory: m}, steps: []*Node{step}}
		want, got := map[string]int64{}, map[string]int64{}
		c := newTally(r, 0, nil, func(k string, n int64) { got[k] += n })
		for _, w := range all {
			c.add(w)
			want[w]++
			if c.late != nil {
				late = c.late
			}
		}
		c.done()
		slots = &c.t.slots[0]
		for i := range r.ended {
			r.ended[len(r.ended)-1-i]()
		}
		if !maps.Equal(got, want) {
			t.Errorf("%d words are counted, want %d, or counts differ", len(got), len(want))
		}
		if m.Used() != 0 {
			t.Errorf("%d bytes are still reserved", m.Used())
		}
		return slots, late
	}
	m := NewMemory("host", 100<<20)
	slots, late := count(m, words(600_000))
	again, lateAgain := count(m, words(600_000))
	if late == nil || again != slots || lateAgain != late {
		t.Error("the second does not have the memory of the first")
	}
	if few, _ := count(m, words(300)); few != slots {
		t.Error("one of few words does not have it")
	}
	if !m.TryReserve(100 << 20) {
		t.Error("the room of what is left is refused")
	}
	m.Release(100 << 20)
	if fresh, _ := count(m, words(300)); fresh == slots {
		t.Error("what was left is there although its room was wanted")
	}
}

// What was frequent for one tally is hot for the next of its step, and nothing that does
// not come is counted.
func TestTallyInheritsHot(t *testing.T) {
	step, other := &Node{Name: "Count"}, &Node{Name: "Count"}
	hot := func(c *tally) (n int) {
		for i := range c.hot {
			for j := range c.hot[i] {
				if !c.hot[i][j].none() {
					n++
				}
			}
		}
		return n
	}
	// The fewest words that make some hot, of so many different ones.
	count := func(m *Memory, of *Node, prefix string, words, different int, finish bool) (hotBefore int) {
		r := &run{env: &Env{Memory: m}, steps: []*Node{of}}
		want, got := map[string]int64{}, map[string]int64{}
		c := newTally(r, 0, nil, func(k string, n int64) { got[k] += n })
		hotBefore = hot(c)
		for i := range words {
			w := fmt.Sprint(prefix, i%different)
			c.add(w)
			want[w]++
		}
		if finish {
			if c.done(); !maps.Equal(got, want) {
				t.Errorf("of %d words, %d of them different, %d are counted, or counts differ", words, different, len(got))
			}
		}
		for i := range r.ended {
			r.ended[len(r.ended)-1-i]()
		}
		return hotBefore
	}
	m := NewMemory("host", 100<<20)
	const many = hotLearn + 2*tallyWait
	if n := count(m, step, "a", many, 1000, true); n != 0 {
		t.Errorf("%d strings are hot from nowhere", n)
	}
	for _, again := range []struct {
		prefix string
		finish bool
	}{{"a", true}, {"b", true}, {"a", false}, {"a", true}} {
		if n := count(m, step, again.prefix, 5000, 1000, again.finish); n < 900 {
			t.Errorf("%d of 1000 strings are still hot", n)
		}
	}
	if n := count(m, other, "a", 10, 10, true); n != 0 {
		t.Errorf("%d strings are hot that were so for another step", n)
	}

	// Hot ones for which there is no room are passed on.
	m = NewMemory("small", 2*hotBytes)
	count(m, step, "a", many, 1000, true)
	if n := count(m, step, "c", 200_000, 20_000, true); n < 900 {
		t.Errorf("%d of 1000 strings are hot in little memory", n)
	}
	count(m, step, "a", 200_000, 20_000, true)
}
