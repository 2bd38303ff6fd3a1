package expr

import (
	"bytes"
	"fmt"
	"math"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
)

// match is like and matches, against a constant pattern.
func match(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "text", isText); err != nil {
		return nil, err
	}
	if args[1].lit == nil {
		return nil, fmt.Errorf("the pattern must be constant")
	}
	if args[1].lit.allNull() {
		return b.literal(literal{typ: boolType, null: true}), nil
	}
	pattern := string(args[1].lit.text(0))
	var test func(text []byte) bool
	if n.op == "like" {
		test = likeOf(pattern)
	} else {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, err
		}
		test = re.Match
	}
	return b.strictX(n.op, fmt.Sprintf("%q", pattern), boolType, 40, false, args[:1], func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kBool, valid: a[0].valid, bits: f.u8.get(f.n)}
		for i := range v.bits {
			v.bits[i] = b2u(test(a[0].text(i)))
		}
		return v, nil
	}), nil
}

// ascii reports whether no byte of the text that v spans is part of a longer
// character.
func (v *vec) ascii() bool {
	if len(v.from) == 0 {
		return true
	}
	for _, c := range v.data[v.from[0]:max(v.from[0], v.to[len(v.to)-1])] {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// ordered reports whether text lies one after the other, so that what lies between
// the first and the last is all of it.
func (v *vec) ordered() bool {
	last := int32(0)
	for i, x := range v.from {
		if x < last || v.to[i] < x {
			return false
		}
		last = v.to[i]
	}
	return true
}

func substr(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 3); err != nil {
		return nil, err
	}
	if err := wantAll(args[:1], "text", isText); err != nil {
		return nil, err
	}
	if err := wantAll(args[1:], "an integer", isInt); err != nil {
		return nil, err
	}
	t := args[0].typ
	binary := t.ID() == arrow.BINARY
	if t.ID() == arrow.NULL {
		t = arrow.BinaryTypes.String
	}
	return b.strictX("substr", "", t, 8, true, []*bnode{args[0], b.toInt64(args[1]), b.toInt64(args[2])}, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kText, valid: f.bothValid(a[0], a[1]), data: a[0].data, from: f.i32.get(f.n), to: f.i32.get(f.n)}
		v.valid = f.bothValid(&vec{valid: v.valid}, a[2])
		simple := binary || a[0].ordered() && a[0].ascii()
		m, m1, m2 := a[0].step(), a[1].step(), a[2].step()
		for i := range v.from {
			from, n := a[1].i64[i&m1], a[2].i64[i&m2]
			start, end := a[0].from[i&m], a[0].to[i&m]
			if v.valid != nil && v.valid[i] == 0 {
				v.from[i], v.to[i] = start, start
				continue
			}
			if n < 0 {
				return nil, failure(i, "a length of %d", n)
			}
			last := from + n // first character that is too many
			if last < from {
				last = math.MaxInt64
			}
			from, last = max(from, 1)-1, max(last, 1)-1
			if simple {
				length := int64(end - start)
				from, last = min(from, length), min(max(last, from), length)
				v.from[i], v.to[i] = start+int32(from), start+int32(max(last, from))
				continue
			}
			x := skipRunes(a[0].data[start:end], from)
			v.from[i] = start + int32(x)
			v.to[i] = v.from[i] + int32(skipRunes(a[0].data[start+int32(x):end], max(0, last-from)))
		}
		return v, nil
	}), nil
}

// skipRunes is how many bytes the first n characters take.
func skipRunes(text []byte, n int64) int {
	at := 0
	for ; n > 0 && at < len(text); n-- {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	return at
}

func position(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 2); err != nil {
		return nil, err
	}
	if err := wantAll(args, "text", isText); err != nil {
		return nil, err
	}
	return b.strictX("position", "", int64Type, 30, false, args, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kI64, valid: f.bothValid(a[0], a[1]), i64: f.i64.get(f.n)}
		for i := range v.i64 {
			t := a[0].text(i)
			at := bytes.Index(t, a[1].text(i))
			if at > 0 {
				at = utf8.RuneCount(t[:at])
			}
			v.i64[i] = int64(at + 1)
		}
		return v, nil
	}), nil
}

func length(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if err := wantAll(args, "text", isText); err != nil {
		return nil, err
	}
	binary := args[0].typ.ID() == arrow.BINARY
	return b.strictX("length", "", int64Type, 8, false, args, func(f *frame, a []*vec) (*vec, error) {
		v := &vec{kind: kI64, valid: a[0].valid, i64: f.i64.get(f.n)}
		for i := range v.i64 {
			t := a[0].text(i)
			if binary {
				v.i64[i] = int64(len(t))
			} else {
				v.i64[i] = int64(utf8.RuneCount(t))
			}
		}
		return v, nil
	}), nil
}

