package s3

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

const xmlHead = `<?xml version="1.0" encoding="UTF-8"?>`

// errOdd: not a plain answer.
var errOdd = errors.New("not a plain answer")

// readPlainAnswer reads an answer as servers write it: elements that hold other elements
// or text, with attributes that nobody needs. ok is false of all else, as there are
// comments, sections of CDATA, names with a prefix, and what is not well formed:
// encoding/xml judges that. What is read here is what it would read.
func readPlainAnswer(body []byte) (r rawAnswer, ok bool) {
	if !utf8.Valid(body) {
		return r, false
	}
	s := &scanner{rest: bytes.TrimPrefix(body, []byte(xmlHead))}
	if !s.space() {
		return r, false
	}
	root, empty, ok := s.open()
	if !ok || empty || string(root) != "ListBucketResult" {
		return r, false
	}
	err := s.children(root, func(name []byte) (err error) {
		switch string(name) {
		case "Contents":
			var o entry
			err = s.object(name, &o)
			r.objects = append(r.objects, o)
		case "CommonPrefixes":
			var folder string
			err = s.folder(name, &folder)
			r.folders = append(r.folders, folder)
		case "IsTruncated":
			var is string
			if err = s.text(name, &is); err == nil && is != "true" && is != "false" {
				err = errOdd
			}
			r.truncated = is == "true"
		case "NextContinuationToken":
			err = s.text(name, &r.token)
		case "EncodingType":
			err = s.text(name, &r.encoding)
		default:
			err = s.skip(name, 0)
		}
		return err
	})
	return r, err == nil && s.space() && len(s.rest) == 0
}

// object reads what is in an element Contents, and its end.
func (s *scanner) object(contents []byte, o *entry) error {
	return s.children(contents, func(name []byte) (err error) {
		switch string(name) {
		case "Key":
			return s.text(name, &o.Key)
		case "ETag":
			return s.text(name, &o.ETag)
		case "Size":
			raw, err := s.raw(name)
			if err == nil {
				o.Size, err = strconv.ParseInt(string(raw), 10, 64)
			}
			return err
		case "LastModified":
			raw, err := s.raw(name)
			if err == nil {
				err = o.LastModified.UnmarshalText(raw)
			}
			return err
		}
		return s.skip(name, 0)
	})
}

// folder reads what is in an element CommonPrefixes, and its end.
func (s *scanner) folder(prefixes []byte, to *string) error {
	return s.children(prefixes, func(name []byte) error {
		if string(name) == "Prefix" {
			return s.text(name, to)
		}
		return s.skip(name, 0)
	})
}

// A scanner reads elements from the front of a text that is UTF-8.
type scanner struct{ rest []byte }

// space passes over white space. It reports whether nothing else comes before the next
// element or the end.
func (s *scanner) space() bool {
	s.rest = bytes.TrimLeft(s.rest, " \t\n")
	return len(s.rest) == 0 || s.rest[0] == '<'
}

// open reads the beginning of an element. empty: it is its end too.
func (s *scanner) open() (name []byte, empty, ok bool) {
	end := bytes.IndexByte(s.rest, '>')
	if end < 2 || s.rest[0] != '<' {
		return nil, false, false
	}
	tag, empty := bytes.CutSuffix(s.rest[1:end], []byte("/"))
	s.rest = s.rest[end+1:]
	name, attributes, _ := bytes.Cut(tag, []byte(" "))
	return name, empty, isName(name) && plainAttributes(attributes)
}

// close reads the end of an element.
func (s *scanner) close(name []byte) bool {
	n := len(name) + 3
	if len(s.rest) < n || s.rest[0] != '<' || s.rest[1] != '/' || !bytes.Equal(s.rest[2:n-1], name) || s.rest[n-1] != '>' {
		return false
	}
	s.rest = s.rest[n:]
	return true
}

