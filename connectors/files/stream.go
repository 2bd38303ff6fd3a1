package files

import (
	"context"
	"encoding/json"
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

	mu    sync.Mutex // guards what other goroutines may ask for
	todo  []piece
	cur   dataflow.Stream
	piece piece
	done  dataflow.Progress // of the pieces before cur
	total int64
	gave  int // splits given away, for their IDs
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
	s.mu.Unlock()
	in, err := s.source.openPiece(ctx, p, s.onBad)
	if err != nil {
		return err
	}
	cur, err := s.source.reader.Open(s.env, in, s.schema)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cur, s.piece = cur, p
	s.mu.Unlock()
	return nil
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
	if cur != nil {
		return cur.Close()
	}
	return nil
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
func (s *stream) TrySplit(keep float64) (dataflow.Split, bool) {
	keep = min(1, max(0, keep))
	s.mu.Lock()
	defer s.mu.Unlock()
	var give []piece
	if n := len(s.todo); n > 0 {
		kept := min(int(float64(n)*keep+0.5), n-1)
		if s.cur == nil && kept == 0 { // whoever has begun nothing keeps a file
			if kept = 1; n == 1 {
				return dataflow.Split{}, false
			}
		}
		give = s.todo[kept:]
		s.todo = s.todo[:kept:kept]
	} else if sh, ok := s.cur.(Shrinker); ok {
		end, ok := sh.Shrink(keep)
		if !ok {
			return dataflow.Split{}, false
		}
		rest := s.piece
		rest.Offset, rest.Bytes = end, s.piece.Offset+s.piece.Bytes-end
		if rest.Bytes <= 0 {
			return dataflow.Split{}, false
		}
		s.piece.Bytes -= rest.Bytes
		give = []piece{rest}
	} else {
		return dataflow.Split{}, false
	}
	var bytes int64
	for _, p := range give {
		bytes += p.Bytes
	}
	raw, err := json.Marshal(payload{Pieces: give, Schema: s.encoded})
	if err != nil {
		return dataflow.Split{}, false // cannot be: it was read from JSON
	}
	s.total -= bytes
	s.gave++
	return dataflow.Split{ID: fmt.Sprintf("%s/%d:%s@%d", s.id, s.gave, give[0].URI, give[0].Offset), Bytes: bytes, Payload: raw}, true
}
