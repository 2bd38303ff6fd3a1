package zipf

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func TestTextFollowsTheLaw(t *testing.T) {
	var one, two bytes.Buffer
	text := Text{Bytes: 2 << 20, Vocabulary: 1000, Exponent: 1, Seed: 7}
	n, words, err := text.Write(&one)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := text.Write(&two); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("the same seed gives two texts")
	}
	if n != int64(one.Len()) || n < text.Bytes || n > text.Bytes+1000 {
		t.Errorf("wrote %d bytes, says %d, asked for %d", one.Len(), n, text.Bytes)
	}
	counts := map[string]int64{}
	var total int64
	for w := range strings.FieldsSeq(one.String()) {
		counts[w]++
		total++
	}
	if total != words {
		t.Errorf("%d words, says %d", total, words)
	}
	var harmonic float64
	for i := 1; i <= text.Vocabulary; i++ {
		harmonic += 1 / float64(i)
	}
	var top int64
	for _, c := range counts {
		top = max(top, c)
	}
	want := float64(total) / harmonic
	if math.Abs(float64(top)-want) > want/20 {
		t.Errorf("the most frequent word stands %d times, the law says %.0f", top, want)
	}
}

func TestHotShare(t *testing.T) {
	var b bytes.Buffer
	if _, _, err := (Text{Bytes: 1 << 20, Vocabulary: 1000, Exponent: 1, Seed: 7, HotShare: 0.9}).Write(&b); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	total := 0
	for w := range strings.FieldsSeq(b.String()) {
		counts[w]++
		total++
	}
	top := 0
	for _, c := range counts {
		top = max(top, c)
	}
	if share := float64(top) / float64(total); share < 0.9 || share > 0.93 {
		t.Errorf("the hot word has a share of %.3f", share)
	}
}
