package streaming

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// keyFields are parts of a key, as the options of Hadoop's KeyFieldBasedPartitioner and
// KeyFieldBasedComparator name them: those of Unix sort, "-k2,2nr -k1,1".
type keyFields struct {
	separator string
	parts     []keyPart
}

// A keyPart is from one position to another. Fields and characters (bytes) count from
// 1; toField 0 is the end of the key, toChar 0 the end of the field.
type keyPart struct {
	field, char      int
	toField, toChar  int
	numeric, reverse bool
}

// parseKeyFields reads options; without any -k, the whole key is meant.
func parseKeyFields(separator, options string) (keyFields, error) {
	k := keyFields{separator: separator}
	var all keyPart // of the options that stand alone
	words := strings.Fields(options)
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		at, ok := strings.CutPrefix(w, "-k")
		switch {
		case ok && at == "" && len(words) > 0:
			at, words = words[0], words[1:]
			fallthrough
		case ok:
			p, err := parseKeyPart(at)
			if err != nil {
				return k, fmt.Errorf("%q: %w", options, err)
			}
			k.parts = append(k.parts, p)
		case len(w) > 1 && w[0] == '-' && all.modify(w[1:]):
		default:
			return k, fmt.Errorf("%q: %q is not known (have -k FIELD[.CHAR][nr][,FIELD[.CHAR][nr]], -n, -r)", options, w)
		}
	}
	if len(k.parts) == 0 {
		k.parts = []keyPart{{field: 1, char: 1}}
	}
	for i, p := range k.parts {
		if !p.numeric && !p.reverse {
			k.parts[i].numeric, k.parts[i].reverse = all.numeric, all.reverse
		}
	}
	return k, nil
}

func (p *keyPart) modify(letters string) bool {
	for _, l := range letters {
		switch l {
		case 'n':
			p.numeric = true
		case 'r':
			p.reverse = true
		default:
			return false
		}
	}
	return true
}

func parseKeyPart(text string) (keyPart, error) {
	p := keyPart{char: 1}
	from, to, both := strings.Cut(text, ",")
	ok := p.position(from, &p.field, &p.char)
	if ok && both {
		ok = p.position(to, &p.toField, &p.toChar)
	}
	if !ok || p.field < 1 || p.char < 1 || both && p.toField < 1 {
		return p, fmt.Errorf("-k%s: want FIELD[.CHAR][nr][,FIELD[.CHAR][nr]], counted from 1", text)
	}
	return p, nil
}

// position reads FIELD[.CHAR][nr].
func (p *keyPart) position(text string, field, char *int) bool {
	digits := strings.TrimRight(text, "nr")
	p.modify(text[len(digits):])
	f, c, dotted := strings.Cut(digits, ".")
	n, err := strconv.ParseUint(f, 10, 31)
	*field = int(n)
	if err == nil && dotted {
		n, err = strconv.ParseUint(c, 10, 31)
		*char = int(n)
	}
	return err == nil
}

// cut is the part's bytes of a key; false where the key has no such field or position.
func (k *keyFields) cut(p keyPart, key string) (string, bool) {
	start, ok := k.start(key, p.field)
	if start += p.char - 1; !ok || start > len(key) {
		return "", false
	}
	end := len(key)
	if p.toField > 0 {
		if at, ok := k.start(key, p.toField); ok {
			if p.toChar > 0 {
				end = min(end, at+p.toChar)
			} else if n := strings.Index(key[at:], k.separator); n >= 0 {
				end = at + n
			}
		}
	}
	return key[start:max(start, end)], true
}

// start is where the n-th field begins.
func (k *keyFields) start(key string, n int) (int, bool) {
	at := 0
	for ; n > 1; n-- {
		i := strings.Index(key[at:], k.separator)
		if i < 0 {
			return 0, false
		}
		at += i + len(k.separator)
	}
	return at, true
}

// partition is the number that a key has for Hadoop's KeyFieldBasedPartitioner.
func (k *keyFields) partition(key string) int32 {
	h := int32(0)
	for _, p := range k.parts {
		if part, ok := k.cut(p, key); ok {
			h = hashBytes(h, part)
		}
	}
	return h & 0x7fffffff
}

// partitionOfKey is the number that a key has for Hadoop's HashPartitioner: the same
// key is in the same part of the output, here and there.
func partitionOfKey(key string) int32 { return hashBytes(1, key) & 0x7fffffff }

// hashBytes is Java's hash of an array of signed bytes, begun with h.
func hashBytes(h int32, s string) int32 {
	for i := range len(s) {
		h = 31*h + int32(int8(s[i]))
	}
	return h
}

// appendOrder appends bytes that are ordered as the fields say: a missing field comes
// first, in reverse last.
func (k *keyFields) appendOrder(dst []byte, key string) []byte {
	for _, p := range k.parts {
		from := len(dst)
		part, ok := k.cut(p, key)
		switch {
		case !ok:
			dst = append(dst, 0)
		case p.numeric:
			dst = appendNumber(append(dst, 1), part)
		default:
			dst = append(dst, 1)
			for i := range len(part) { // 0 ends it, so a 0 within is marked
				dst = append(dst, part[i])
				if part[i] == 0 {
					dst = append(dst, 0xff)
				}
			}
			dst = append(dst, 0, 0)
		}
		if p.reverse {
			for i := from; i < len(dst); i++ {
				dst[i] = ^dst[i]
			}
		}
	}
	return dst
}

// appendNumber appends the decimal number that a text begins with, of any size, so that
// bytes are in the order of numbers. What is no number is 0, as in Unix sort.
func appendNumber(dst []byte, text string) []byte {
	text = strings.TrimLeft(text, " \t")
	text, negative := strings.CutPrefix(text, "-")
	whole := digitsOf(text)
	rest := text[len(whole):]
	fraction := ""
	if after, ok := strings.CutPrefix(rest, "."); ok {
		fraction = strings.TrimRight(digitsOf(after), "0")
	}
	whole = strings.TrimLeft(whole, "0")
	if whole == "" && fraction == "" {
		return append(dst, 1)
	}
	if negative {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 2)
	}
	from := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(whole)))
	dst = append(append(append(dst, whole...), fraction...), 0)
	if negative {
		for i := from; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst
}

func digitsOf(s string) string {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return s[:i]
		}
	}
	return s
}
