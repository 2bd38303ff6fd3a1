package jsonl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"unicode/utf8"
)

// A value is the text of one JSON value, known to be valid and without white
// space around it.
type value []byte

func (v value) isNull() bool { return v[0] == 'n' }

var errEscape = errors.New("a broken escape")

// skipSpace is where the next token begins.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// end is where the value that begins at i ends.
func end(b []byte, i int) int {
	switch b[i] {
	case '"':
		return endString(b, i)
	case '{', '[':
		depth := 0
		for ; i < len(b); i++ {
			switch b[i] {
			case '"':
				i = endString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return i
	}
	for i < len(b) && b[i] != ',' && b[i] != '}' && b[i] != ']' && b[i] > ' ' {
		i++
	}
	return i
}

func endString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// members are an object's, keys still quoted.
func (v value) members() iter.Seq2[value, value] {
	return func(yield func(value, value) bool) {
		for i := skipSpace(v, 1); v[i] != '}'; {
			k := end(v, i)
			key := v[i:k]
			i = skipSpace(v, skipSpace(v, k)+1) // past the colon
			e := end(v, i)
			if !yield(key, v[i:e]) {
				return
			}
			if i = skipSpace(v, e); v[i] == ',' {
				i = skipSpace(v, i+1)
			}
		}
	}
}

// elements are an array's.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		for i := skipSpace(v, 1); v[i] != ']'; {
			e := end(v, i)
			if !yield(v[i:e]) {
				return
			}
			if i = skipSpace(v, e); v[i] == ',' {
				i = skipSpace(v, i+1)
			}
		}
	}
}

// text is a string's content: a part of v where nothing is escaped, otherwise in
// scratch, which is returned to be used again.
func (v value) text(scratch []byte) (text, again []byte, err error) {
	if v[0] != '"' {
		return nil, scratch, fmt.Errorf("%.40q is no string", []byte(v))
	}
	in := v[1 : len(v)-1]
	plain := true
	for _, c := range in {
		if c == '\\' {
			plain = false
			break
		}
	}
	if plain {
		return in, scratch, nil
	}
	out := scratch[:0]
	for i := 0; i < len(in); i++ {
		c := in[i]
		if c != '\\' {
			out = append(out, c)
			continue
		}
		i++
		switch in[i] {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'u':
			r, n, ok := unescape(in[i+1:])
			if !ok {
				return nil, out, errEscape
			}
			out = utf8.AppendRune(out, r)
			i += n
		default: // " \ /
			out = append(out, in[i])
		}
	}
	return out, out, nil
}

// unescape reads the digits of \uXXXX, and of a second one where two make a rune.
func unescape(b []byte) (r rune, n int, ok bool) {
	hex := func(b []byte) (rune, bool) {
		if len(b) < 4 {
			return 0, false
		}
		x, err := strconv.ParseUint(string(b[:4]), 16, 32)
		return rune(x), err == nil
	}
	r, ok = hex(b)
	if !ok {
		return 0, 0, false
	}
	if r >= 0xd800 && r < 0xdc00 && len(b) >= 10 && b[4] == '\\' && b[5] == 'u' {
		if low, ok := hex(b[6:]); ok && low >= 0xdc00 && low < 0xe000 {
			return (r-0xd800)<<10 + (low - 0xdc00) + 0x10000, 10, true
		}
	}
	return r, 4, true // half of a pair becomes U+FFFD
}

func decodeBase64(dst, text []byte) ([]byte, error) {
	out, err := base64.StdEncoding.AppendDecode(dst[:0], text)
	if err != nil {
		return dst, fmt.Errorf("%.40q is not base 64", text)
	}
	return out, nil
}
