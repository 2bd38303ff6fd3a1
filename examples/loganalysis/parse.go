package main

import (
	"strconv"
	"strings"
	"time"
)

// An entry is what is wanted of a log line.
type entry struct {
	minute string // 2006-01-02T15:04Z
	status int32
	url    string // "" where the request was none
}

// parse reads
//
//	host ident user [02/Jan/2006:15:04:05 -0700] "GET /url HTTP/1.1" 200 1234
//
// and whatever may follow.
func parse(line string) (entry, bool) {
	head, rest, ok := strings.Cut(line, " [")
	if !ok || len(strings.Fields(head)) < 3 {
		return entry{}, false
	}
	stamp, rest, ok := strings.Cut(rest, `] "`)
	if !ok {
		return entry{}, false
	}
	at, err := time.Parse("02/Jan/2006:15:04:05 -0700", stamp)
	if err != nil {
		return entry{}, false
	}
	end := closingQuote(rest)
	if end < 0 || !strings.HasPrefix(rest[end:], `" `) {
		return entry{}, false
	}
	request, rest := rest[:end], rest[end+2:]
	fields := strings.Fields(rest)
	if len(fields) < 2 || len(fields[0]) != 3 {
		return entry{}, false
	}
	status, err := strconv.ParseUint(fields[0], 10, 16)
	if err != nil {
		return entry{}, false
	}
	if _, err := strconv.ParseUint(fields[1], 10, 64); err != nil && fields[1] != "-" {
		return entry{}, false
	}
	e := entry{minute: at.UTC().Format("2006-01-02T15:04Z"), status: int32(status)}
	if parts := strings.Fields(request); len(parts) >= 2 {
		e.url = parts[1]
	}
	return e, true
}

// closingQuote is where the first quote stands that no backslash precedes, -1
// without one.
func closingQuote(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}
