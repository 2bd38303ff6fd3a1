package dataflow

// Words is the words of each line, as strings.Fields finds them: what lies between
// white space in Unicode's sense, bytes kept as they are.
func Words(lines Dataset[string]) Dataset[string] {
	return rowwise(apply(lines, "Words", func(r *run, _ int, emit func(string)) (func(string), func()) {
		if c, ok := r.behind.(*tally); ok {
			w := &wordTally{tally: c}
			r.takes = w
			return w.text, nil
		}
		return func(line string) { eachWord(line, emit) }, nil
	}))
}

// asciiSpace marks the white space below 0x80.
var asciiSpace = [256]uint8{'\t': 1, '\n': 1, '\v': 1, '\f': 1, '\r': 1, ' ': 1}

// spaceAt is how many bytes the white space takes that begins at s[i], 0 if none does.
// Beyond ASCII there are few, in UTF-8 behind four first bytes, and none of these can
// be in the middle of another character: so it is the same to look for them and to
// decode all that is before, in text that is not valid UTF-8 too.
func spaceAt(s string, i int) int {
	switch c := s[i]; {
	case c < 0x80:
		return int(asciiSpace[c])
	case c == 0xc2:
		if i+1 < len(s) && (s[i+1] == 0x85 || s[i+1] == 0xa0) { // U+0085, U+00A0
			return 2
		}
	case c >= 0xe1 && c <= 0xe3 && i+2 < len(s):
		d := s[i+2]
		switch uint16(c)<<8 | uint16(s[i+1]) {
		case 0xe19a, 0xe380: // U+1680, U+3000
			if d == 0x80 {
				return 3
			}
		case 0xe280: // U+2000 to U+200A, U+2028, U+2029, U+202F
			if d >= 0x80 && d <= 0x8a || d == 0xa8 || d == 0xa9 || d == 0xaf {
				return 3
			}
		case 0xe281: // U+205F
			if d == 0x9f {
				return 3
			}
		}
	}
	return 0
}

// eachWord goes byte by byte.
func eachWord(s string, emit func(string)) {
	start := 0
	for i := 0; i < len(s); {
		size := spaceAt(s, i)
		if size == 0 {
			i++
			continue
		}
		if i > start {
			emit(s[start:i])
		}
		i += size
		start = i
	}
	if start < len(s) {
		emit(s[start:])
	}
}
