package parquet

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

func dictionaryPage(texts ...string) (page []byte) {
	for _, t := range texts {
		page = append(binary.LittleEndian.AppendUint32(page, uint32(len(t))), t...)
	}
	return page
}

func TestWords(t *testing.T) {
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	for _, texts := range [][]string{{"", "a", "seven77", "sixteen bytes 16"}, {"short", "", strings.Repeat("long", 30)}, {"a", "b", "c"}, {"x"}} {
		var w words
		if err := w.parse(dictionaryPage(texts...), len(texts)); err != nil {
			t.Fatal(err)
		}
		var codes []uint32
		for i := range 100 {
			if i%7 == 3 && len(texts) > 1 {
				codes = append(codes, nullCode)
			} else {
				codes = append(codes, uint32(i%len(texts)))
			}
		}
		ends, text, err := w.spell(mem, codes)
		if err != nil {
			t.Fatal(err)
		}
		for i := range codes {
			from, to := binary.LittleEndian.Uint32(ends.Bytes()[4*i:]), binary.LittleEndian.Uint32(ends.Bytes()[4*i+4:])
			want := ""
			if i%7 != 3 || len(texts) == 1 {
				want = texts[i%len(texts)]
			}
			if got := string(text.Bytes()[from:to]); got != want {
				t.Errorf("text %d is %q, want %q", i, got, want)
			}
		}
		ends.Release()
		text.Release()
		if _, _, err := w.spell(mem, []uint32{0, uint32(len(texts))}); err == nil {
			t.Error("a number outside the dictionary was taken")
		}
	}
}

func TestBrokenWords(t *testing.T) {
	page := dictionaryPage("one", "two")
	var w words
	for _, n := range []int{3, 1 << 30} {
		if w.parse(page, n) == nil {
			t.Errorf("%d texts were read of a page of 2", n)
		}
	}
	for cut := range page {
		if w.parse(page[:cut], 2) == nil {
			t.Errorf("two texts were read of %d bytes", cut)
		}
	}
}

// What a page claims of codes that its dictionary does not have is an error, also where a
// condition alone looks at them.
func TestCodesOutsideTheDictionary(t *testing.T) {
	for _, optional := range []bool{false, true} {
		c := &coded{flat: flat{pager: pager{optional: optional, at: 0, rows: 3, coded: true}, mem: memory.DefaultAllocator}}
		if err := c.words.parse(dictionaryPage("one", "two"), 2); err != nil {
			t.Fatal(err)
		}
		if err := c.pager.codes.parse([]byte{2 << 1, 1, 1 << 1, 2}, 2, 3); err != nil {
			t.Fatal(err)
		}
		passes := []uint8{1, 1}
		if optional {
			passes = append(passes, 1)
		}
		if rows, err := (test{column: c, passes: passes}).choose(make([]int32, 3), 3, nil); err == nil {
			t.Errorf("rows %v pass by code 2 of 2", rows)
		}
	}
}
