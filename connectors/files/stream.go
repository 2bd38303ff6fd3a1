package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/divisi-data/divisi/dataflow"
)

// stream reads the pieces of a split one after the other.
type stream struct {
	env     *dataflow.Env
	source  *source
	onBad   func(BadRecord) error
	schema  *arrow.Schema
	encoded json.RawMessage
	id      string
	err     error
	ahead   openAhead
	sieves  []dataflow.Sieve

	mu    sync.Mutex // guards what other goroutines may ask for
	all   []piece    // of the split, without what was given away
	todo  []piece
	begun int // of all
	cur   dataflow.Stream
	piece piece
	done  dataflow.Progress // of the pieces before cur
	total int64
}

// Next implements dataflow.Stream.
func (s *stream) Next(ctx context.Context) (dataflow.Batch, error) {
	if s.err != nil {
		return nil, s.err
	}
	for {
		if s.cur == nil {
			if err := s.advance(ctx); err != nil {
				s.err = err
				return nil, err
			}
		}
		b, err := s.cur.Next(ctx)
		if err == nil {
			return b, nil
		}
		if err != io.EOF {
			s.err = err
			return nil, err
		}
		if err := s.finish(); err != nil {
			s.err = err
			return nil, err
		}
	}
}

// advance opens the next piece, or returns io.EOF.
func (s *stream) advance(ctx context.Context) error {
	s.mu.Lock()
	if len(s.todo) == 0 {
		s.mu.Unlock()
		return io.EOF
	}
	p := s.todo[0]
	s.todo = s.todo[1:]
	s.piece = p
	s.begun++
	next := s.todo
	s.mu.Unlock()
	in, err := s.ahead.take(ctx, s, p)
	if err != nil {
		return err
	}
	s.ahead.fill(ctx, s, next)
	in.Redact = s.env.Redact
	cur, err := s.source.reader.Open(s.env, in, s.schema)
	if err != nil {
		return err
	}
	for _, v := range s.sieves {
		dataflow.PutSieve(cur, v)
	}
	s.mu.Lock()
	s.cur = cur
	s.mu.Unlock()
	return nil
}

// Sieve implements dataflow.Siever: each piece is told.
func (s *stream) Sieve(v dataflow.Sieve) {
	s.sieves = append(s.sieves, v)
	if s.cur != nil {
		dataflow.PutSieve(s.cur, v)
	}
}

// finish closes the piece that is read.
func (s *stream) finish() error {
	s.mu.Lock()
	cur := s.cur
	s.cur = nil
	s.done.Bytes += s.piece.Bytes
	if p, ok := cur.(dataflow.Progresser); ok {
		s.done.Rows += p.Progress().Rows
	}
	s.mu.Unlock()
	return cur.Close()
}

// Close implements dataflow.Stream.
func (s *stream) Close() error {
	if s.err == nil {
		s.err = errClosed
	}
	s.mu.Lock()
	cur := s.cur
	s.cur, s.todo = nil, nil
	s.mu.Unlock()
	err := s.ahead.close()
	if cur != nil {
		err = errors.Join(cur.Close(), err)
	}
	return err
}

// Locate implements dataflow.Locator.
func (s *stream) Locate(row int) string {
	if s.cur == nil {
		return ""
	}
	return dataflow.Locate(s.cur, row)
}

// Progress implements dataflow.Progresser.
func (s *stream) Progress() dataflow.Progress {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.done
	if c, ok := s.cur.(dataflow.Progresser); ok {
		cp := c.Progress()
		p.Rows += cp.Rows
		p.Bytes += int64(cp.Fraction * float64(s.piece.Bytes))
	}
	if s.total > 0 {
		p.Fraction = min(1, float64(p.Bytes)/float64(s.total))
	}
	return p
}

// TrySplit implements dataflow.Splitter: whole files that are not begun, or the end
// of the range that is being read.
func (s *stream) TrySplit(keep float64) (kept, rest dataflow.Split, ok bool) {
	keep = min(1, max(0, keep))
	s.mu.Lock()
	defer s.mu.Unlock()
	var give []piece
	at := 0 // of all, where give begins
	last := len(s.todo) - 1
	if last >= 0 {
		n := min(int(float64(len(s.todo))*keep+0.5), last)
		if s.cur == nil && s.begun == 0 && n == 0 { // whoever has begun nothing keeps a file
			if n = 1; last == 0 {
				return kept, rest, false
			}
		}
		give = s.todo[n:]
		s.todo = s.todo[:n:n]
		at = len(s.all) - len(give)
		s.all = s.all[:at:at]
	} else if sh, can := s.cur.(Shrinker); can {
		end, can := sh.Shrink(keep)
		p := s.piece
		p.Offset, p.Bytes = end, s.piece.Offset+s.piece.Bytes-end
		if !can || p.Bytes <= 0 {
			return kept, rest, false
		}
		s.piece.Bytes -= p.Bytes
		at = len(s.all) - 1
		s.all = append(s.all[:at:at], s.piece)
		give = []piece{p}
	} else {
		return kept, rest, false
	}
	for _, p := range give {
		rest.Bytes += p.Bytes
	}
	s.total -= rest.Bytes
	kept.Bytes = s.total
	// The cut names both: one cut of one split is the same wherever it is made.
	cut := fmt.Sprintf("%d@%d", at, give[0].Offset)
	kept.ID, rest.ID = s.id+"[.."+cut+"]", s.id+"["+cut+"..]"
	var err1, err2 error
	kept.Payload, err1 = json.Marshal(payload{Pieces: s.all, Schema: s.encoded})
	rest.Payload, err2 = json.Marshal(payload{Pieces: give, Schema: s.encoded})
	if err1 != nil || err2 != nil {
		// Cannot be: both were read from JSON. What is cut is cut.
		panic(fmt.Sprintf("files: a split cannot be written: %v, %v", err1, err2))
	}
	return kept, rest, true
}
