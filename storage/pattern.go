package storage

import (
	"errors"
	"path"
	"strings"
)

// hasMeta reports whether a text has a character with a meaning in patterns.
func hasMeta(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '*', '?', '[', '{':
			return true
		case '\\':
			if i+1 == len(s) {
				return true
			}
			i++
		}
	}
	return false
}

func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// split cuts a pattern into a root that Resolve takes and the parts below it.
func split(uri string) (root string, parts []string) {
	rest := uri
	if i := strings.Index(uri, "://"); i > 0 && Scheme(uri) == uri[:i] {
		host, below, _ := strings.Cut(uri[i+3:], "/")
		root, rest = uri[:i+3]+host+"/", below
	} else if strings.HasPrefix(uri, "/") {
		root, rest = "/", uri[1:]
	} else {
		root = "."
	}
	return root, strings.Split(rest, "/")
}

// fits matches a name's parts. A pattern that has matched a folder takes all
// that is visible below it.
func fits(pattern, name []string) (bool, error) {
	if len(pattern) == 0 {
		for _, part := range name {
			if Hidden(part) {
				return false, nil
			}
		}
		return true, nil
	}
	if pattern[0] == "**" {
		if ok, err := fits(pattern[1:], name); ok || err != nil {
			return ok, err
		}
		if len(name) == 0 || Hidden(name[0]) {
			return false, nil
		}
		return fits(pattern, name[1:])
	}
	if len(name) == 0 {
		return false, nil
	}
	if ok, err := fit(pattern[0], name[0]); !ok || err != nil {
		return false, err
	}
	return fits(pattern[1:], name[1:])
}

// fit matches one part of a name. Hidden names want their first character said.
func fit(pattern, part string) (bool, error) {
	if Hidden(part) && !strings.HasPrefix(strings.TrimPrefix(pattern, `\`), part[:1]) {
		return false, nil
	}
	return path.Match(matchable(pattern), part)
}

// matchable writes [!x] as [^x], which is what path.Match knows.
func matchable(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		b.WriteByte(pattern[i])
		switch {
		case pattern[i] == '\\' && i+1 < len(pattern):
			i++
			b.WriteByte(pattern[i])
		case pattern[i] == '[' && i+1 < len(pattern) && pattern[i+1] == '!':
			i++
			b.WriteByte('^')
		}
	}
	return b.String()
}

// alternativesMax bounds what braces expand to.
const alternativesMax = 10_000

// expand writes a pattern with braces as all the patterns it stands for. Braces
// without a comma or without their partner are plain characters.
func expand(pattern string) ([]string, error) {
	done, todo := []string(nil), []string{pattern}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		from, commas, to := braces(p)
		if to < 0 {
			done = append(done, p)
		}
		for i, c := range commas {
			start := from + 1
			if i > 0 {
				start = commas[i-1] + 1
			}
			todo = append(todo, p[:from]+p[start:c]+p[to+1:])
		}
		if len(done)+len(todo) > alternativesMax {
			return nil, errors.New("its braces stand for more than 10,000 patterns: name a folder, or use *")
		}
	}
	return done, nil
}

// braces finds the first pair of braces that holds a comma: where it opens, where
// each alternative ends, and where it closes, or -1.
func braces(p string) (from int, ends []int, to int) {
	for from = 0; from < len(p); from++ {
		switch p[from] {
		case '\\':
			from++
		case '[':
			from = set(p, from)
		case '{':
			ends, depth := []int(nil), 0
		scan:
			for i := from; i < len(p); i++ {
				switch p[i] {
				case '\\':
					i++
				case '[':
					i = set(p, i)
				case '{':
					depth++
				case ',':
					if depth == 1 {
						ends = append(ends, i)
					}
				case '}':
					if depth--; depth == 0 {
						if len(ends) > 0 {
							return from, append(ends, i), i
						}
						break scan
					}
				}
			}
		}
	}
	return 0, nil, -1
}

// set skips [...] to its end, or nothing where it has none before a slash.
func set(p string, i int) int {
	for j := i + 1; j < len(p) && p[j] != '/'; j++ {
		switch p[j] {
		case '\\':
			j++
		case ']':
			if j > i+1 && !(j == i+2 && (p[i+1] == '!' || p[i+1] == '^')) {
				return j
			}
		}
	}
	return i
}
