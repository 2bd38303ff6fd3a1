package dataflow

import (
	"unicode"
	"unicode/utf8"
)

// Words is the words of each line, as strings.Fields finds them: what lies between
// white space in Unicode's sense, bytes kept as they are.
func Words(lines Dataset[string]) Dataset[string] {
	return apply(lines, "Words", func(r *run, _ int, emit func(string)) (func(string), func()) {
		if c, ok := r.behind.(*tally); ok {
			w := &wordTally{tally: c}
			r.takes = w
			return w.text, nil
		}
		return func(line string) { eachWord(line, emit) }, nil
	})
}

// asciiSpace marks the white space below 0x80.
var asciiSpace = [256]uint8{'\t': 1, '\n': 1, '\v': 1, '\f': 1, '\r': 1, ' ': 1}

// eachWord goes byte by byte; only bytes of 0x80 and above need a closer look.
func eachWord(s string, emit func(string)) {
	start := -1
	for i := 0; i < len(s); {
		c := s[i]
		size := 1
		space := asciiSpace[c] != 0
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			space = unicode.IsSpace(r)
		}
		if space {
			if start >= 0 {
				emit(s[start:i])
				start = -1
			}
		} else if start < 0 {
			start = i
		}
		i += size
	}
	if start >= 0 {
		emit(s[start:])
	}
}