// children reads the elements in one, and its end. each reads one, of which the beginning
// was read, and its end.
func (s *scanner) children(in []byte, each func(name []byte) error) error {
	for {
		if !s.space() {
			return errOdd
		}
		if s.close(in) {
			return nil
		}
		name, empty, ok := s.open()
		if !ok || empty && means(name) {
			return errOdd
		}
		if empty {
			continue
		}
		if err := each(name); err != nil {
			return err
		}
	}
}

// means reports whether something is read from an element.
func means(name []byte) bool {
	switch string(name) {
	case "Contents", "CommonPrefixes", "IsTruncated", "NextContinuationToken", "EncodingType", "Key", "ETag", "Size", "LastModified", "Prefix":
		return true
	}
	return false
}

// skip reads an element that nobody needs, of which the beginning was read.
func (s *scanner) skip(name []byte, depth int) error {
	text, err := s.chars()
	switch {
	case err != nil || depth > 8:
		return errOdd
	case s.close(name):
		return nil
	case len(bytes.TrimLeft(text, " \t\n")) > 0:
		return errOdd
	}
	return s.children(name, func(inner []byte) error { return s.skip(inner, depth+1) })
}

// text reads the text of an element, and its end.
func (s *scanner) text(name []byte, to *string) error {
	raw, err := s.raw(name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(raw, '&') < 0 {
		*to = string(raw)
		return nil
	}
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		c, n := raw[0], 1
		if c == '&' {
			c, n = reference(raw)
		}
		out, raw = append(out, c), raw[n:]
	}
	*to = string(out)
	return nil
}

// raw reads the text of an element as it stands there, and its end.
func (s *scanner) raw(name []byte) ([]byte, error) {
	text, err := s.chars()
	if err == nil && !s.close(name) {
		err = errOdd
	}
	return text, err
}

// chars reads characters up to the next '<'. All references in them are plain.
func (s *scanner) chars() ([]byte, error) {
	end := bytes.IndexByte(s.rest, '<')
	if end < 0 {
		return nil, errOdd
	}
	text := s.rest[:end]
	s.rest = s.rest[end:]
	for i, c := range text {
		// Of what begins with 0xEF some is no character of XML.
		if c < ' ' && c != '\t' && c != '\n' || c == '>' || c == 0xEF {
			return nil, errOdd
		}
		if c == '&' {
			if _, n := reference(text[i:]); n == 0 {
				return nil, errOdd
			}
		}
	}
	return text, nil
}

// reference reads a reference to a character of ASCII; n is how long it is, and 0 where
// it is none that is plain.
func reference(text []byte) (c byte, n int) {
	end := bytes.IndexByte(text[:min(len(text), 8)], ';')
	if end < 0 {
		return 0, 0
	}
	switch string(text[1:end]) {
	case "quot", "#34":
		c = '"'
	case "amp", "#38":
		c = '&'
	case "apos", "#39":
		c = '\''
	case "lt", "#60":
		c = '<'
	case "gt", "#62":
		c = '>'
	default:
		return 0, 0
	}
	return c, end + 1
}

// isName reports whether an element's name is plain.
func isName(name []byte) bool {
	for i, c := range name {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || '9' < c) && c != '-' && c != '_') {
			return false
		}
	}
	return len(name) > 0
}

// plainAttributes reports whether attributes are each a name, maybe with a prefix, and a
// value in quotes, with one space between.
func plainAttributes(text []byte) bool {
	for len(text) > 0 {
		name, rest, ok := bytes.Cut(text, []byte(`="`))
		if prefix, local, has := bytes.Cut(name, []byte(":")); has {
			ok, name = ok && isName(prefix), local
		}
		value, rest, closed := bytes.Cut(rest, []byte(`"`))
		if !ok || !closed || !isName(name) {
			return false
		}
		for _, c := range value {
			if c <= ' ' || c == '<' || c == '&' || c >= 0x7F {
				return false
			}
		}
		if text = rest; len(text) > 0 {
			if text[0] != ' ' || len(text) == 1 {
				return false
			}
			text = text[1:]
		}
	}
	return true
}
