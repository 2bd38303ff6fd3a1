package dataflow

import (
	"math/bits"
	"unsafe"
)

// wordTally counts the words of text without making them strings first. It looks for
// the ends of words in 64 bytes at a time, and then takes what lies between two ends as
// a short key. Words that are longer or end in a space beyond ASCII take a slower way.
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
			if size := spaceAt(data, end); size > 0 {
				if n > 0 {
					w.n = waits
					w.add(data[start:end])
					waits = w.n
				}
				start = end + size
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
	if (b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7])&^low7 != 0 {
		return highBits64(wideStops(b[0]), wideStops(b[1]), wideStops(b[2]), wideStops(b[3]),
			wideStops(b[4]), wideStops(b[5]), wideStops(b[6]), wideStops(b[7]))
	}
	return highBits64(stops(b[0]), stops(b[1]), stops(b[2]), stops(b[3]),
		stops(b[4]), stops(b[5]), stops(b[6]), stops(b[7]))
}

const (
	ones = 0x0101010101010101 // times a byte: that byte eight times
	low7 = 0x7f * ones
)

// stops has the high bit of each of 8 bytes of ASCII that may end a word: up to the space.
func stops(x uint64) uint64 { return ^(x + 0x5f*ones) &^ low7 }

// wideStops is stops for any bytes: of those beyond ASCII it has those that may begin
// white space, see spaceAt.
func wideStops(x uint64) uint64 {
	c2, e1, e2 := x^0xc2*ones, x^0xe1*ones, (x^0xe2*ones)&(0xfe*ones) // e2 and e3
	others := (c2&low7 + low7 | c2) & (e1&low7 + low7 | e1) & (e2&low7 + low7 | e2)
	return (^(x&low7+0x5f*ones)&^x | ^others) &^ low7
}

// highBits64 is the high bits of 64 bytes.
func highBits64(a, b, c, d, e, f, g, h uint64) uint64 {
	return highBits(a) | highBits(b)<<8 | highBits(c)<<16 | highBits(d)<<24 |
		highBits(e)<<32 | highBits(f)<<40 | highBits(g)<<48 | highBits(h)<<56
}

// highBits is the high bits of 8 bytes of which nothing else is set.
func highBits(x uint64) uint64 { return x >> 7 * 0x0102040810204080 >> 56 }

// word counts the word that begins at data[at], if one does, byte by byte, and returns
// where to go on.
func (w *wordTally) word(data string, at int) int {
	for i := at; i < len(data); i++ {
		if size := spaceAt(data, i); size > 0 {
			if i > at {
				w.add(data[at:i])
			}
			return i + size
		}
	}
	w.add(data[at:])
	return len(data)
}
