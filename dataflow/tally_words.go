package dataflow

import (
	"math/bits"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// wordTally counts the words of text without making them strings first. It looks for
// the ends of words in 64 bytes at a time, and then takes what lies between two ends as
// a short key. Words that are longer or touch bytes beyond ASCII take a slower way.
type wordTally struct {
	*tally
	joined []byte
	ends   [wordEnds + 64]uint32
}

const (
	// wordEnds are about so many ends of words as are found at once: no more with those
	// of the last 64 bytes than strings can wait.
	wordEnds = tallyWait/2 - 64
	// Lines are joined to so many bytes of text.
	joinedBytes = 64 << 10
)

var (
	_ lineTaker = (*wordTally)(nil)
	_ textTaker = (*wordTally)(nil)
)

// lines implements lineTaker: text is faster to look through than a line.
func (w *wordTally) lines(ends []int32, data string) {
	w.joined = w.joined[:0]
	for i := range len(ends) - 1 {
		line := data[ends[i]:ends[i+1]]
		if len(line) > joinedBytes {
			w.text(line)
			continue
		}
		w.joined = append(append(w.joined, line...), '\n')
		if len(w.joined) > joinedBytes {
			w.text(unsafe.String(unsafe.SliceData(w.joined), len(w.joined)))
			w.joined = w.joined[:0]
		}
	}
	w.text(unsafe.String(unsafe.SliceData(w.joined), len(w.joined)))
}

// text implements textTaker.
func (w *wordTally) text(data string) {
	from := unsafe.Pointer(unsafe.StringData(data))
	start, n := 0, 0
	// A short key is read as 16 bytes, wherever in the 64 it begins.
	for at := 0; at+64+shortMax <= len(data); at += 64 {
		m := stops64((*[8]uint64)(unsafe.Add(from, at)))
		ends := (*[64]uint32)(w.ends[n:])
		n += bits.OnesCount64(m)
		// Ten are there nearly always; what is written too many is not used.
		for i := range 10 {
			ends[i] = uint32(at + bits.TrailingZeros64(m))
			m &= m - 1
		}
		for i := 10; m != 0; i++ {
			ends[i] = uint32(at + bits.TrailingZeros64(m))
			m &= m - 1
		}
		if n >= wordEnds {
			start = w.words(data, start, w.ends[:n])
			n = 0
		}
	}
	for start = w.words(data, start, w.ends[:n]); start < len(data); {
		start = w.word(data, start)
	}
}

// words counts the words that begin at start and behind each of some ends, up to the
// last of them, and returns where to go on.
func (w *wordTally) words(data string, start int, ends []uint32) int {
	if w.n+len(ends) > tallyWait {
		w.drain()
	}
	from := unsafe.Pointer(unsafe.StringData(data))
	hot, waits, rows := w.hot, w.n, 0
	for _, e := range ends {
		end := int(e)
		n := uint(end - start)
		if n >= shortMax || asciiSpace[*(*byte)(unsafe.Add(from, end))] == 0 {
			if end >= start { // else it is in a word that was counted
				w.n = waits
				start = w.word(data, start)
				waits = w.n
			}
			continue
		}
		key, mask := (*shortKey)(unsafe.Add(from, start)), &shortMasks[n]
		k := shortKey{key.lo & mask.lo, key.hi&mask.hi | uint64(shortTag+n)<<56}
		h := k.hash()
		// Which are hot is as good as random, so nothing here is decided by a branch.
		line := hotLineOf(hot, h)
		is0, is1 := isZero(line[0].differs(&k)), isZero(line[1].differs(&k))
		line[0].n += is0
		line[1].n += is1
		at := waits & (tallyWait - 1)
		w.waiting[at], w.hashes[at] = k, h
		is := int(n+15) >> 4 // whether it is a word at all
		waits += int(1-is0-is1) & is
		rows += is
		start = end + 1
	}
	w.n = waits
	w.rows += rows
	if waits == tallyWait {
		w.drain()
	}
	return start
}

// shortMasks are what of two words is a string of so many bytes.
var shortMasks = func() (m [shortMax]shortKey) {
	for n := range m {
		m[n].lo = 1<<(8*min(n, 8)) - 1
		m[n].hi = 1<<(8*max(n-8, 0)) - 1
	}
	return m
}()

// stops64 has a bit for each of 64 bytes that may end a word.
func stops64(b *[8]uint64) uint64 {
	return stops(b[0]) | stops(b[1])<<8 | stops(b[2])<<16 | stops(b[3])<<24 |
		stops(b[4])<<32 | stops(b[5])<<40 | stops(b[6])<<48 | stops(b[7])<<56
}

// stops has a bit for each of 8 bytes that may end a word: those up to the space, and
// those beyond ASCII.
func stops(x uint64) uint64 {
	const low, gather = 0x7f7f7f7f7f7f7f7f, 0x0102040810204080
	x = (^(x&low + 0x5f5f5f5f5f5f5f5f) | x) &^ low
	return x >> 7 * gather >> 56
}

// word counts the word that begins at data[at], if one does, byte by byte, and returns
// where to go on.
func (w *wordTally) word(data string, at int) int {
	for i := at; i < len(data); {
		c := data[i]
		size := 1
		space := asciiSpace[c] != 0
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(data[i:])
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
	w.add(data[at:])
	return len(data)
}
