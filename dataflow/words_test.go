package dataflow

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/divisi-data/divisi/internal/race"
)

// Every character is a space or none as unicode.IsSpace says, whole and cut short.
func TestSpaceAt(t *testing.T) {
	for r := range rune(unicode.MaxRune + 1) {
		s := string(r)
		if size := spaceAt(s, 0); (size == len(s)) != unicode.IsSpace(r) || size != 0 && size != len(s) {
			t.Errorf("%U: a space of %d bytes", r, size)
		}
		if unicode.IsSpace(r) {
			for n := 1; n < len(s); n++ {
				if spaceAt(s[:n], 0) != 0 {
					t.Errorf("the first %d bytes of %U are a space", n, r)
				}
			}
		}
	}
}

// A stop is marked where a space may begin, and nowhere else.
func TestStops(t *testing.T) {
	may := func(c byte) bool { return c <= ' ' || c == 0xc2 || c >= 0xe1 && c <= 0xe3 }
	r := rand.New(rand.NewPCG(9, 9))
	for range race.Tries(20_000, 20_000, 1_000) {
		var words [8]uint64
		top := r.Uint64() | r.Uint64()<<32
		for i := range words {
			words[i] = r.Uint64() & [4]uint64{low7, ^uint64(0), 0xe3 * ones, top}[r.IntN(4)]
		}
		got := stops64(&words)
		for i := range 64 {
			if c := byte(words[i/8] >> (i % 8 * 8)); got>>i&1 == 1 != may(c) {
				t.Fatalf("byte %#x at %d of %x: marked %v", c, i, words, !may(c))
			}
		}
	}
}

// checkWords compares both tokenisers with strings.Fields on one text.
func checkWords(t *testing.T, text string) {
	t.Helper()
	want := strings.Fields(text)
	var got []string
	eachWord(text, func(w string) { got = append(got, w) })
	if !slices.Equal(got, want) {
		t.Fatalf("eachWord: got %q, want %q, of %q", got, want, text)
	}
	counts := partialCounts(t, []string{text}, 0, 1<<16, true, Words)
	if !maps.Equal(counts, fieldCounts([]string{text})) {
		t.Fatalf("got %q, want the counts of %q, of %q", fmt.Sprint(counts), want, text)
	}
}

// Random bytes, and text of which much is nearly white space, are split as
// strings.Fields splits them.
func TestWordsOfAnyBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	near := "\xc2\x85\xa0\xe1\x9a\x80\xe2\x81\x9f\xaf\xa8\xa9\x8a\x8b\xe3\xe0\xf0\xed a\n"
	for i := range race.Tries(400, 400, 60) {
		b := make([]byte, r.IntN(1500))
		for k := range b {
			b[k] = byte(r.IntN(256))
			if i%2 == 0 {
				b[k] = near[r.IntN(len(near))]
			}
		}
		checkWords(t, string(b))
	}
}

func FuzzWords(f *testing.F) {
	for _, l := range oddLines(11, 20) {
		f.Add(strings.Repeat(l, 4))
	}
	f.Fuzz(func(t *testing.T, text string) { checkWords(t, text) })
}