var textMaps = map[string]func([]byte) []byte{
	"upper": bytes.ToUpper,
	"lower": bytes.ToLower,
	"trim":  func(b []byte) []byte { return bytes.Trim(b, " ") },
	"ltrim": func(b []byte) []byte { return bytes.TrimLeft(b, " ") },
	"rtrim": func(b []byte) []byte { return bytes.TrimRight(b, " ") },
}

func textMap(b *binder, n *node, args []*bnode) (*bnode, error) {
	if err := want(args, 1); err != nil {
		return nil, err
	}
	if err := wantAll(args, "text", isText); err != nil {
		return nil, err
	}
	to := textMaps[n.op]
	return b.strictX(n.op, "", args[0].typ, 30, false, args, func(f *frame, a []*vec) (*vec, error) {
		out := newColumn(f, arrow.BinaryTypes.Binary)
		out.v.valid = a[0].valid
		for i := range f.n {
			out.v.from[i] = int32(len(out.v.data))
			out.v.data = append(out.v.data, to(a[0].text(i))...)
			out.v.to[i] = int32(len(out.v.data))
		}
		return out.done()
	}), nil
}

func concat(b *binder, _ *node, args []*bnode) (*bnode, error) {
	if err := wantAll(args, "text", isText); err != nil {
		return nil, err
	}
	var t arrow.DataType = arrow.Null
	for _, a := range args {
		t, _ = common(t, a.typ)
	}
	return b.strictX("concat", "", t, 30, true, args, func(f *frame, a []*vec) (*vec, error) {
		out := newColumn(f, arrow.BinaryTypes.Binary)
		for _, x := range a {
			out.v.valid = f.bothValid(&vec{valid: out.v.valid}, x)
		}
		for i := range f.n {
			out.v.from[i] = int32(len(out.v.data))
			for _, x := range a {
				out.v.data = append(out.v.data, x.text(i)...)
			}
			out.v.to[i] = int32(len(out.v.data))
			if len(out.v.data) > math.MaxInt32 {
				return nil, failure(i, "the text of a batch is longer than 2 GiB")
			}
		}
		return out.v, nil
	}), nil
}

// likeOf makes the test of a pattern: runs of plain text between the signs.
func likeOf(pattern string) func([]byte) bool {
	var runs []string // between % signs
	var run strings.Builder
	plain := true // no _ in it
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '%':
			runs = append(runs, run.String())
			run.Reset()
		case '_':
			plain = false
		case '\\':
			if i+1 < len(pattern) {
				i++
			}
			run.WriteByte(pattern[i])
		default:
			run.WriteByte(c)
		}
	}
	runs = append(runs, run.String())
	if !plain {
		return likeSlow(pattern)
	}
	if len(runs) == 1 {
		return func(t []byte) bool { return string(t) == runs[0] }
	}
	prefix, suffix := runs[0], runs[len(runs)-1]
	var inner [][]byte
	for _, r := range runs[1 : len(runs)-1] {
		if r != "" {
			inner = append(inner, []byte(r))
		}
	}
	if prefix == "" && suffix == "" && len(inner) == 1 {
		part := inner[0]
		return func(t []byte) bool { return bytes.Contains(t, part) }
	}
	return func(t []byte) bool {
		if len(t) < len(prefix)+len(suffix) || string(t[:len(prefix)]) != prefix || string(t[len(t)-len(suffix):]) != suffix {
			return false
		}
		t = t[len(prefix) : len(t)-len(suffix)]
		for _, part := range inner {
			at := bytes.Index(t, part)
			if at < 0 {
				return false
			}
			t = t[at+len(part):]
		}
		return true
	}
}

// likeSlow goes character by character and comes back to the last % on a mismatch.
func likeSlow(pattern string) func([]byte) bool {
	type sign struct {
		any, one bool
		text     string // one character, which may be no UTF-8
	}
	var signs []sign
	for p := pattern; p != ""; {
		_, size := utf8.DecodeRuneInString(p)
		c := p[:size]
		p = p[size:]
		switch {
		case c == "%":
			signs = append(signs, sign{any: true})
		case c == "_":
			signs = append(signs, sign{one: true})
		default:
			if c == `\` && p != "" {
				_, size := utf8.DecodeRuneInString(p)
				c, p = p[:size], p[size:]
			}
			signs = append(signs, sign{text: c})
		}
	}
	return func(t []byte) bool {
		at, s, backAt, backSign := 0, 0, 0, -1
		for at < len(t) {
			_, size := utf8.DecodeRune(t[at:])
			switch {
			case s < len(signs) && signs[s].any:
				s++
				backAt, backSign = at, s
				continue
			case s < len(signs) && (signs[s].one || string(t[at:at+size]) == signs[s].text):
				at, s = at+size, s+1
				continue
			case backSign < 0:
				return false
			}
			_, size = utf8.DecodeRune(t[backAt:])
			backAt += size
			at, s = backAt, backSign
		}
		for s < len(signs) && signs[s].any {
			s++
		}
		return s == len(signs)
	}
}

// likeQuote makes a pattern that matches just the text.
func likeQuote(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}
