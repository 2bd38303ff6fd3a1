package dataflow

import "github.com/apache/arrow-go/v18/arrow"

// A Sieve is what who reads a stream knows of the rows that are of no use to it, by values
// that it learned while running: a join that of its other side.
type Sieve struct {
	// Columns are what it looks at, by names that one column each of the stream has.
	Columns []string
	// Pass gets those columns of some rows and gives, in order, the places of the rows
	// that may be of use, or says that all may. What it gives is good until the next
	// call, and the columns stay the caller's. One goroutine calls it, that which reads
	// the stream.
	Pass func(values []arrow.Array) (rows []int32, all bool, err error)
}

// A Siever is a Stream that can leave out rows, or knows one below it that can. What it
// does with a Sieve is its own affair: rows that do not pass may still come, and where Pass
// fails all do. It is told by the goroutine that reads it, as a rule before the first row;
// rows that it gave before are given.
type Siever interface {
	Stream
	Sieve(v Sieve)
}

// PutSieve tells a stream of a sieve, if it wants to know.
func PutSieve(s Stream, v Sieve) {
	if s, ok := s.(Siever); ok {
		s.Sieve(v)
	}
}
