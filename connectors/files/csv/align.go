package csv

import (
	"bytes"
	"context"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/divisi-data/divisi/connectors/files"
	"github.com/divisi-data/divisi/dataflow"
)

// Where records begin behind a byte of a file depends on whether the byte is quoted,
// and that on all bytes before it. But bytes act on four states only, so what some of
// them do is a small table, whatever came before; tables of neighbours are joined; and
// one that leads from all states to the same needs nothing of what lies before it.
// Where fields are quoted, a few of them suffice for that. Where none are, it takes a
// look at all bytes, which for want of quotes is as fast as they come.

// state is what a reader is in between two bytes.
type state uint8

const (
	begins  state = iota // at the front of a field
	plain                // inside a field without quotes, or behind a quoted one
	quoted               // inside a quoted field
	closing              // behind a quote in a quoted field: the next may make it a pair
	states
)

// onQuote is where a quote leads: it opens a field only where the field begins.
var onQuote = [states]state{begins: quoted, plain: plain, quoted: closing, closing: quoted}

// effect is where some bytes lead from each state.
type effect [states]state

func unchanged() effect { return effect{begins, plain, quoted, closing} }

// then is the effect of e and of what follows.
func (e effect) then(next effect) effect {
	for s := range e {
		e[s] = next[e[s]]
	}
	return e
}

// constant says that the effect is the same from all states.
func (e effect) constant() bool { return e == effect{e[0], e[0], e[0], e[0]} }

func (d dialect) effect(buf []byte) effect {
	e := unchanged()
	for len(buf) > 0 {
		n := bytes.IndexByte(buf, '"')
		if n < 0 {
			n = len(buf)
		}
		if n > 0 { // only the last byte before the quote matters, and only outside of quotes
			after := plain
			if c := buf[n-1]; c == d.delimiter || c == '\n' {
				after = begins
			}
			for s := range e {
				if e[s] != quoted {
					e[s] = after
				}
			}
		}
		if n == len(buf) {
			break
		}
		for s := range e {
			e[s] = onQuote[e[s]]
		}
		buf = buf[n+1:]
	}
	return e
}

// recordEnd is behind the first line feed outside of quotes, from a state on, or -1 and
// the state at the end.
func (d dialect) recordEnd(s state, buf []byte) (int, state) {
	for i := 0; i < len(buf); i++ {
		if s == quoted {
			n := bytes.IndexByte(buf[i:], '"')
			if n < 0 {
				return -1, s
			}
			i += n
		}
		switch c := buf[i]; {
		case c == '"':
			s = onQuote[s]
		case c == '\n':
			return i + 1, begins
		case c == d.delimiter:
			s = begins
		default:
			s = plain
		}
	}
	return -1, s
}

const (
	lookMin   = 64 << 10 // read at once, at first
	lookMax   = 2 << 20  // and where more and more is needed
	alignOnce = 4        // reads at a time
)

// aligner finds the first records behind some offsets of one file.
type aligner struct {
	dialect
	in *files.Input
	at []int64 // ascending, above 0

	effects []effect // of the bytes between an offset's byte before and the next's
	found   []int64  // behind at, up to the next one; -1: no record begins there
}

// Align implements files.Aligner.
func (r reader) Align(ctx context.Context, in *files.Input, at []int64) ([]int64, error) {
	a := aligner{r.dialect, in, at, make([]effect, len(at)), make([]int64, len(at))}
	if err := a.each(ctx, a.look); err != nil {
		return nil, err
	}
	for i := 1; i < len(at); i++ {
		a.effects[i] = a.effects[i-1].then(a.effects[i])
	}
	if err := a.each(ctx, a.seek); err != nil {
		return nil, err
	}
	next := in.Size
	for i := len(at) - 1; i >= 0; i-- {
		if a.found[i] < 0 {
			a.found[i] = next // one record covers all from here to there
		}
		next = a.found[i]
	}
	return a.found, nil
}

func (a *aligner) each(ctx context.Context, do func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(alignOnce)
	for i := range a.at {
		g.Go(func() error { return do(ctx, i) })
	}
	return g.Wait()
}

// look finds the effect of what lies before an offset's byte before, from its end back
// to where the effect is certain or the offset before has its own.
func (a *aligner) look(ctx context.Context, i int) error {
	from, to := int64(0), a.at[i]-1
	if i > 0 {
		from = a.at[i-1] - 1
	}
	e := unchanged()
	var buf []byte
	for size := int64(lookMin); to > from && !e.constant(); size = min(2*size, lookMax) {
		low := max(from, to-size)
		var err error
		if buf, err = a.read(ctx, buf, low, to); err != nil {
			return err
		}
		e = a.effect(buf).then(e)
		to = low
	}
	a.effects[i] = e
	return nil
}

// seek finds the first record that begins at an offset or behind it, but before the
// next one: behind a line feed, which may be the byte before.
func (a *aligner) seek(ctx context.Context, i int) error {
	from, to := a.at[i]-1, a.in.Size
	if i+1 < len(a.at) {
		to = a.at[i+1] - 1
	}
	s := a.effects[i][begins]
	var buf []byte
	for size := int64(lookMin); from < to; size = min(2*size, lookMax) {
		high := min(to, from+size)
		var err error
		if buf, err = a.read(ctx, buf, from, high); err != nil {
			return err
		}
		var n int
		if n, s = a.recordEnd(s, buf); n >= 0 {
			a.found[i] = from + int64(n)
			return nil
		}
		from = high
	}
	a.found[i] = -1
	return nil
}

func (a *aligner) read(ctx context.Context, buf []byte, from, to int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if int64(cap(buf)) < to-from {
		buf = make([]byte, to-from)
	}
	buf = buf[:to-from]
	src, err := a.in.Reader(from)
	if err == nil {
		_, err = io.ReadFull(src, buf)
		src.Close()
	}
	if err != nil {
		return nil, a.in.Fail("csv.Splits", from, err)
	}
	dataflow.Advance(ctx)
	return buf, nil
}
