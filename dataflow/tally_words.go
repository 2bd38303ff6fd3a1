package dataflow

import (
	"math/bits"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// wordTally counts the words of lines without making them strings first: it reads
// sixteen bytes at a time, as the two words of a short key, and finds the word's end
// in them. Words that are longer or touch bytes beyond ASCII take a slower way.
type wordTally struct{ *tally }

var _ lineTaker = wordTally{}

func (w wordTally) lines(ends []int32, data string) {
	for i := range len(ends) - 1 {
		w.r.row = i
		w.line(data, int(ends[i]), int(ends[i+1]))
	}
}

// line counts the words of data[at:end]; it may look at what lies behind end.
func (w wordTally) line(data string, at, end int) {
	from := unsafe.Pointer(unsafe.StringData(data))
	for at < end {
		if at+shortMax > len(data) {
			at = w.word(data, at, end)
			continue
		}
		lo := *(*uint64)(unsafe.Add(from, at))
		if asciiSpace[byte(lo)] != 0 {
			at++
			continue
		}
		hi := *(*uint64)(unsafe.Add(from, at+8))
		s, t := stops(lo), stops(hi)
		n, m := uint(bits.TrailingZeros64(s))&^7, uint(bits.TrailingZeros64(t))&^7
		if s != 0 {
			m = 0
		}
		next := at + int(n+m)>>3
		if next >= end {
			next = end
			n = 8 * uint(min(end-at, 8))
			m = 8*uint(end-at) - n
		} else if asciiSpace[data[next]] == 0 {
			at = w.word(data, at, end)
			continue
		}
		w.waiting[w.n] = shortKey{lo & (1<<n - 1), hi & (1<<m - 1), uint64(n+m)>>3 + 1}
		if w.n++; w.n == tallyWait {
			w.drain()
		}
		at = next + 1
	}
}

// stops marks, in the high bit of each, the bytes that may end a word: those up to the
// space, and those beyond ASCII.
func stops(x uint64) uint64 {
	const low = 0x7f7f7f7f7f7f7f7f
	return (^(x&low + 0x5f5f5f5f5f5f5f5f) | x) &^ low
}

// word counts the word that begins at data[at], if one does, byte by byte, and returns
// where to go on.
func (w wordTally) word(data string, at, end int) int {
	for i := at; i < end; {
		c := data[i]
		size := 1
		space := asciiSpace[c] != 0
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(data[i:end])
			space = unicode.IsSpace(r)
		}
		if space {
			if i > at {
				w.add(data[at:i])
			}
			return i + size
		}
		i += size
	}
	w.add(data[at:end])
	return end
}
